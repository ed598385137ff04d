"""The process that serves: uvicorn with one worker or several, and its end."""

from __future__ import annotations

import os
import signal
import tempfile

import uvicorn
from uvicorn.supervisors import Multiprocess

from crypto_lakehouse import interrupts
from crypto_lakehouse.api.config import ServeConfig
from crypto_lakehouse.api.logs import configure_logs
from crypto_lakehouse.api.metrics import FOLDER

MOST_OF_A_HEAD = 512 * 1024
"""Bytes of the longest URL and headers. The longest list of symbols fits, also in letters of four bytes."""

GRACE = 30
"""Seconds that running answers have to end after a signal."""


class _Workers(Multiprocess):
    """Several workers. After a signal, ``interrupts`` knows it, as it does with one."""

    def handle_int(self) -> None:
        """End at Ctrl-C."""
        interrupts.note(signal.SIGINT)
        super().handle_int()

    def handle_term(self) -> None:
        """End at SIGTERM."""
        interrupts.note(signal.SIGTERM)
        super().handle_term()


def serve(config: ServeConfig) -> None:
    """Serve until SIGTERM or Ctrl-C; answers that have started may end. Then raises Interrupted."""
    configure_logs()
    config.export()
    settings = uvicorn.Config(
        "crypto_lakehouse.api.app:create",
        factory=True,
        host=config.host,
        port=config.port,
        workers=config.workers,
        access_log=False,
        # Each worker sets up its own logs.
        log_config=None,
        # Addresses that a client claims are not believed.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
        # The other parser has no limit for the length of a URL.
        http="h11",
        h11_max_incomplete_event_size=MOST_OF_A_HEAD,
    )
    # uvicorn ends normally after a signal, and the exit code of a command says which one it was.
    interrupts.defer()
    if config.workers == 1:
        server = uvicorn.Server(settings)
        server.run()
        interrupts.ask()
        if not server.started:
            raise SystemExit(1)
        return
    # Metrics of one process would miss those of the others.
    with tempfile.TemporaryDirectory(prefix="crypto-lakehouse-metrics-") as folder:
        os.environ[FOLDER] = folder
        _Workers(settings, sockets=[settings.bind_socket()]).run()
    interrupts.ask()
