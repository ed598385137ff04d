"""Unusual symbols and files in the listing of an otherwise normal day of a market."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pytest
from aiohttp import web

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse_tests.system.runs import WatchedServer, read, run, settings

DAY = "2024-12-27"
FOLDER = "data/futures/um/daily/klines"
LONG = f"{'長' * 40}_{'長' * 20}_OF"


@pytest.mark.requirement("F2.11", "T7")
def test_a_too_long_name_fails_alone_and_a_replaced_file_is_ingested(tmp_path: Path) -> None:
    archive, lake = tmp_path / "archive", tmp_path / "lake"
    make_sample(archive, symbols=2, days=1, start=date(2024, 12, 27))
    make_sample(tmp_path / "newer", symbols=2, days=1, start=date(2024, 12, 27), seed=8)
    for suffix in ("zip", "zip.CHECKSUM"):
        target = archive / FOLDER / LONG / "1m" / f"{LONG}-1m-{DAY}.{suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(archive / FOLDER / f"BTCUSDT/1m/BTCUSDT-1m-{DAY}.{suffix}", target)
    replaced = f"{FOLDER}/BTCUSDT/1m/BTCUSDT-1m-{DAY}.zip"
    newer = (tmp_path / "newer" / replaced).read_bytes()
    assert len(newer) != (archive / replaced).stat().st_size

    async def replace(request: web.Request) -> None:
        # After all was listed.
        if replaced in request.path and (archive / replaced).read_bytes() != newer:
            for name in (replaced, f"{replaced}.CHECKSUM"):
                shutil.copyfile(tmp_path / "newer" / name, archive / name)

    with WatchedServer(archive, replace) as server:
        assert run(settings(server, lake, tables="klines_1m"), "um", DAY, DAY).success
        asked = len(server.zips())
        # The ledger knows the version that was fetched, and the long name is final.
        assert run(settings(server, lake, tables="klines_1m"), "um", DAY, DAY).success
        assert len(server.zips()) == asked
    states = {row["symbol"]: row for row in read(Lakehouse(lake), "ledger.files").to_dicts()}
    assert (states["BTCUSDT"]["status"], states["BTCUSDT"]["size"]) == ("ingested", len(newer))
    assert states["ETHUSDT"]["status"] == "ingested"
    assert (states[LONG]["status"], states[LONG]["reason"]) == ("quarantined", "unsafe_name")
    assert "at most 200 bytes" in states[LONG]["detail"]
    rows = read(Lakehouse(lake), "silver.klines_1m")
    assert set(rows["symbol"]) == {"BTCUSDT", "ETHUSDT"}
