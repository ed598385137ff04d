bucket          = "example-lake"
image           = "123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/crypto-lakehouse@sha256:0000000000000000000000000000000000000000000000000000000000000000"
vpc_id          = "vpc-0123456789abcdef0"
vpc_cidr        = "10.0.0.0/16"
private_subnets = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
certificate_arn = "arn:aws:acm:ap-northeast-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
alarm_emails    = ["on-call@example.com"]

settings = {
  LAKEHOUSE_TABLES     = "klines_1m,funding_rates"
  LAKEHOUSE_AUTOMATION = "schedules,alerts"
}

# admins and viewers hold secrets: give them as TF_VAR_admins and TF_VAR_viewers.
