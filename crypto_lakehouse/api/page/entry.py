"""What surrounds the gate for browsers: the cookie of a login, headers of pages, and errors as pages.

A cookie becomes the header that the gate checks; nothing here decides who may read.
"""

from __future__ import annotations

import json
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crypto_lakehouse.api.page.rendering import LOGIN, html
from crypto_lakehouse.api.problems import MEDIA_TYPE

COOKIE = "crypto_lakehouse_token"
SESSION = "/page/session"
"""The path to which the login form sends a token."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_MOST_OF_A_FORM = 8 * 1024
_READS = ("GET", "HEAD")


class Entry:
    """An ASGI application around the gate."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        token = ""
        if path == SESSION and scope["method"] == "POST":
            token, receive = await _posted(receive)
        elif not {"authorization", "x-mbx-apikey"} & set(headers) and _is_trusted(scope["method"], headers):
            token = _cookie(headers)
        if token:
            scope = {**scope, "headers": [*scope["headers"], (b"authorization", b"Bearer " + token.encode())]}
        if path != "/" and not path.startswith("/page/"):
            await self.app(scope, receive, send)
            return
        await self.app(scope, receive, _Pages(scope, receive, send).send)


class _Pages:
    """Sends the answer of a page, with its headers. A problem becomes a page, too."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._problem: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        """Send a message of the application."""
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            headers["content-security-policy"] = _POLICY
            # Without an origin, forms of this server would look like those of another one.
            headers["referrer-policy"] = "same-origin"
            if headers.get("content-type") == MEDIA_TYPE and not self._scope["path"].startswith("/page/data/"):
                self._problem = message
                return
        elif self._problem is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._answer(self._problem)(self._scope, self._receive, self._send)
            return
        await self._send(message)

    def _answer(self, message: Message) -> Response:
        problem, path = json.loads(self._body), self._scope["path"]
        response: Response
        if message["status"] == 401 and path == SESSION:
            response = html("login.html", 401, next="/", refused=True)
        elif message["status"] == 401 and self._scope["method"] in _READS:
            query = self._scope.get("query_string", b"").decode("latin-1")
            here = f"{path}?{query}" if query else path
            response = RedirectResponse(f"{LOGIN}?next={quote(here, safe='')}", 303)
        else:
            response = html("error.html", message["status"], problem=problem)
        # What the gate has added stays; the body, and whether browsers keep it, are others.
        for name, value in Headers(raw=message["headers"]).items():
            if name not in ("content-type", "content-length", "cache-control", "www-authenticate"):
                response.headers[name] = value
        return response


def is_same_origin(headers: Headers) -> bool:
    """Whether a page of this server has sent a form. Browsers name the origin of each one."""
    return urlsplit(headers.get("origin", "")).netloc.lower() == headers.get("host", "").lower() != ""


def local_path(text: str) -> str:
    """The path of this server to go to after the login; ``/`` for an address of another one.

    >>> local_path("/page/tables?a=b"), local_path("//evil.example"), local_path("https://evil.example")
    ('/page/tables?a=b', '/', '/')
    """
    parts = urlsplit(text)
    is_local = text.startswith("/") and not parts.netloc and not parts.scheme and "\\" not in text
    return text if is_local and text.isprintable() and not text.startswith("//") else "/"


def _is_trusted(method: str, headers: Headers) -> bool:
    """Whether a cookie counts. SameSite lets other ports of the same host send it, so requests that act need more."""
    return method in _READS or is_same_origin(headers)


def _cookie(headers: Headers) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel is not None and morsel.value.isascii() else ""


async def _posted(receive: Receive) -> tuple[str, Receive]:
    """The token of a login form, and a ``receive`` that returns the form again."""
    body, is_open = b"", True
    while is_open and len(body) <= _MOST_OF_A_FORM:
        message = await receive()
        if message["type"] != "http.request":
            break
        body += message.get("body", b"")
        is_open = message.get("more_body", False)
    fields = parse_qs(body[:_MOST_OF_A_FORM].decode("ascii", "replace"))
    token = fields.get("token", [""])[0].strip()
    is_read = False

    async def again() -> Message:
        nonlocal is_read
        if is_read:
            return {"type": "http.disconnect"}
        is_read = True
        return {"type": "http.request", "body": body[:_MOST_OF_A_FORM], "more_body": False}

    return token if token.isascii() and token.isprintable() else "", again
