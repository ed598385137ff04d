# One role per process, with the rights that it needs:
#
#   role       lake                       logs of runs   ECS
#   writer     read and write             write          -
#   reader     read                       -              -        code location, REST service, people
#   webserver  -                          read           stop runs
#   viewer     -                          read           -
#   daemon     -                          read           start and stop runs
data "aws_iam_policy_document" "ecs_tasks" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

locals {
  roles = toset(["writer", "reader", "webserver", "viewer", "daemon"])
  lake  = "${aws_s3_bucket.lake.arn}/${var.prefix}"
  logs  = "${aws_s3_bucket.lake.arn}/${var.prefix}/_logs/*"

  policies = {
    writer    = data.aws_iam_policy_document.writer.json
    reader    = data.aws_iam_policy_document.reader.json
    webserver = data.aws_iam_policy_document.webserver.json
    viewer    = data.aws_iam_policy_document.viewer.json
    daemon    = data.aws_iam_policy_document.daemon.json
  }
}

resource "aws_iam_role" "process" {
  for_each           = local.roles
  name               = "${var.name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.ecs_tasks.json
}

resource "aws_iam_role_policy" "process" {
  for_each = local.roles
  name     = each.key
  role     = aws_iam_role.process[each.key].id
  policy   = local.policies[each.key]
}

data "aws_iam_policy_document" "writer" {
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:GetBucketLocation"]
    resources = [aws_s3_bucket.lake.arn]
  }

  # Deleting makes a version; no role may delete versions.
  statement {
    sid       = "Write"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    resources = ["${local.lake}/*"]
  }

  statement {
    sid       = "Encrypt"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.lake.arn]
  }
}

data "aws_iam_policy_document" "reader" {
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket", "s3:GetBucketLocation"]
    resources = [aws_s3_bucket.lake.arn]
  }

  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = [for layer in keys(local.colder) : "${local.lake}/${layer}/*"]
  }

  statement {
    sid       = "Decrypt"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.lake.arn]
  }
}

data "aws_iam_policy_document" "viewer" {
  #checkov:skip=CKV_AWS_356:ecs:DescribeTaskDefinition knows no resources
  statement {
    sid       = "ListLogsOfRuns"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.lake.arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${var.prefix}/_logs/*"]
    }
  }

  statement {
    sid       = "ReadLogsOfRuns"
    actions   = ["s3:GetObject"]
    resources = [local.logs]
  }

  statement {
    sid       = "Decrypt"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.lake.arn]
  }

  # Dagster's launcher asks for the task definition of runs whenever it is loaded.
  statement {
    sid       = "Launcher"
    actions   = ["ecs:DescribeTaskDefinition"]
    resources = ["*"]
  }
}

data "aws_iam_policy_document" "webserver" {
  source_policy_documents = [data.aws_iam_policy_document.viewer.json]

  statement {
    sid       = "StopRuns"
    actions   = ["ecs:DescribeTasks", "ecs:StopTask"]
    resources = ["arn:${local.aws}:ecs:${var.region}:${local.account}:task/${var.name}/*"]
  }
}

data "aws_iam_policy_document" "daemon" {
  #checkov:skip=CKV_AWS_356:ec2:DescribeNetworkInterfaces knows no resources
  source_policy_documents = [data.aws_iam_policy_document.webserver.json]

  statement {
    sid       = "StartRuns"
    actions   = ["ecs:RunTask"]
    resources = ["${aws_ecs_task_definition.run.arn_without_revision}:*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [aws_ecs_cluster.this.arn]
    }
  }

  statement {
    sid       = "TagRuns"
    actions   = ["ecs:TagResource"]
    resources = ["arn:${local.aws}:ecs:${var.region}:${local.account}:task/${var.name}/*"]

    condition {
      test     = "StringEquals"
      variable = "ecs:CreateAction"
      values   = ["RunTask"]
    }
  }

  statement {
    sid       = "PassRolesToRuns"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.process["writer"].arn, aws_iam_role.execution.arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }

  # The launcher copies subnets and security groups of its own task.
  statement {
    sid       = "OwnNetwork"
    actions   = ["ec2:DescribeNetworkInterfaces"]
    resources = ["*"]
  }

  statement {
    sid       = "OutputOfRuns"
    actions   = ["logs:GetLogEvents"]
    resources = ["${aws_cloudwatch_log_group.process["run"].arn}:*"]
  }
}

# Of ECS itself: it fetches the image and the secrets, and creates streams of logs.
resource "aws_iam_role" "execution" {
  name               = "${var.name}-execution"
  assume_role_policy = data.aws_iam_policy_document.ecs_tasks.json
}

data "aws_iam_policy_document" "execution" {
  #checkov:skip=CKV_AWS_356:ecr:GetAuthorizationToken knows no resources
  statement {
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"]
    resources = [aws_ecr_repository.this.arn]
  }

  statement {
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_db_instance.records.master_user_secret[0].secret_arn]
  }

  statement {
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.lake.arn]
  }

  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = [for group in aws_cloudwatch_log_group.process : "${group.arn}:*"]
  }
}

resource "aws_iam_role_policy" "execution" {
  name   = "execution"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}
