"""Where alerts are sent: an incoming webhook of Slack, a webhook that takes JSON, a mail server.

No error says more than the kind of the fault, because addresses and answers may hold secrets.
"""

from __future__ import annotations

import base64
import json
import smtplib
import ssl
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit

from crypto_lakehouse.alert_settings import smtp_parts, split_addresses
from crypto_lakehouse.orchestration.alerts.messages import body, facts, title
from crypto_lakehouse.orchestration.alerts.rules import Notice
from crypto_lakehouse.settings import Settings

_SECONDS = 10.0


class DeliveryError(Exception):
    """A message was not accepted. The text names the channel and the kind of the fault, and no address."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would send the message, and perhaps its secret, to another place."""

    def redirect_request(self, *_: Any) -> None:
        """Refuse."""
        return


@dataclass(frozen=True, slots=True)
class Channel:
    """A way to send messages. ``send`` raises DeliveryError."""

    name: str
    send: Callable[[Notice, datetime], None]

    def __repr__(self) -> str:
        return f"Channel({self.name})"


def channels(settings: Settings) -> list[Channel]:
    """The channels that the settings name; often none."""
    found = []
    links = settings.alert_ui_url, settings.alert_runbooks_url
    if settings.alert_slack_url:
        slack = settings.alert_slack_url

        def to_slack(notice: Notice, now: datetime) -> None:
            text = body(notice, now, *links).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            _post("slack", slack.get_secret_value(), {"text": text})

        found.append(Channel("slack", to_slack))
    if settings.alert_webhook_url:
        webhook = settings.alert_webhook_url

        def to_webhook(notice: Notice, now: datetime) -> None:
            _post("webhook", webhook.get_secret_value(), facts(notice, now, *links))

        found.append(Channel("webhook", to_webhook))
    if settings.alert_smtp_url:

        def to_email(notice: Notice, now: datetime) -> None:
            _mail(settings, title(notice), body(notice, now, *links))

        found.append(Channel("email", to_email))
    return found


def heartbeat(settings: Settings) -> None:
    """Request the URL of the dead man's signal, if there is one. Raises DeliveryError."""
    if settings.alert_heartbeat_url:
        _request("heartbeat", settings.alert_heartbeat_url.get_secret_value())


def _post(name: str, url: str, values: dict[str, Any]) -> None:
    _request(name, url, json.dumps(values).encode())


def _request(name: str, url: str, data: bytes | None = None) -> None:
    """GET, or POST of JSON. A user and password in the URL are sent as a header, as browsers do."""
    place, user, password = _split(url)
    headers = {"Content-Type": "application/json"} if data is not None else {}
    if user or password:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    request, fault = urllib.request.Request(place, data, headers), ""
    try:
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=_SECONDS) as answer:
            answer.read(1024)
    except HTTPError as error:
        error.close()
        fault = f"it answered HTTP {error.code}"
    except (OSError, HTTPException, ValueError) as error:
        fault = f"no answer ({type(error).__name__})"
    if fault:
        # Outside of the except clause, so that the original is not even the context: it may quote the URL.
        raise DeliveryError(f"{name} did not take the message: {fault}. Check its LAKEHOUSE_ALERT_* settings")


def _split(url: str) -> tuple[str, str, str]:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host).geturl(), unquote(parts.username or ""), unquote(parts.password or "")


def _mail(settings: Settings, subject: str, text: str) -> None:
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = settings.alert_email_from
    message["To"] = ", ".join(split_addresses(settings.alert_email_to))
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain="crypto-lakehouse")
    message.set_content(text)
    assert settings.alert_smtp_url is not None
    is_tls, host, port, user, password = smtp_parts(settings.alert_smtp_url.get_secret_value())
    fault, context = "", ssl.create_default_context()
    try:
        server = (
            smtplib.SMTP_SSL(host, port, timeout=_SECONDS, context=context)
            if is_tls
            else smtplib.SMTP(host, port, timeout=_SECONDS)
        )
        with server:
            server.ehlo_or_helo_if_needed()
            if not is_tls and server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
            elif user and not is_tls and host not in ("127.0.0.1", "::1", "localhost"):
                fault = "it offers no TLS, so the password is not sent"
            if not fault:
                if user:
                    server.login(user, password)
                server.send_message(message)
    except smtplib.SMTPResponseException as error:
        fault = f"the server answered {error.smtp_code}"
    except (OSError, smtplib.SMTPException, ValueError) as error:
        fault = f"no answer ({type(error).__name__})"
    if fault:
        raise DeliveryError(f"email did not take the message: {fault}. Check the LAKEHOUSE_ALERT_* settings")
