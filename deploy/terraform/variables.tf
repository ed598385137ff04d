variable "name" {
  description = "Prefix of all names."
  type        = string
  default     = "crypto-lakehouse"
}

variable "region" {
  description = "Region of everything. The archive of Binance is in ap-northeast-1."
  type        = string
  default     = "ap-northeast-1"
}

variable "bucket" {
  description = "Name of the bucket of the lake; unique in the world."
  type        = string
}

variable "prefix" {
  description = "The lake's prefix in the bucket."
  type        = string
  default     = "main"
}

variable "image" {
  description = "Image with its digest: ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME@sha256:..."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "Name the image by its digest, so that a deployment is always the same."
  }
}

variable "vpc_id" {
  description = "The VPC. Its private subnets need a way out to the archive (NAT)."
  type        = string
}

variable "vpc_cidr" {
  description = "Addresses that may open the UI."
  type        = string
}

variable "private_subnets" {
  description = "At least two private subnets, in two zones."
  type        = list(string)
}

variable "certificate_arn" {
  description = "Certificate of the UI's name, in ACM."
  type        = string
}

variable "admins" {
  description = "OIDC client of people who may launch, stop and delete."
  type = object({
    issuer                 = string
    authorization_endpoint = string
    token_endpoint         = string
    user_info_endpoint     = string
    client_id              = string
    client_secret          = string
  })
  sensitive = true
}

variable "viewers" {
  description = "OIDC client of people who may look."
  type = object({
    issuer                 = string
    authorization_endpoint = string
    token_endpoint         = string
    user_info_endpoint     = string
    client_id              = string
    client_secret          = string
  })
  sensitive = true
}

variable "settings" {
  description = "LAKEHOUSE_* variables of the processes that load the definitions, such as LAKEHOUSE_TABLES."
  type        = map(string)
  default     = {}
}

variable "run_cpu" {
  description = "CPU units of a run; 1024 is a vCPU."
  type        = number
  default     = 2048
}

variable "run_memory" {
  description = "MiB of a run. docs/deployment/sizing.md has the measurements."
  type        = number
  default     = 4096
}

variable "database_class" {
  description = "Instance class of RDS."
  type        = string
  default     = "db.t4g.small"
}

variable "database_zones" {
  description = "true keeps a copy of the database in a second zone, for twice the price."
  type        = bool
  default     = true
}

variable "alarm_emails" {
  description = "Who gets the alarms. Each address has to confirm."
  type        = list(string)
}

variable "log_days" {
  description = "Days that logs of processes are kept."
  type        = number
  default     = 365
}
