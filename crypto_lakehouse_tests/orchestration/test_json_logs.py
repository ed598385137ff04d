"""Events of real runs as lines of JSON."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest
import yaml  # type: ignore[import-untyped]

from crypto_lakehouse_tests.orchestration.conftest import DAYS, Platform
from crypto_lakehouse_tests.orchestration.test_sensors import JOB, NOWHERE

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F5.3")]

ASSET = "bronze/binance/um/klines_1m"
CONFIGURATION = Path(__file__).parents[2] / "deploy" / "dagster" / "one-machine" / "dagster.yaml"


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_lines_name_run_asset_and_partition_and_no_password(
    empty: Platform,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    log_format: str,
) -> None:
    monkeypatch.setenv("LAKEHOUSE_LOG_FORMAT", log_format)
    records = tmp_path / "records"
    records.mkdir()
    # The handler as deployments have it.
    overrides = {"python_logs": yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))["python_logs"]}
    with dg.DagsterInstance.local_temp(str(records), overrides=overrides) as instance:
        empty.instance = instance
        good = empty.run(JOB, DAYS[0], DAYS[1])
        with_password = {name: url.replace("//", "//me:hunter2secret@") for name, url in NOWHERE.items()}
        bad = empty.run(JOB, DAYS[0], DAYS[1], **with_password)
    text = capfd.readouterr().err
    assert "hunter2secret" not in text
    lines = [json.loads(line) for line in text.splitlines() if line.startswith('{"time"')]
    if log_format == "text":
        assert not lines
        return
    assert all({"time", "level", "message", "run", "job"} <= line.keys() for line in lines)
    stored = [line for line in lines if line.get("event") == "ASSET_MATERIALIZATION" and line.get("asset") == ASSET]
    assert [(line["run"], line["partition"]) for line in stored] == [(good.run_id, DAYS[0]), (good.run_id, DAYS[1])]
    (failed,) = [
        line
        for line in lines
        if line["run"] == bad.run_id
        and line.get("event") == "STEP_FAILURE"
        and line["step"] == ASSET.replace("/", "__")
    ]
    assert (failed["level"], failed["first"], failed["last"]) == ("error", DAYS[0], DAYS[1])
