# Cinderless as one CloudFormation stack, from the template that `make publish` uploads.

variable "name" {
  description = "Name of the stack: 1 to 47 letters, digits and hyphens, a letter first."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9-]{0,46}$", var.name))
    error_message = "name: 1 to 47 letters, digits and hyphens, a letter first."
  }
}

variable "template_url" {
  description = "URL of the packaged template in S3, as make publish prints it."
  type        = string
}

variable "tags" {
  description = "Tags of the stack and of all its resources."
  type        = map(string)
  default     = {}
}

locals {
  in_parameter_store = var.secret_store == "ParameterStore"
  secret             = var.keystone_url == "" ? "identity" : "keystone"

  # With the parameter store CloudFormation receives no secrets.
  secrets = local.in_parameter_store ? { IdentityDocument = "{}", KeystonePassword = "" } : {
    IdentityDocument = var.identity_document
    KeystonePassword = var.keystone_password
  }
}

resource "aws_cloudformation_stack" "this" {
  name         = var.name
  template_url = var.template_url
  capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
  parameters   = merge(local.parameters, local.secrets)
  tags         = var.tags

  lifecycle {
    precondition {
      condition     = var.keystone_url != "" || length(try(jsondecode(var.identity_document).users, [])) > 0
      error_message = "Without keystone_url, identity_document must have users: no user could log in."
    }
  }
}

# Signs the tokens of the built-in identity.
resource "random_password" "signing_key" {
  length  = 64
  special = false
}

# Operators edit the users in the parameter store (docs/how-to/deploy.md): their edits stay.
resource "aws_ssm_parameter" "secret" {
  count  = local.in_parameter_store ? 1 : 0
  name   = "/${var.name}/${local.secret}"
  type   = "SecureString"
  key_id = aws_cloudformation_stack.this.outputs["KeyArn"]
  tier   = "Intelligent-Tiering"
  tags   = var.tags

  value = local.secret == "keystone" ? var.keystone_password : jsonencode(
    merge(jsondecode(var.identity_document), { signing_key = random_password.signing_key.result })
  )

  lifecycle {
    ignore_changes = [value]
  }
}
