"""A real server process over a lake, and what it has logged. Nothing here asserts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import httpx

_RUNNING = re.compile(r"Uvicorn running on (http://[^ ]+)")
_LONGEST_START = 120.0


class Served:
    """``crypto-lakehouse serve`` on a free port of this machine, from ``__enter__`` to ``__exit__``."""

    def __init__(self, lake: Path, folder: Path, *options: str, **variables: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log_path, self.tokens_path = folder / "serve.log", folder / "tokens.json"
        self._options = options
        kept = {key: value for key, value in os.environ.items() if not key.startswith("LAKEHOUSE_")}
        self.environment = {
            **kept,
            "LAKEHOUSE_LAKE_URI": str(lake),
            "LAKEHOUSE_SERVE_TOKENS": str(self.tokens_path),
            "LAKEHOUSE_SERVE_RATE": "100000",
            **{f"LAKEHOUSE_{name.upper()}": str(value) for name, value in variables.items()},
        }

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "crypto_lakehouse", "serve", "--port", "0", *self._options]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment)
        end = time.monotonic() + _LONGEST_START
        while (match := _RUNNING.search(self.log)) is None:
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server did not start: {self.log}")
            time.sleep(0.05)
        self.url = match[1]
        self.client = httpx.Client(base_url=self.url, timeout=120)
        # The first process has the port before its workers listen.
        while not self._answers() and time.monotonic() < end:
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.stop()

    def _answers(self) -> bool:
        try:
            return self.client.get("/v1/health").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command with the settings of the server."""
        command = [sys.executable, "-m", "crypto_lakehouse", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment)

    def token(self, name: str, *options: str) -> dict[str, str]:
        """Add a token and return the header that sends it."""
        return {"Authorization": f"Bearer {self.command('tokens', 'add', name, *options).stdout.strip()}"}

    @property
    def log(self) -> str:
        """Everything that the server has printed."""
        return self.log_path.read_text(encoding="utf-8")

    def audit(self, request_id: str) -> dict[str, Any]:
        """The line of the log about a request, once it is there."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            for line in self.log.splitlines():
                if request_id in line and '"crypto_lakehouse.audit"' in line:
                    found: dict[str, Any] = json.loads(line)
                    return found
            time.sleep(0.02)
        raise RuntimeError(f"no line about {request_id} in {self.log}")

    def peak_memory(self) -> int:
        """The largest resident memory of the process so far, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024
