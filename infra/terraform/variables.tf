# Generated from the template: make docs.

variable "alarm_email" {
  description = "An email address that receives the alarms after it has confirmed the subscription. Empty for none."
  type        = string
  default     = ""
}

variable "alarm_topic_arn" {
  description = "An SNS topic that receives the alarms. Empty for none."
  type        = string
  default     = ""
}

variable "api_access_logs" {
  description = "A line per request in a log group of its own, without headers and bodies. Needs the account's CloudWatch role of API Gateway (aws apigateway get-account)."
  type        = bool
  default     = false
}

variable "api_burst_limit" {
  description = "Requests in a burst that the API accepts."
  type        = number
  default     = 1000

  validation {
    condition     = var.api_burst_limit >= 1
    error_message = "api_burst_limit: give a whole number from 1."
  }
}

variable "api_memory" {
  description = "Memory of the API's function in MB. Lambda gives CPU in proportion, one vCPU at 1769 MB."
  type        = number
  default     = 1024

  validation {
    condition     = var.api_memory >= 512 && var.api_memory <= 10240
    error_message = "api_memory: give a whole number from 512 to 10240."
  }
}

variable "api_rate_limit" {
  description = "Requests a second that the API accepts in all. More get 413 with Retry-After."
  type        = number
  default     = 500

  validation {
    condition     = var.api_rate_limit >= 1
    error_message = "api_rate_limit: give a whole number from 1."
  }
}

variable "api_reserved_concurrency" {
  description = "Concurrent executions that are reserved for the API, and the most it uses. 0 reserves none: an account with a limit of 10 can reserve none. See docs/reference/account-limits.md."
  type        = number
  default     = 0

  validation {
    condition     = var.api_reserved_concurrency >= 0
    error_message = "api_reserved_concurrency: give a whole number from 0."
  }
}

variable "api_security_group_ids" {
  description = "Security groups of the API's function; required with ApiSubnetIds."
  type        = list(string)
  default     = []
}

variable "api_subnet_ids" {
  description = "Subnets from which the API reaches a private Keystone. Empty for none."
  type        = list(string)
  default     = []
}

variable "api_version" {
  description = "Label of the API's published version with SnapStart. A new value publishes a version with the current code and parameters; make deploy computes it."
  type        = string
  default     = "1"

  validation {
    condition     = can(regex("^[\\w.-]{1,64}$", var.api_version))
    error_message = "api_version: it must match [\\w.-]{1,64}."
  }
}

variable "backends" {
  description = "The backends document (JSON), see docs/reference/drivers.md. Change it in the parameter store, no deploy needed."
  type        = string
  default     = "{}"
}

variable "backup_concurrency" {
  description = "Ranges of one backup or restore that are copied at the same time. Each uses one of the account's concurrent executions of Lambda for up to 15 minutes."
  type        = number
  default     = 4

  validation {
    condition     = var.backup_concurrency >= 1 && var.backup_concurrency <= 40
    error_message = "backup_concurrency: give a whole number from 1 to 40."
  }
}

variable "backup_lock_days" {
  description = "Most days that users may lock a backup (S3 Object Lock in compliance mode, which cannot be shortened). 0: the bucket has no Object Lock. Decide at the first deploy: Object Lock cannot be removed from a bucket."
  type        = number
  default     = 0

  validation {
    condition     = var.backup_lock_days >= 0 && var.backup_lock_days <= 36500
    error_message = "backup_lock_days: give a whole number from 0 to 36500."
  }
}

variable "backup_target_keys" {
  description = "KMS keys (ARNs) of BackupTargets. Their key policies must allow it, too."
  type        = list(string)
  default     = []
}

variable "backup_target_resources" {
  description = "Buckets of BackupTargets (ARNs of each bucket and of its objects)."
  type        = list(string)
  default     = []
}

variable "backup_targets" {
  description = "Targets that users may copy backups to, by name (JSON, {\"name\": {\"bucket\": ..., \"region\": ..., \"kms_key\": ARN}}); an optional \"prefix\" ends in /. See docs/how-to/backup-copies.md."
  type        = string
  default     = ""
}

variable "backup_worker_memory" {
  description = "Memory of backup_worker in MB. New accounts take at most 3008; 3538 MB is two vCPUs, the most that one copy uses."
  type        = number
  default     = 3008

  validation {
    condition     = var.backup_worker_memory >= 1024 && var.backup_worker_memory <= 10240
    error_message = "backup_worker_memory: give a whole number from 1024 to 10240."
  }
}

variable "backup_worker_reserved_concurrency" {
  description = "Most concurrent executions of backup_worker over all backups, which are also reserved for it. 0 sets no limit, and backups can then use all of the account's concurrent executions."
  type        = number
  default     = 0

  validation {
    condition     = var.backup_worker_reserved_concurrency >= 0
    error_message = "backup_worker_reserved_concurrency: give a whole number from 0."
  }
}

variable "barbican_url" {
  description = "Barbican's root, for keys of encrypted volumes. Empty for the built-in key manager."
  type        = string
  default     = ""
}

variable "bucket_name" {
  description = "Name of the bucket of backups. Empty lets CloudFormation choose one. It cannot be changed later."
  type        = string
  default     = ""
}

variable "cors_allowed_origins" {
  description = "Origins whose pages may call the API from a browser, with commas between them; empty for none."
  type        = string
  default     = ""
}

variable "dashboard" {
  description = "A CloudWatch dashboard with the metrics of docs/how-to/monitor.md. $3 a month after an account's third."
  type        = bool
  default     = false
}

variable "default_availability_zone" {
  description = "Availability zone of volumes that are created without one."
  type        = string
  default     = "nova"
}

variable "default_quotas" {
  description = "Limits of projects without their own (JSON, {\"volumes\": 20, \"gigabytes\": -1}); -1 is unlimited. Those of the quota class default take precedence. Empty for Cinder's defaults."
  type        = string
  default     = ""
}

variable "default_volume_type" {
  description = "Volume type of volumes that are created without one, in projects without a default of their own. Create another than __DEFAULT__ before volumes (cinder type-create)."
  type        = string
  default     = "__DEFAULT__"

  validation {
    condition     = can(regex("^[^\\s](.{0,253}[^\\s])?$", var.default_volume_type))
    error_message = "default_volume_type: it must match [^\\s](.{0,253}[^\\s])?."
  }
}

variable "detailed_alarms" {
  description = "Nine more alarms, each for one cause that the alarms DeadLetters, ApiErrs and Attention report together. $0.90 a month."
  type        = bool
  default     = false
}

variable "disable_execute_api_endpoint" {
  description = "Refuse requests to the API's own URL, so that a custom domain is the only way in; give PublicEndpoint, too."
  type        = bool
  default     = false
}

variable "glance_url" {
  description = "Glance's root, for volumes made from images."
  type        = string
  default     = ""
}

variable "identity_document" {
  description = "Users, projects and roles of the standalone identity (JSON); unused when KeystoneUrl is set. make deploy passes it to CloudFormation only with SecretStore=SecretsManager."
  type        = string
  default     = "{}"
  sensitive   = true
}

variable "keystone_password" {
  description = "Password of KeystoneUsername, with which the service validates tokens."
  type        = string
  default     = ""
  sensitive   = true
}

variable "keystone_project" {
  description = "Project of KeystoneUsername."
  type        = string
  default     = "service"
}

variable "keystone_url" {
  description = "An external Keystone, ends in /v3. Empty for the standalone identity."
  type        = string
  default     = ""
}

variable "keystone_username" {
  description = "User of KeystonePassword, in the project KeystoneProject and the domain Default."
  type        = string
  default     = "cinder"
}

variable "kms_key_arn" {
  description = "An existing KMS key, whose policy must let DynamoDB use it for this account. Empty creates one. It cannot be changed later."
  type        = string
  default     = ""
}

variable "log_retention_days" {
  description = "Days that CloudWatch keeps the logs of functions, the API and state machines."
  type        = number
  default     = 30
}

variable "login_burst_limit" {
  description = "Log-ins to the built-in identity in a burst."
  type        = number
  default     = 20

  validation {
    condition     = var.login_burst_limit >= 1
    error_message = "login_burst_limit: give a whole number from 1."
  }
}

variable "login_rate_limit" {
  description = "Log-ins to the built-in identity a second, of all clients together. They do not count for ApiRateLimit."
  type        = number
  default     = 10

  validation {
    condition     = var.login_rate_limit >= 1
    error_message = "login_rate_limit: give a whole number from 1."
  }
}

variable "machine_log_level" {
  description = "What Step Functions logs of executions, without their data."
  type        = string
  default     = "OFF"

  validation {
    condition     = contains(["ALL", "ERROR", "FATAL", "OFF"], var.machine_log_level)
    error_message = "machine_log_level: allowed are ALL, ERROR, FATAL, OFF."
  }
}

variable "max_image_gigabytes" {
  description = "GiB of the largest image that volumes are made from or uploaded to. 0 for no limit."
  type        = number
  default     = 0

  validation {
    condition     = var.max_image_gigabytes >= 0 && var.max_image_gigabytes <= 65536
    error_message = "max_image_gigabytes: give a whole number from 0 to 65536."
  }
}

variable "nova_url" {
  description = "Nova, ends in /v2.1. The workers send it the events of volumes that were extended or reimaged."
  type        = string
  default     = ""
}

variable "operation_days" {
  description = "Days for which the log of operations is kept."
  type        = number
  default     = 30

  validation {
    condition     = var.operation_days >= 1 && var.operation_days <= 3650
    error_message = "operation_days: give a whole number from 1 to 3650."
  }
}

variable "osapi_max_limit" {
  description = "Most records of one page of a list."
  type        = number
  default     = 1000

  validation {
    condition     = var.osapi_max_limit >= 1 && var.osapi_max_limit <= 1000
    error_message = "osapi_max_limit: give a whole number from 1 to 1000."
  }
}

variable "other_backup_keys" {
  description = "KMS keys (ARNs) that wrap the data keys of those backups. Their key policies must allow it, too."
  type        = list(string)
  default     = []
}

variable "other_backup_resources" {
  description = "Buckets of other deployments whose backups may be imported (ARNs of each bucket and of its objects)."
  type        = list(string)
  default     = []
}

variable "pack_size" {
  description = "Bytes of one object of a backup."
  type        = number
  default     = 33554432
}

variable "permissions_boundary_arn" {
  description = "A managed policy that bounds every role of the stack. Empty for none."
  type        = string
  default     = ""
}

variable "policy_overrides" {
  description = "Policy rules in place of Cinder's defaults (JSON object of rules, or a policy.yaml as @file; compressed if it is longer than 4 KB). Empty for the defaults. See docs/how-to/coming-from-cinder.md."
  type        = string
  default     = ""
}

variable "project_burst_limit" {
  description = "Requests that each project may send at once, with ProjectRateLimit."
  type        = number
  default     = 100

  validation {
    condition     = var.project_burst_limit >= 1
    error_message = "project_burst_limit: give a whole number from 1."
  }
}

variable "project_rate_limit" {
  description = "Requests a minute that each project may send; more get 413 with Retry-After. 0 for no limit. Requests of other OpenStack services are not limited."
  type        = number
  default     = 0

  validation {
    condition     = var.project_rate_limit >= 0
    error_message = "project_rate_limit: give a whole number from 0."
  }
}

variable "public_endpoint" {
  description = "URL in the links of responses, for an API behind a custom domain. Empty takes it from the request."
  type        = string
  default     = ""
}

variable "recovery_public_key" {
  description = "Public half (64 hex digits) of a recovery key, as cinderless backup keygen prints it. New chains of backups can then be restored without KMS, with the key file. Empty for none."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([0-9a-f]{64})?$", var.recovery_public_key))
    error_message = "recovery_public_key: it must match ([0-9a-f]{64})?."
  }
}

variable "report_max_age" {
  description = "Seconds without a report after which a backend is down (Cinder's service_down_time). Backends report every 60 s."
  type        = number
  default     = 600

  validation {
    condition     = var.report_max_age >= 120 && var.report_max_age <= 86400
    error_message = "report_max_age: give a whole number from 120 to 86400."
  }
}

variable "scheduler_max_attempts" {
  description = "Attempts to place and provision one volume; 1 disables rescheduling. SchedulerOptions takes precedence."
  type        = number
  default     = 3

  validation {
    condition     = var.scheduler_max_attempts >= 1 && var.scheduler_max_attempts <= 20
    error_message = "scheduler_max_attempts: give a whole number from 1 to 20."
  }
}

variable "scheduler_options" {
  description = "JSON object of the scheduler's options under their names in cinder.conf; empty for Cinder's defaults."
  type        = string
  default     = ""
}

variable "secret_store" {
  description = "Where the identity document and the Keystone password are stored. ParameterStore: SSM SecureStrings, written by make deploy, free up to 4 KB each. SecretsManager: $0.40 a month each, up to 64 KB, with rotation."
  type        = string
  default     = "ParameterStore"

  validation {
    condition     = contains(["ParameterStore", "SecretsManager"], var.secret_store)
    error_message = "secret_store: allowed are ParameterStore, SecretsManager."
  }
}

variable "snap_start" {
  description = "Lambda starts environments of the API from a snapshot of an initialized one. Shortens the first request after idle, and costs the snapshot's cache (docs/reference/cost.md)."
  type        = bool
  default     = false
}

variable "start_workflow_concurrency" {
  description = "Most concurrent executions of start_workflow, each of which starts up to 10 workflows at a time."
  type        = number
  default     = 2

  validation {
    condition     = var.start_workflow_concurrency >= 2 && var.start_workflow_concurrency <= 1000
    error_message = "start_workflow_concurrency: give a whole number from 2 to 1000."
  }
}

variable "tracing" {
  description = "X-Ray traces of functions and machines."
  type        = string
  default     = "PassThrough"

  validation {
    condition     = contains(["Active", "PassThrough"], var.tracing)
    error_message = "tracing: allowed are Active, PassThrough."
  }
}

variable "volume_worker_memory" {
  description = "Memory of volume_worker in MB."
  type        = number
  default     = 1024

  validation {
    condition     = var.volume_worker_memory >= 512 && var.volume_worker_memory <= 10240
    error_message = "volume_worker_memory: give a whole number from 512 to 10240."
  }
}

variable "web_acl_arn" {
  description = "A web ACL of AWS WAF (regional) for the API, for rules per address. Empty for none."
  type        = string
  default     = ""
}

variable "worker_security_group_ids" {
  description = "Security groups of volume_worker and backup_worker; required with WorkerSubnetIds."
  type        = list(string)
  default     = []
}

variable "worker_subnet_ids" {
  description = "Subnets from which volume_worker and backup_worker reach the backends. Empty for none."
  type        = list(string)
  default     = []
}
