"""The gate before every endpoint: tokens, rates, slots and time, then the audit line and the metrics.

It wraps the whole application, so no request passes by it. Scopes are checked where tables and markets are known, in
``scopes.py``.
"""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crypto_lakehouse.api import metrics
from crypto_lakehouse.api.call import CALL, Call, Slots
from crypto_lakehouse.api.config import ServeConfig
from crypto_lakehouse.api.limits import RateLimit
from crypto_lakehouse.api.logs import ERRORS, audit
from crypto_lakehouse.api.page.rendering import OPEN_PAGES
from crypto_lakehouse.api.problems import Problem
from crypto_lakehouse.api.tokens import Token, TokenError, TokenFile

OPEN_PATHS = frozenset({"/v1/health"}) | OPEN_PAGES
"""What needs no token."""

MOST_OF_A_BODY = 256 * 1024
"""Bytes of the longest query."""

# An open server answers only to names of this machine: a page of another site can point its own name here.
_LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
_FIXED_PATHS = OPEN_PATHS | {"/v1/openapi.json"}
_UNKNOWN_ROUTE = "unknown"
_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"})


def too_large() -> Problem:
    """The problem of a body that is too long."""
    return Problem("too-large", f"the body has more than {MOST_OF_A_BODY:,} bytes")


class Gate:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp, config: ServeConfig) -> None:
        self.app, self.config = app, config
        self.tokens = TokenFile(config.tokens)
        # Each worker process has its share.
        self.rates = RateLimit(max(config.rate / config.workers, 0.01))
        self.slots = Slots(max(1, math.ceil(config.concurrency / config.workers)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        call = Call()
        CALL.set(call)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        metrics.RUNNING.inc()
        try:
            await self._answer(call, scope, receive, send)
        finally:
            metrics.RUNNING.dec()
            call.route = _route(scope)
            client = scope.get("client") or ("",)
            audit(call, method, client[0])
            metrics.count(call, method)

    async def _answer(self, call: Call, scope: Scope, receive: Receive, send: Send) -> None:
        is_held = False

        async def counted(message: Message) -> None:
            nonlocal is_held
            if message["type"] == "http.response.start":
                call.status = message["status"]
                message["headers"] = [*message.get("headers", []), *_headers(call)]
            elif message["type"] == "http.response.body":
                call.bytes += len(message.get("body", b""))
                call.is_whole = not message.get("more_body", False)
                if call.is_whole and is_held:
                    # Before the last bytes are sent: the client may ask again as soon as it has them.
                    is_held = False
                    call.leave()
            await send(message)

        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MOST_OF_A_BODY:
                # FastAPI turns every error of a body into its own; ``too_large`` puts it right.
                call.outcome = "too-large"
                raise too_large()
            return message

        try:
            self._admit(call, scope)
            call.occupy(lambda: self.slots.free(call.caller))
            is_held = True
            with anyio.fail_after(self.config.timeout):
                await self.app(scope, limited, counted)
            if not call.is_whole:
                call.outcome = "disconnected"
        except TimeoutError:
            await self._fail(call, Problem("time-limit", f"the limit is {self.config.timeout:g} s"), scope, counted)
        except Problem as problem:
            await self._fail(call, problem, scope, counted)
        except Exception as error:
            # After the first bytes Starlette wraps what it has a handler for.
            if isinstance(error.__cause__, Problem):
                await self._fail(call, error.__cause__, scope, counted)
                return
            ERRORS.exception("request failed", extra={"facts": {"request": call.id}})
            await self._fail(call, Problem("internal", f"the request {call.id} failed"), scope, counted)
        finally:
            if is_held:
                call.leave()

    async def _fail(self, call: Call, problem: Problem, scope: MutableMapping[str, Any], send: Send) -> None:
        """Answer with a problem. If rows were sent, the connection closes before the end of the answer instead."""
        call.outcome = problem.kind
        if call.status:
            ERRORS.warning("answer ended early: %s", problem.detail, extra={"facts": {"request": call.id}})
            return

        async def nothing() -> Message:
            return {"type": "http.disconnect"}

        await problem.response(call.id)(scope, nothing, send)

    def _admit(self, call: Call, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if scope["path"] in OPEN_PATHS:
            call.token = None
        else:
            call.token = self._token(headers)
        if call.token is not None:
            call.facts["token"] = call.token.name
        if wait := self.rates.wait(call.caller):
            raise Problem(
                "too-many-requests",
                f"more than {self.rates.rate:g} requests a second",
                {"Retry-After": str(math.ceil(wait))},
            )
        if not self.slots.take(call.caller):
            raise Problem(
                "too-many-requests",
                f"{self.slots.most} requests of this token are being answered",
                {"Retry-After": "1"},
            )

    def _token(self, headers: Headers) -> Token | None:
        try:
            is_open = self.config.is_loopback and not self.tokens.tokens()
            if is_open:
                name = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
                if name not in _LOCAL_NAMES and headers.get("host") not in _LOCAL_NAMES:
                    raise Problem("wrong-host", "without tokens the server answers only to names of this machine")
                if headers.get("sec-fetch-site") == "cross-site":
                    raise Problem("other-site", "without tokens no page of another site is answered")
                return None
            token = self.tokens.find(_secret(headers), datetime.now(UTC))
        except TokenError as error:
            ERRORS.error("%s", error)
            raise Problem("tokens-unreadable", "the file of tokens is damaged or not readable") from None
        if token is None:
            raise Problem("no-token", "the request has no token, or one that is unknown, expired or revoked")
        return token


def _secret(headers: Headers) -> str:
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else headers.get("x-mbx-apikey", "")


def _route(scope: Scope) -> str:
    """The template of the path, which has no text of the client."""
    path = getattr(scope.get("route"), "path", None)
    if path is not None:
        return str(path)
    return scope["path"] if scope["path"] in _FIXED_PATHS else _UNKNOWN_ROUTE


def _headers(call: Call) -> list[tuple[bytes, bytes]]:
    return [
        (b"request-id", call.id.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"referrer-policy", b"no-referrer"),
    ]
