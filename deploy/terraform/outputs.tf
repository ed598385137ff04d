output "lake_uri" {
  description = "For LAKEHOUSE_LAKE_URI of readers."
  value       = "s3://${aws_s3_bucket.lake.bucket}/${var.prefix}"
}

output "reader_role" {
  description = "Role that reads the lake, for the policies of people and of other programs."
  value       = aws_iam_role.process["reader"].arn
}

output "repository" {
  description = "Where to push the image."
  value       = aws_ecr_repository.this.repository_url
}

output "ui" {
  description = "Address of the UI inside of the VPC: port 443 for admins, 8443 for viewers."
  value       = aws_lb.ui.dns_name
}
