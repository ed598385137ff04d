# The UI, inside of the VPC only, after a login by OIDC. The identity provider says who may use which client.
locals {
  fronts  = { webserver = 443, viewer = 8443 }
  clients = { webserver = var.admins, viewer = var.viewers }
}

resource "aws_lb" "ui" {
  #checkov:skip=CKV_AWS_91:web servers log requests; the load balancer's logs would need a bucket of their own
  #checkov:skip=CKV2_AWS_28:it is reached from the VPC only
  name                       = var.name
  internal                   = true
  load_balancer_type         = "application"
  security_groups            = [aws_security_group.front.id]
  subnets                    = var.private_subnets
  drop_invalid_header_fields = true
  enable_deletion_protection = true
}

resource "aws_lb_target_group" "ui" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer; only it can reach the web servers
  for_each    = local.fronts
  name        = "${var.name}-${each.key}"
  port        = 3000
  protocol    = "HTTP"
  target_type = "ip"
  vpc_id      = var.vpc_id

  health_check {
    path    = "/server_info"
    matcher = "200"
  }
}

resource "aws_lb_listener" "ui" {
  for_each          = local.fronts
  load_balancer_arn = aws_lb.ui.arn
  port              = each.value
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type  = "authenticate-oidc"
    order = 1

    authenticate_oidc {
      issuer                     = local.clients[each.key].issuer
      authorization_endpoint     = local.clients[each.key].authorization_endpoint
      token_endpoint             = local.clients[each.key].token_endpoint
      user_info_endpoint         = local.clients[each.key].user_info_endpoint
      client_id                  = local.clients[each.key].client_id
      client_secret              = local.clients[each.key].client_secret
      on_unauthenticated_request = "authenticate"
      session_cookie_name        = "${var.name}-${each.key}"
      session_timeout            = 28800
    }
  }

  default_action {
    type             = "forward"
    order            = 2
    target_group_arn = aws_lb_target_group.ui[each.key].arn
  }
}
