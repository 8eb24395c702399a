# Cinderless with its workers in the VPC of deploy/vpc.yaml (docs/how-to/vpc.md).

variable "template_url" {
  description = "URL of the packaged template in S3, as make publish prints it."
  type        = string
}

resource "aws_cloudformation_stack" "network" {
  name          = "cinderless-network"
  template_body = file("${path.module}/../../../../deploy/vpc.yaml")
}

module "cinderless" {
  source = "../.."

  name              = "cinderless"
  template_url      = var.template_url
  backends          = file("${path.module}/backends.json")
  identity_document = file("${path.module}/identity.json")
  alarm_email       = "storage@example.org"

  worker_subnet_ids         = split(",", aws_cloudformation_stack.network.outputs["SubnetIds"])
  worker_security_group_ids = [aws_cloudformation_stack.network.outputs["WorkerSecurityGroupId"]]
}

output "endpoint" {
  value = module.cinderless.endpoint_url
}
