"""Every data type of the archive, enabled only by a setting, from the sample archive through real runs."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import Cadence, Feed, partition_key
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse.schemas import silver_schema
from crypto_lakehouse_tests.binance_archive import BINANCE_FEEDS
from crypto_lakehouse_tests.system.runs import failures, run, settings

# A day on which all types of that time have files: the last of them began in June 2023, the first ended in October.
DAY = date(2023, 9, 1)
LIVE = [feed for feed in BINANCE_FEEDS if feed.covers(DAY)]


@pytest.mark.requirement("F1.3", "F5.1", "F6.4", "F6.20")
def test_every_feed_goes_from_the_archive_to_silver(tmp_path: Path) -> None:
    make_sample(tmp_path / "archive", symbols=1, days=1, start=DAY, tables=("*",))
    with ArchiveServer(tmp_path / "archive") as server:
        environment = settings(server, tmp_path / "lake", tables="*")
        for market, cadence in dict.fromkeys((feed.market.name, feed.cadence) for feed in LIVE):
            # The week and the three days of the first of a month open in the month before, whose files hold them.
            first = partition_key(DAY - timedelta(days=1) if cadence is Cadence.MONTHLY else DAY, cadence)
            result = run(environment, market, first, partition_key(DAY, cadence), cadence=cadence)
            assert result.success, failures(result)
            wrong = [e for e in result.get_asset_check_evaluations() if not e.passed and e.severity.value == "ERROR"]
            assert not wrong
    lake = Lakehouse(tmp_path / "lake")
    made = set(lake.tables().select("layer", "market", "table").iter_rows())
    for feed in LIVE:
        assert {(layer, feed.market.name, feed.table) for layer in ("bronze", "silver")} <= made, feed.name
        rows = lake.scan(f"silver.{feed.table}", market=feed.market.name).collect()
        assert rows.height > 0, feed.name
        # Intervals of klines differ in nothing that matters here.
        if feed.interval is None or feed.interval.name in ("1m", "1w"):
            _check_explained(lake, feed, rows)


def _check_explained(lake: Lakehouse, feed: Feed, rows: pl.DataFrame) -> None:
    """Each of some rows is explained by lines of files that the ledger knows, and made again by the same code."""
    time = silver_schema(feed).time_column
    for row in (rows.row(place, named=True) for place in (0, rows.height // 2, rows.height - 1)):
        chain = lake.explain(f"silver.{feed.table}", row["symbol"], row[time], market=feed.market.name)
        silver, bronze = chain.steps()
        assert any(found.items() <= row.items() for found in silver.rows.iter_rows(named=True)), feed.name
        assert not silver.notes, feed.name
        assert bronze.trace.filter(use="kept").height == silver.rows.height, feed.name
        assert chain.files, feed.name
        assert all(file.version is not None and file.version.sha256 == file.sha256 for file in chain.files), feed.name
        assert lake.uses(chain.files[0].key).filter(layer="silver").height, feed.name
