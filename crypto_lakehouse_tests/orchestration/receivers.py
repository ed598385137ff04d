"""Real receivers of alerts on this machine: a server for webhooks, and a small SMTP server that keeps what it gets."""

from __future__ import annotations

import base64
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Webhook:
    """Bodies and paths of the requests; ``statuses`` are the next answers, then 200."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)


@contextmanager
def webhook(path: str = "/hook") -> Iterator[Webhook]:
    """Serve on a free port. A request that is refused is not kept."""
    kept = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(body)

        def do_GET(self) -> None:
            self._answer({})

        def _answer(self, body: dict[str, Any]) -> None:
            status = kept.statuses.pop(0) if kept.statuses else 200
            if status == 200:
                kept.bodies.append(body)
                kept.paths.append(self.path)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", kept.url)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept.url = f"http://127.0.0.1:{server.server_port}{path}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield kept
        server.shutdown()


@dataclass
class Mailbox:
    """Mails that were accepted, and the users and passwords of their connections."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    is_refusing: bool = False


@contextmanager
def smtp_server() -> Iterator[Mailbox]:
    """Accept mails by SMTP with AUTH PLAIN, on a free port."""
    kept = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 receiver")
            while line := self.rfile.readline().decode().strip():
                word = line[:4].upper()
                if word == "EHLO":
                    self._say("250-receiver\r\n250 AUTH PLAIN")
                elif word == "AUTH":
                    _, user, password = base64.b64decode(line.split()[2]).decode().split("\0")
                    kept.logins.append((user, password))
                    self._say("235 welcome")
                elif word == "DATA" and kept.is_refusing:
                    self._say("451 later")
                elif word == "DATA":
                    self._say("354 send it")
                    self._keep()
                    self._say("250 kept")
                else:
                    self._say("221 bye" if word == "QUIT" else "250 fine")

        def _keep(self) -> None:
            lines = []
            while (line := self.rfile.readline()) != b".\r\n":
                lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
            kept.mails.append(message_from_bytes(b"".join(lines), policy=policy.default))

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        kept.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield kept
        server.shutdown()
