"""Metrics of a lake that real runs have built, read by the parser of Prometheus' own client."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from crypto_lakehouse.orchestration.metrics import HELP, Sample, collect, exposition
from crypto_lakehouse.settings import Settings
from crypto_lakehouse_tests.orchestration.conftest import DAYS, Platform
from crypto_lakehouse_tests.orchestration.test_sensors import JOB, NOWHERE

pytestmark = pytest.mark.requirement("F5.3")

ROOT = Path(__file__).parents[2]
Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def _parsed(text: str) -> Values:
    return {
        (sample.name.removeprefix("lakehouse_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _value(values: Values, name: str, **labels: str) -> float:
    return values[name, tuple(sorted(labels.items()))]


@pytest.mark.slow
def test_metrics_are_those_of_the_lake_and_the_runs(filled: Platform) -> None:
    assert filled.run(JOB, DAYS[0], DAYS[-1]).success
    assert not filled.run(JOB, DAYS[0], DAYS[-1], **NOWHERE).success
    now = datetime(2025, 1, 5, tzinfo=UTC)
    settings = Settings.load(env="test", lake_uri=str(filled.lake), tables="klines_1m")
    values = _parsed(exposition(collect(filled.store, filled.instance, settings, now)))
    place = {"exchange": "binance", "market": "um", "table": "klines_1m"}
    for layer in ("bronze", "silver"):
        assert _value(values, "partitions", layer=layer, **place) == 3
        assert _value(values, "stored_bytes", layer=layer, **place) > 10_000
        assert _value(values, "lag_seconds", layer=layer, **place) == timedelta(days=3).total_seconds()
    assert _value(values, "files", status="ingested", **place) == 6
    assert _value(values, "rows", **place) == 2 * 3 * 1440
    assert _value(values, "rejected_rows", **place) == 0
    assert _value(values, "file_bytes", **place) == sum(
        path.stat().st_size for path in filled.archive.glob("data/futures/um/daily/klines/*/1m/*.zip")
    )
    assert _value(values, "runs", job=JOB, status="success") == 1
    assert _value(values, "runs", job=JOB, status="failure") == 1
    assert _value(values, "run_retries", job=JOB) == 0
    assert 0 < _value(values, "last_run_seconds", job=JOB) < 600


@pytest.mark.slow
def test_the_command_writes_a_file_whole_or_names_the_fault(filled: Platform, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    environment = {
        **os.environ,
        "LAKEHOUSE_LAKE_URI": str(filled.lake),
        "DAGSTER_HOME": str(tmp_path / "home"),
    }

    def run(out: Path, **others: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "crypto_lakehouse", "metrics", "--out", str(out)]
        return subprocess.run(
            command, env={**environment, **others}, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    result = run(tmp_path / "lakehouse.prom")
    assert result.returncode == 0, result.stderr
    values = _parsed((tmp_path / "lakehouse.prom").read_text(encoding="utf-8"))
    place = {"exchange": "binance", "market": "um", "table": "klines_1m"}
    assert _value(values, "rows", **place) == 2 * 3 * 1440
    for broken in (run(tmp_path / "no" / "x.prom"), run(tmp_path / "x.prom", LAKEHOUSE_LAKE_URI=str(tmp_path / "no"))):
        assert broken.returncode == 1
        assert "error: " in broken.stderr
        assert "Traceback" not in broken.stderr
    assert [path.name for path in tmp_path.glob("*.prom")] == ["lakehouse.prom"]


def test_any_label_is_read_as_it_was_written() -> None:
    text = exposition([Sample("rows", {"table": 'a"b\\c\nd'}, 2.0**60 + 2**10)])
    assert _value(_parsed(text), "rows", table='a"b\\c\nd') == 2.0**60 + 2**10


def test_the_dashboard_shows_metrics_that_exist() -> None:
    board = json.loads((ROOT / "deploy" / "grafana" / "crypto-lakehouse.json").read_text(encoding="utf-8"))
    shown = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    names = {name for expression in shown for name in re.findall(r"lakehouse_(\w+)", expression)}
    assert names <= set(HELP)
    assert {"lag_seconds", "rows", "files", "last_run_seconds"} <= names
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
