"""Problems of requests below ``/binance`` as the exchange's errors: a code and a message, which its clients know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crypto_lakehouse.api.problems import MEDIA_TYPE
from crypto_lakehouse.exchange_api.binance_shapes import error

PREFIX = "/binance"

# Status, code and message by the last part of the problem's type. Without a message it is that of the problem.
_ERRORS: Mapping[str, tuple[int, int, str]] = {
    "no-token": (401, -2014, "API-key format invalid."),
    "not-allowed": (401, -2015, "Invalid API-key, IP, or permissions for action."),
    "too-many-requests": (429, -1003, "Too many requests; current limit is exceeded."),
    "time-limit": (408, -1007, "Timeout waiting for response from backend server."),
    "no-endpoint": (404, 0, "no such path"),
    # The exchange has rows of everything, so its clients know no code for what a lake does not hold.
    "not-built": (501, -1000, ""),
}
_OTHER = -1000


class BinanceErrors:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not scope["path"].startswith(f"{PREFIX}/"):
            await self.app(scope, receive, send)
            return
        problem: Message | None = None
        body = b""

        async def translated(message: Message) -> None:
            nonlocal problem, body
            if message["type"] == "http.response.start" and _is_problem(message):
                problem = message
            elif problem is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    await _send_error(send, problem, json.loads(body))

        await self.app(scope, receive, translated)


async def _send_error(send: Send, start: Message, problem: Mapping[str, Any]) -> None:
    kind = str(problem["type"]).rpartition(":")[2]
    status, code, message = _ERRORS.get(kind, (int(problem["status"]), _OTHER, ""))
    text = json.dumps(error(code, message or f"{problem['detail']}. {problem['next']}"), ensure_ascii=False).encode()
    headers = MutableHeaders(raw=list(start["headers"]))
    headers["Content-Type"] = "application/json;charset=UTF-8"
    headers["Content-Length"] = str(len(text))
    await send({**start, "status": status, "headers": headers.raw})
    await send({"type": "http.response.body", "body": text})


def _is_problem(message: Message) -> bool:
    content = dict(message.get("headers", [])).get(b"content-type", b"")
    return bool(content.startswith(MEDIA_TYPE.encode()))
