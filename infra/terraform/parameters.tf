# Generated from the template: make docs.

locals {
  parameters = {
    AlarmEmail                      = var.alarm_email
    AlarmTopicArn                   = var.alarm_topic_arn
    ApiAccessLogs                   = tostring(var.api_access_logs)
    ApiBurstLimit                   = tostring(var.api_burst_limit)
    ApiMemory                       = tostring(var.api_memory)
    ApiRateLimit                    = tostring(var.api_rate_limit)
    ApiReservedConcurrency          = tostring(var.api_reserved_concurrency)
    ApiSecurityGroupIds             = join(",", var.api_security_group_ids)
    ApiSubnetIds                    = join(",", var.api_subnet_ids)
    ApiVersion                      = var.api_version
    Backends                        = var.backends
    BackupConcurrency               = tostring(var.backup_concurrency)
    BackupLockDays                  = tostring(var.backup_lock_days)
    BackupTargetKeys                = join(",", var.backup_target_keys)
    BackupTargetResources           = join(",", var.backup_target_resources)
    BackupTargets                   = var.backup_targets
    BackupWorkerMemory              = tostring(var.backup_worker_memory)
    BackupWorkerReservedConcurrency = tostring(var.backup_worker_reserved_concurrency)
    BarbicanUrl                     = var.barbican_url
    BucketName                      = var.bucket_name
    CorsAllowedOrigins              = var.cors_allowed_origins
    Dashboard                       = tostring(var.dashboard)
    DefaultAvailabilityZone         = var.default_availability_zone
    DetailedAlarms                  = tostring(var.detailed_alarms)
    DisableExecuteApiEndpoint       = tostring(var.disable_execute_api_endpoint)
    GlanceUrl                       = var.glance_url
    KeystoneProject                 = var.keystone_project
    KeystoneUrl                     = var.keystone_url
    KeystoneUsername                = var.keystone_username
    KmsKeyArn                       = var.kms_key_arn
    LogRetentionDays                = tostring(var.log_retention_days)
    LoginBurstLimit                 = tostring(var.login_burst_limit)
    LoginRateLimit                  = tostring(var.login_rate_limit)
    MachineLogLevel                 = var.machine_log_level
    NovaUrl                         = var.nova_url
    OtherBackupKeys                 = join(",", var.other_backup_keys)
    OtherBackupResources            = join(",", var.other_backup_resources)
    PackSize                        = tostring(var.pack_size)
    PermissionsBoundaryArn          = var.permissions_boundary_arn
    ProjectBurstLimit               = tostring(var.project_burst_limit)
    ProjectRateLimit                = tostring(var.project_rate_limit)
    PublicEndpoint                  = var.public_endpoint
    RecoveryPublicKey               = var.recovery_public_key
    SchedulerOptions                = var.scheduler_options
    SecretStore                     = var.secret_store
    SnapStart                       = tostring(var.snap_start)
    StartWorkflowConcurrency        = tostring(var.start_workflow_concurrency)
    Tracing                         = var.tracing
    VolumeWorkerMemory              = tostring(var.volume_worker_memory)
    WebAclArn                       = var.web_acl_arn
    WorkerSecurityGroupIds          = join(",", var.worker_security_group_ids)
    WorkerSubnetIds                 = join(",", var.worker_subnet_ids)
  }
}
