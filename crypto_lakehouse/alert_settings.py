"""The settings of alerts and of the form of logs.

Those that hold a secret are never shown, not even when their value is wrong. They are part of ``Settings``
(``settings.py``). What is sent, and when, is in ``orchestration/alerts``.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

from crypto_lakehouse.catalog.names import check_number
from crypto_lakehouse.catalog.urls import has_host, http_url

SECRETS = frozenset({"alert_slack_url", "alert_webhook_url", "alert_heartbeat_url", "alert_smtp_url"})
"""The settings whose values are secret."""


class LogFormat(StrEnum):
    """The form of log lines of runs: as Dagster writes them, or also as JSON."""

    TEXT = "text"
    JSON = "json"


class AlertSettings(BaseSettings):
    """Where alerts are sent and when data counts as late."""

    log_format: LogFormat = Field(
        LogFormat.TEXT, description="text, or json: runs also log JSON lines, where dagster.yaml has the handler"
    )
    alert_slack_url: SecretStr | None = Field(None, description="secret: URL of an incoming webhook of Slack")
    alert_webhook_url: SecretStr | None = Field(None, description="secret: URL that takes alerts as JSON (POST)")
    alert_smtp_url: SecretStr | None = Field(
        None,
        description="secret: mail server for alerts, smtp://user:password@host:587 (STARTTLS) or smtps://...:465; write"
        " / and @ in a password as %2F and %40",
    )
    alert_email_from: str = Field("", description="sender of alerts by e-mail")
    alert_email_to: str = Field("", description="receivers of alerts by e-mail, with commas between them")
    alert_heartbeat_url: SecretStr | None = Field(
        None, description="secret: URL that the daemon requests every minute; a service there alerts when it stops"
    )
    alert_late_hours: float = Field(
        12.0, gt=0, le=24 * 31, description="hours after the end of a day or month after which its data is late"
    )
    alert_ui_url: str = Field("", description="address of Dagster's UI for links in alerts; empty: no links to runs")
    alert_runbooks_url: str = Field(
        "", description="address of the folder docs/deployment/runbooks for links in alerts; empty: its path"
    )

    @field_validator("alert_slack_url", "alert_webhook_url", "alert_heartbeat_url")
    @classmethod
    def _check_secret_url(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is None else SecretStr(http_url(value.get_secret_value()))

    @field_validator("alert_smtp_url")
    @classmethod
    def _check_smtp_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not has_host(value.get_secret_value(), "smtp", "smtps"):
            raise ValueError("must be smtp://user:password@host:587 or smtps://user:password@host:465")
        return value

    @field_validator("alert_ui_url", "alert_runbooks_url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        return http_url(value) if value else value

    @field_validator("alert_email_from", "alert_email_to")
    @classmethod
    def _check_addresses(cls, value: str) -> str:
        for address in split_addresses(value):
            if not re.fullmatch(r"[^\s@<>\"]+@[^\s@<>\"]+", address):
                raise ValueError("must be addresses such as ops@example.com, with commas between them")
        return value

    @field_validator("alert_late_hours", mode="before")
    @classmethod
    def _check_hours(cls, value: Any) -> Any:
        return check_number(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_email(self) -> Self:
        given = [bool(self.alert_smtp_url), bool(self.alert_email_from), bool(self.alert_email_to)]
        if any(given) and not all(given):
            raise ValueError("set LAKEHOUSE_ALERT_SMTP_URL, _EMAIL_FROM and _EMAIL_TO, or none of them")
        return self


def split_addresses(text: str) -> list[str]:
    """The addresses of a comma-separated list.

    >>> split_addresses("a@example.com, b@example.com")
    ['a@example.com', 'b@example.com']
    """
    return [address for address in (part.strip() for part in text.split(",")) if address]


def smtp_parts(url: str) -> tuple[bool, str, int, str, str]:
    """Whether the connection is TLS from its start, then host, port, user and password of the URL of a mail server.

    >>> smtp_parts("smtp://me:p%40ss@mail.example.com")
    (False, 'mail.example.com', 587, 'me', 'p@ss')
    """
    parts = urlsplit(url)
    is_tls = parts.scheme == "smtps"
    port = parts.port or (465 if is_tls else 587)
    return is_tls, parts.hostname or "", port, unquote(parts.username or ""), unquote(parts.password or "")
