"""A server that sends the bytes of a test, HTTP or not, and the forms of secrets that no output may contain."""

from __future__ import annotations

import base64
import socketserver
import threading
from collections.abc import Callable
from itertools import product
from urllib.parse import quote, quote_plus


class RawServer(socketserver.ThreadingTCPServer):
    """Answers every request with ``answer``, then closes; a function is called with the request's first line.

    ``asked`` lists the heads of the requests.
    """

    daemon_threads = True

    def __init__(self, answer: bytes | Callable[[str], bytes]) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.released = threading.Event()
        super().__init__(("127.0.0.1", 0), _Answer)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self.server_address[1]}"

    def __exit__(self, *error: object) -> None:
        self.released.set()
        self.shutdown()
        super().__exit__(*error)


class _Answer(socketserver.StreamRequestHandler):
    server: RawServer

    def handle(self) -> None:
        lines = [line.decode() for line in iter(self.rfile.readline, b"\r\n") if line]
        if not lines:
            return
        self.server.asked.append("".join(lines))
        answer = self.server.answer
        data = answer(lines[0]) if callable(answer) else answer
        if not data:
            # Silence, as long as the test takes.
            self.server.released.wait()
            return
        self.wfile.write(data)


FAULTS: dict[str, bytes] = {
    "not http": b"not http\r\n\r\n",
    "length too long": b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\nshort",
    "length no number": b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nshort",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nshort",
    "a header of 9 kB": b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 9000 + b"\r\nContent-Length: 0\r\n\r\n",
    "a status line of 9 kB": b"HTTP/1.1 200 " + b"x" * 9000 + b"\r\nContent-Length: 0\r\n\r\n",
    "bad chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nno chunk\r\n",
    "broken chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "bad header": b"HTTP/1.1 200 OK\r\n\x00Bad\xff: \x01\r\n\r\n",
    "unknown encoding": b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 5\r\n\r\nshort",
    "closed in the head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "silent": b"",
    "error": b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
    "forbidden": b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n",
    "unauthorized": b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
    "not found": b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
    "slow down": b"HTTP/1.1 429 No\r\nRetry-After: 86400\r\nContent-Length: 0\r\n\r\n",
    "redirect to elsewhere": b"HTTP/1.1 302 No\r\nLocation: http://127.0.0.2:9/x\r\nContent-Length: 0\r\n\r\n",
    "redirect to nowhere": b"HTTP/1.1 302 No\r\nLocation: http://[h\r\nContent-Length: 0\r\n\r\n",
    "partial": b"HTTP/1.1 206 OK\r\nContent-Range: bytes 7-9/10\r\nContent-Length: 0\r\n\r\n",
    "html": b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n<html/>",
    "tunnel without TLS": b"HTTP/1.1 200 OK\r\n\r\nno TLS is spoken here\r\n",
}
"""Invalid answers, by their fault; an empty answer is silence."""


def forms_of(user: str, password: str) -> set[str]:
    """The forms of user and password that no text or file may contain: raw, base64 and URL-encoded."""
    raw = [password, user, f"{user}:{password}"]
    forms = {*raw, *(encode(text) for encode, text in product((quote, quote_plus, _all_quoted), raw))}
    for text, encode in product(raw, (base64.b64encode, base64.urlsafe_b64encode)):
        forms.add(encode(text.encode()).decode())
    return forms | {form.rstrip("=") for form in forms}


def _all_quoted(text: str) -> str:
    return quote(text, safe="")
