# Alarms of the machines. docs/deployment/runbooks has a page for each; the platform's own alerts are about data.
resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = aws_kms_key.lake.id
}

resource "aws_sns_topic_subscription" "email" {
  for_each  = toset(var.alarm_emails)
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.key
}

resource "aws_cloudwatch_metric_alarm" "service_down" {
  for_each            = local.services
  alarm_name          = "${var.name}-${each.key}-down"
  alarm_description   = "No task of ${each.key} runs. Runbook: process-down."
  namespace           = "ECS/ContainerInsights"
  metric_name         = "RunningTaskCount"
  dimensions          = { ClusterName = aws_ecs_cluster.this.name, ServiceName = each.key }
  statistic           = "Minimum"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = 10
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

locals {
  database_alarms = {
    space       = { metric = "FreeStorageSpace", comparison = "LessThanThreshold", threshold = 5 * 1024 * 1024 * 1024 }
    cpu         = { metric = "CPUUtilization", comparison = "GreaterThanThreshold", threshold = 90 }
    connections = { metric = "DatabaseConnections", comparison = "GreaterThanThreshold", threshold = 150 }
  }
}

resource "aws_cloudwatch_metric_alarm" "database" {
  for_each            = local.database_alarms
  alarm_name          = "${var.name}-database-${each.key}"
  alarm_description   = "${each.value.metric} of PostgreSQL. Runbook: database."
  namespace           = "AWS/RDS"
  metric_name         = each.value.metric
  dimensions          = { DBInstanceIdentifier = aws_db_instance.records.identifier }
  statistic           = "Average"
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = 300
  evaluation_periods  = 3
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "ui_errors" {
  for_each            = toset(["webserver", "viewer"])
  alarm_name          = "${var.name}-${each.key}-errors"
  alarm_description   = "The ${each.key} answers with errors. Runbook: process-down."
  namespace           = "AWS/ApplicationELB"
  metric_name         = "HTTPCode_Target_5XX_Count"
  dimensions          = { LoadBalancer = aws_lb.ui.arn_suffix, TargetGroup = aws_lb_target_group.ui[each.key].arn_suffix }
  statistic           = "Sum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 10
  period              = 300
  evaluation_periods  = 2
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

# A run that the machine ended, mostly for lack of memory, writes no error of its own.
resource "aws_cloudwatch_log_metric_filter" "run_killed" {
  name           = "${var.name}-run-killed"
  log_group_name = aws_cloudwatch_log_group.process["daemon"].name
  pattern        = "?\"failed to start\" ?\"unexpectedly exited\" ?\"OutOfMemory\" ?\"Detected run worker status FAILED\""

  metric_transformation {
    name      = "RunKilled"
    namespace = var.name
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "run_killed" {
  alarm_name          = "${var.name}-run-killed"
  alarm_description   = "The machine of a run ended before the run did. Runbook: run-killed."
  namespace           = var.name
  metric_name         = "RunKilled"
  statistic           = "Sum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}
