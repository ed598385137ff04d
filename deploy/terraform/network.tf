# Who may connect to whom. Nothing is open to the internet.
resource "aws_security_group" "front" {
  name        = "${var.name}-front"
  description = "Load balancer of the UI"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "front" {
  for_each          = { admins = 443, viewers = 8443 }
  security_group_id = aws_security_group.front.id
  description       = "UI for ${each.key}"
  cidr_ipv4         = var.vpc_cidr
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
}

resource "aws_vpc_security_group_egress_rule" "front_to_ui" {
  security_group_id            = aws_security_group.front.id
  description                  = "Web servers"
  referenced_security_group_id = aws_security_group.processes.id
  ip_protocol                  = "tcp"
  from_port                    = 3000
  to_port                      = 3000
}

resource "aws_vpc_security_group_egress_rule" "front_to_oidc" {
  security_group_id = aws_security_group.front.id
  description       = "Identity provider"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_security_group" "processes" {
  name        = "${var.name}-processes"
  description = "Web servers, daemon, code location, runs"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "ui" {
  security_group_id            = aws_security_group.processes.id
  description                  = "UI from the load balancer"
  referenced_security_group_id = aws_security_group.front.id
  ip_protocol                  = "tcp"
  from_port                    = 3000
  to_port                      = 3000
}

resource "aws_vpc_security_group_ingress_rule" "code" {
  security_group_id            = aws_security_group.processes.id
  description                  = "Code location, from web servers and daemon"
  referenced_security_group_id = aws_security_group.processes.id
  ip_protocol                  = "tcp"
  from_port                    = 4000
  to_port                      = 4000
}

resource "aws_vpc_security_group_egress_rule" "code" {
  security_group_id            = aws_security_group.processes.id
  description                  = "Code location"
  referenced_security_group_id = aws_security_group.processes.id
  ip_protocol                  = "tcp"
  from_port                    = 4000
  to_port                      = 4000
}

resource "aws_vpc_security_group_egress_rule" "records" {
  security_group_id            = aws_security_group.processes.id
  description                  = "PostgreSQL"
  referenced_security_group_id = aws_security_group.records.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.processes.id
  description       = "Archives, APIs of exchanges, services of AWS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_security_group" "records" {
  name        = "${var.name}-records"
  description = "PostgreSQL"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "records" {
  security_group_id            = aws_security_group.records.id
  description                  = "PostgreSQL from the processes"
  referenced_security_group_id = aws_security_group.processes.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}
