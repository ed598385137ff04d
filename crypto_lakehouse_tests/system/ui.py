"""The command of ``make ui`` and a browser, for the tests of the UI. Nothing here asserts."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

import crypto_lakehouse

ROOT = Path(crypto_lakehouse.__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
# A limit for a state that never comes, on however busy a machine.
WAIT_MS = 600_000
_CHROMIUM = Path("/usr/bin/chromium")
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium_page(width: int, height: int) -> Iterator[Page]:
    """A page of Chromium; the test is skipped without it."""
    if not _CHROMIUM.exists():
        pytest.skip(f"{_CHROMIUM} is not installed (Debian package 'chromium')")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(_CHROMIUM), args=_FLAGS)
        page = browser.new_page(viewport={"width": width, "height": height}, locale="en-US", timezone_id="UTC")
        page.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        yield page
        browser.close()


@contextmanager
def ui_server(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Address of a running UI with web server and daemon, started in ``folder``; its output is in ``dagster.log``."""
    shutil.copy(ROOT / "workspace.yaml", folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    log = folder / "dagster.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            _command(port),
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(server, address, log)
            yield address
        finally:
            # All of its processes: how they end by themselves is Dagster's business.
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _command(port: int) -> list[str]:
    """The command of ``make ui``, on another port."""
    [line] = re.findall(r"^ui:.*\n\t\$\(BIN\)/(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    program, *arguments = line.split()
    path = Path(sys.executable).parent / program
    assert path.exists(), f"{path} does not exist: install the packages of requirements.lock (any make target does)"
    return [str(path), *arguments[:-1], str(port)]


def _wait(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    while server.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/server_info").close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"the UI ended:\n{log.read_text(errors='replace')[-3000:]}")
