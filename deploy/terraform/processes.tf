# The processes: code location, daemon, two web servers as services; each run as a task of its own.
resource "aws_ecs_cluster" "this" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_cloudwatch_log_group" "process" {
  for_each          = toset(["code", "daemon", "webserver", "viewer", "run"])
  name              = "/${var.name}/${each.key}"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.lake.arn
}

resource "aws_service_discovery_private_dns_namespace" "this" {
  name = "${var.name}.internal"
  vpc  = var.vpc_id
}

resource "aws_service_discovery_service" "code" {
  name = "code"

  dns_config {
    namespace_id = aws_service_discovery_private_dns_namespace.this.id

    dns_records {
      type = "A"
      ttl  = 10
    }
  }

  health_check_custom_config {
    failure_threshold = 1
  }
}

locals {
  database = aws_db_instance.records
  password = "${aws_db_instance.records.master_user_secret[0].secret_arn}:password::"

  records = {
    DAGSTER_HOME          = "/opt/lakehouse/ecs"
    DAGSTER_POSTGRES_HOST = local.database.address
    DAGSTER_POSTGRES_PORT = tostring(local.database.port)
    DAGSTER_POSTGRES_DB   = local.database.db_name
    DAGSTER_POSTGRES_USER = local.database.username
    # The image has the certificates of RDS: docs/deployment/image.md.
    PGSSLMODE         = "verify-full"
    PGSSLROOTCERT     = "/etc/lakehouse/certificates/rds.pem"
    DAGSTER_CODE_HOST = "code.${var.name}.internal"
    DAGSTER_CODE_PORT = "4000"
    # Without a revision: runs use the newest one. The name is fixed, because the task definition needs it itself.
    DAGSTER_RUN_TASK_DEFINITION = "${var.name}-run"
  }

  lake_settings = {
    AWS_DEFAULT_REGION = var.region
    LAKEHOUSE_ENV      = "prod"
    LAKEHOUSE_LAKE_URI = "s3://${var.bucket}/${var.prefix}"
  }

  everything = merge(local.records, local.lake_settings, var.settings)
  of_servers = merge(local.records, local.lake_settings)

  ui_health   = ["CMD", "python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:3000/server_info', timeout=8)"]
  code_health = ["CMD", "dagster", "api", "grpc-health-check", "--host", "127.0.0.1", "--port", "4000"]
  workspace   = ["--workspace", "/opt/lakehouse/workspace.yaml"]
  location    = "crypto_lakehouse.definitions"

  services = {
    code = {
      role        = "reader"
      cpu         = 1024
      memory      = 2048
      port        = 4000
      environment = local.everything
      health      = local.code_health
      command     = ["dagster", "code-server", "start", "--host", "0.0.0.0", "--port", "4000", "--module-name", local.location, "--location-name", local.location]
    }
    daemon = {
      role        = "daemon"
      cpu         = 512
      memory      = 1024
      port        = null
      environment = local.of_servers
      health      = ["CMD", "dagster-daemon", "liveness-check"]
      command     = concat(["dagster-daemon", "run"], local.workspace)
    }
    webserver = {
      role        = "webserver"
      cpu         = 512
      memory      = 1024
      port        = 3000
      environment = local.of_servers
      health      = local.ui_health
      command     = concat(["dagster-webserver", "--host", "0.0.0.0", "--port", "3000"], local.workspace)
    }
    viewer = {
      role        = "viewer"
      cpu         = 512
      memory      = 1024
      port        = 3000
      environment = local.of_servers
      health      = local.ui_health
      command     = concat(["dagster-webserver", "--read-only", "--host", "0.0.0.0", "--port", "3000"], local.workspace)
    }
  }
}

resource "aws_ecs_task_definition" "service" {
  #checkov:skip=CKV_AWS_336:volumes of Fargate belong to root, and DAGSTER_HOME needs a folder to write to
  for_each                 = local.services
  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.cpu
  memory                   = each.value.memory
  task_role_arn            = aws_iam_role.process[each.value.role].arn
  execution_role_arn       = aws_iam_role.execution.arn

  container_definitions = jsonencode([{
    name         = each.key
    image        = var.image
    essential    = true
    command      = each.value.command
    environment  = [for name, value in each.value.environment : { name = name, value = value }]
    secrets      = [{ name = "DAGSTER_POSTGRES_PASSWORD", valueFrom = local.password }]
    portMappings = each.value.port == null ? [] : [{ containerPort = each.value.port, protocol = "tcp" }]
    healthCheck  = { command = each.value.health, interval = 30, timeout = 20, retries = 5, startPeriod = 180 }
    stopTimeout  = 120
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.process[each.key].name
        awslogs-region        = var.region
        awslogs-stream-prefix = each.key
      }
    }
  }])
}

# The launcher of Dagster replaces the command of the container "run".
resource "aws_ecs_task_definition" "run" {
  #checkov:skip=CKV_AWS_336:volumes of Fargate belong to root, and temporary files need a folder to write to
  family                   = "${var.name}-run"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.run_cpu
  memory                   = var.run_memory
  task_role_arn            = aws_iam_role.process["writer"].arn
  execution_role_arn       = aws_iam_role.execution.arn

  ephemeral_storage {
    size_in_gib = 50
  }

  container_definitions = jsonencode([{
    name        = "run"
    image       = var.image
    essential   = true
    command     = ["crypto-lakehouse", "config"]
    environment = [for name, value in local.everything : { name = name, value = value }]
    secrets     = [{ name = "DAGSTER_POSTGRES_PASSWORD", valueFrom = local.password }]
    stopTimeout = 120
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.process["run"].name
        awslogs-region        = var.region
        awslogs-stream-prefix = "run"
      }
    }
  }])
}

resource "aws_ecs_service" "this" {
  for_each        = local.services
  name            = each.key
  cluster         = aws_ecs_cluster.this.id
  task_definition = aws_ecs_task_definition.service[each.key].arn
  desired_count   = 1
  launch_type     = "FARGATE"
  propagate_tags  = "SERVICE"

  # Two daemons at once would launch twice: stop the old one first.
  deployment_minimum_healthy_percent = each.key == "daemon" ? 0 : 100
  deployment_maximum_percent         = each.key == "daemon" ? 100 : 200

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.private_subnets
    security_groups  = [aws_security_group.processes.id]
    assign_public_ip = false
  }

  dynamic "service_registries" {
    for_each = each.key == "code" ? [aws_service_discovery_service.code.arn] : []

    content {
      registry_arn = service_registries.value
    }
  }

  dynamic "load_balancer" {
    for_each = contains(keys(local.fronts), each.key) ? [each.key] : []

    content {
      target_group_arn = aws_lb_target_group.ui[load_balancer.value].arn
      container_name   = load_balancer.value
      container_port   = 3000
    }
  }

  depends_on = [aws_lb_listener.ui]
}
