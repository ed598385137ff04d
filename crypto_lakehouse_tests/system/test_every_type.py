"""Every type of the archive, switched on by a setting alone, from the sample archive through real runs."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.archive.sample import make_sample
from crypto_lakehouse.archive.server import ArchiveServer
from crypto_lakehouse.catalog import Cadence, feeds
from crypto_lakehouse_tests.system.runs import failures, run, settings

# One interval stands for all of its kind; option summaries ended before the other dead types began to be dense.
TABLES = (
    *("klines_1h", "mark_klines_1h", "index_klines_1h", "premium_klines_1h", "agg_trades", "trades"),
    *("open_interest", "book_depth", "book_ticker", "liquidations", "volatility_index", "option_summaries"),
)
DAY = date(2023, 9, 1)


@pytest.mark.requirement("F5.1", "F6.4")
def test_every_type_goes_from_the_archive_to_silver(tmp_path: Path) -> None:
    make_sample(tmp_path / "archive", symbols=1, days=1, start=DAY, tables=TABLES)
    with ArchiveServer(tmp_path / "archive") as server:
        environment = settings(server, tmp_path / "lake", tables=",".join(TABLES))
        for market in ("spot", "um", "cm", "option"):
            result = run(environment, market, f"{DAY}", f"{DAY}")
            assert result.success, failures(result)
            wrong = [e for e in result.get_asset_check_evaluations() if not e.passed and e.severity.value == "ERROR"]
            assert not wrong
    lake = Lakehouse(tmp_path / "lake")
    made = set(lake.tables().select("layer", "market", "table").iter_rows())
    for feed in feeds(TABLES):
        assert feed.cadence is Cadence.DAILY
        assert {(layer, feed.market.name, feed.table) for layer in ("bronze", "silver")} <= made, feed.name
        rows = lake.scan(f"silver.{feed.table}", market=feed.market.name).collect()
        assert rows.height > 0, feed.name
