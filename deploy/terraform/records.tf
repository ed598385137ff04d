# Dagster's records. Losing them loses no rows of the lake.
resource "aws_db_subnet_group" "records" {
  name       = var.name
  subnet_ids = var.private_subnets
}

resource "aws_db_parameter_group" "records" {
  name   = "${var.name}-16"
  family = "postgres16"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  parameter {
    name  = "log_statement"
    value = "ddl"
  }

  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }
}

# Processes get the password when they start, so restart the services after a rotation: runbook "database".
resource "aws_secretsmanager_secret_rotation" "records" {
  #checkov:skip=CKV_AWS_304:each rotation needs a restart of the services
  secret_id          = aws_db_instance.records.master_user_secret[0].secret_arn
  rotate_immediately = false

  rotation_rules {
    automatically_after_days = 180
  }
}

resource "aws_db_instance" "records" {
  #checkov:skip=CKV_AWS_161:Dagster connects with a password, which Secrets Manager rotates
  #checkov:skip=CKV_AWS_354:Performance Insights is off
  #checkov:skip=CKV_AWS_353:Performance Insights is off; the alarms watch space, CPU and connections
  #checkov:skip=CKV_AWS_118:the alarms watch space, CPU and connections
  #checkov:skip=CKV_AWS_157:database_zones chooses, and is true by default
  identifier                      = var.name
  engine                          = "postgres"
  engine_version                  = "16"
  instance_class                  = var.database_class
  allocated_storage               = 20
  max_allocated_storage           = 200
  storage_type                    = "gp3"
  storage_encrypted               = true
  kms_key_id                      = aws_kms_key.lake.arn
  db_name                         = "dagster"
  username                        = "dagster"
  manage_master_user_password     = true
  master_user_secret_kms_key_id   = aws_kms_key.lake.key_id
  multi_az                        = var.database_zones
  db_subnet_group_name            = aws_db_subnet_group.records.name
  parameter_group_name            = aws_db_parameter_group.records.name
  vpc_security_group_ids          = [aws_security_group.records.id]
  publicly_accessible             = false
  auto_minor_version_upgrade      = true
  backup_retention_period         = 14
  copy_tags_to_snapshot           = true
  deletion_protection             = true
  skip_final_snapshot             = false
  final_snapshot_identifier       = "${var.name}-last"
  enabled_cloudwatch_logs_exports = ["postgresql", "upgrade"]
}
