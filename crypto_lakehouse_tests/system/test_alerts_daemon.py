"""Alerts of a real daemon: it finds a failed run in the records, sends one message, and gives signs of life."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crypto_lakehouse_tests.orchestration.receivers import webhook

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F5.3")]

SECRET = "hunter2secret"
_PATIENCE = 180.0
# A run of three days that cannot reach the archive.
_FAIL = """
import dagster as dg
from crypto_lakehouse.definitions import build_defs
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG

job = build_defs().resolve_job_def("update_binance_um_daily")
tags = {RANGE_START_TAG: "2024-01-01", RANGE_END_TAG: "2024-01-03"}
with dg.DagsterInstance.get() as instance:
    assert not job.execute_in_process(instance=instance, tags=tags, raise_on_error=False).success
"""


def test_a_daemon_sends_the_alert_of_a_failed_run_and_its_heartbeat(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with webhook(f"/alerts/{SECRET}") as alerts, webhook(f"/ping/{SECRET}") as pings:
        environment = {
            **os.environ,
            "DAGSTER_HOME": str(home),
            "LAKEHOUSE_ENV": "prod",
            "LAKEHOUSE_AUTOMATION": "alerts",
            "LAKEHOUSE_LAKE_URI": str(tmp_path / "lake"),
            "LAKEHOUSE_MARKETS": "um",
            "LAKEHOUSE_TABLES": "klines_1m",
            "LAKEHOUSE_RETRIES": "1",
            "LAKEHOUSE_ARCHIVE_URL": "http://127.0.0.1:1",
            "LAKEHOUSE_ARCHIVE_LISTING_URL": "http://127.0.0.1:1/listing",
            "LAKEHOUSE_ALERT_WEBHOOK_URL": alerts.url,
            "LAKEHOUSE_ALERT_HEARTBEAT_URL": pings.url,
        }
        failed = subprocess.run(
            [sys.executable, "-c", _FAIL], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert failed.returncode == 0, failed.stdout + failed.stderr
        log = tmp_path / "daemon.log"
        daemon = [sys.executable, "-m", "dagster._daemon", "run", "-m", "crypto_lakehouse.definitions"]
        with log.open("wb") as output:
            process = subprocess.Popen(daemon, env=environment, cwd=tmp_path, stdout=output, stderr=output)
            try:
                deadline = time.monotonic() + _PATIENCE
                while not (alerts.bodies and pings.bodies) and time.monotonic() < deadline:
                    assert process.poll() is None, log.read_text()
                    time.sleep(0.2)
            finally:
                process.terminate()
                process.wait(60)
        assert pings.paths, log.read_text()
        (alert,) = alerts.bodies
        assert (alert["kind"], alert["status"]) == ("run-failed", "alert")
        cause = alert["causes"][0]
        assert cause["subject"] == "bronze/binance/um/klines_1m"
        assert cause["items"] == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert SECRET not in log.read_text() + failed.stdout + failed.stderr
    for path in home.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
