"""The command that serves a folder as the exchange's API, and the settings that it prints."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.settings import Settings
from crypto_lakehouse_tests.system.test_cli import COMMAND, environment, run


@pytest.mark.requirement("F2.14")
def test_a_folder_is_served_as_an_api_until_an_interrupt(tmp_path: Path) -> None:
    make_sample(tmp_path / "here", symbols=1, days=1, tables=("klines_1m",), markets=("um",))
    command = [*COMMAND, "archive", "serve-api", "here", "--now", "2024-12-27T12:00"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        server.stdout.readline()
        word, _, value = server.stdout.readline().strip().partition("=")
        assert word == "export LAKEHOUSE_REST_URLS"
        urls = Settings.load(rest_urls=value).rest_urls_of("binance")
        assert list(urls) == ["spot", "um", "cm"]
        open_url = build_opener(ProxyHandler({})).open
        with open_url(f"{urls['um']}/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=1") as answer:
            ((time, *_),) = json.loads(answer.read())
        # 12:00 of 2024-12-27, or a minute later on a slow machine.
        assert 0 <= time - 1735300800000 <= 600_000
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
        assert server.stderr.read() == ""
    missing = run(tmp_path, "archive", "serve-api", "nowhere")
    assert missing.returncode == 1
    assert "there is no folder nowhere" in missing.stderr
    wrong = run(tmp_path, "archive", "serve-api", "here", "--now", "noon")
    assert wrong.returncode == 2
    assert "--now" in wrong.stderr
