# Generated from the template: make docs.

output "api_handler_arn" {
  value = aws_cloudformation_stack.this.outputs["APIHandlerArn"]
}

output "api_handler_name" {
  value = aws_cloudformation_stack.this.outputs["APIHandlerName"]
}

output "backends_parameter" {
  value = aws_cloudformation_stack.this.outputs["BackendsParameter"]
}

output "backup_bucket_name" {
  value = aws_cloudformation_stack.this.outputs["BackupBucketName"]
}

output "dead_letter_queue_url" {
  value = aws_cloudformation_stack.this.outputs["DeadLetterQueueUrl"]
}

output "endpoint_url" {
  value = aws_cloudformation_stack.this.outputs["EndpointURL"]
}

output "identity_secret_name" {
  value = aws_cloudformation_stack.this.outputs["IdentitySecretName"]
}

output "key_arn" {
  value = aws_cloudformation_stack.this.outputs["KeyArn"]
}

output "notification_bus_name" {
  value = aws_cloudformation_stack.this.outputs["NotificationBusName"]
}

output "rest_api_id" {
  value = aws_cloudformation_stack.this.outputs["RestAPIId"]
}

output "work_queue_url" {
  value = aws_cloudformation_stack.this.outputs["WorkQueueUrl"]
}
