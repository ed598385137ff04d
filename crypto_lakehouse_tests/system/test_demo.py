"""The demo as a user runs it, twice: the first run builds everything, the second finds it up to date."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse_tests.system.test_cli import run


@pytest.mark.requirement("F7.1")
def test_demo_builds_a_lake_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(tmp_path, "demo", "--folder", "demo", "--end", "2025-01-05")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "35 partitions done in 6 runs; 0 runs failed" in first.stdout
    assert "gold.bars_1h, um, BTCUSDT" in first.stdout
    assert "check ERROR" not in first.stdout
    for command in (
        "dg dev -m crypto_lakehouse.definitions",
        "archive serve",
        "the notebooks in notebooks/",
        f"DAGSTER_HOME={tmp_path / 'demo/dagster'}",
    ):
        assert command in first.stdout

    # What is stored and what readers return differ by the days after the end of XRPUSDT.
    stored = re.search(r"^stored rows of binance/um/klines_1m: .*gold\.bars_1d ([0-9]+)", first.stdout, re.MULTILINE)
    days = Lakehouse(tmp_path / "demo" / "lake").read("gold.bars_1d", market="um")
    assert stored is not None
    assert int(stored[1]) > len(days)
    assert f"Readers leave them out: gold.bars_1d of um has {len(days)} rows\n" in first.stdout

    # The last hint lists the tables.
    hint = first.stdout.splitlines()[-1]
    again = subprocess.run(hint, shell=True, capture_output=True, text=True, check=True)
    assert again.stdout.startswith("layer")

    tables = Lakehouse(tmp_path / "demo" / "lake").tables()
    for layer, table, markets, partitions in [
        ("bronze", "klines_1m", 3, 10),
        ("silver", "klines_1m", 3, 10),
        ("gold", "bars_1h", 3, 10),
        ("gold", "bars_1d", 3, 10),
        ("silver", "funding_rates", 2, 2),
    ]:
        rows = tables.filter(layer=layer, table=table)
        assert (rows.height, rows["partitions"].to_list()) == (markets, [partitions] * markets)
    assert Lakehouse(tmp_path / "demo" / "lake").scan("silver.klines_1m").collect()["symbol"].n_unique() >= 10

    universe = Lakehouse(tmp_path / "demo" / "lake").universe("um", on="2024-12-28")
    assert {"BTCUSDT", "XRPUSDT"} <= set(universe["symbol"])
    assert "SOLUSDT" not in set(universe["symbol"])

    chart = (tmp_path / "demo" / "chart.html").read_text(encoding="utf-8")
    assert "candlestick" in chart
    assert '<script src="http' not in chart

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo" / "lake").rglob("*.parquet")}
    # Without --end the demo keeps its days.
    second = run(tmp_path, "demo", "--folder", "demo")
    assert second.returncode == 0, second.stdout + second.stderr
    assert "nothing to do" in second.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before

    # It leaves nothing in the records of the real lake, or next to the demo.
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    import dagster as dg

    monkeypatch.setenv("DAGSTER_HOME", os.fspath(tmp_path / "demo" / "dagster"))
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs()
        assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS] * 6
        assert {run.job_name for run in runs} == {
            "update_binance_spot_daily",
            "update_binance_um_daily",
            "update_binance_cm_daily",
            "update_binance_um_monthly",
            "update_binance_cm_monthly",
        }
