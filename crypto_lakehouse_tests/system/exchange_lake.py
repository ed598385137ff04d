"""A lake of spot, um and cm, built from a sample archive by real runs. Nothing here asserts."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.runs import run, settings

TABLES = (
    *("klines_1m", "agg_trades", "funding_rates", "open_interest"),
    *("mark_klines_1m", "index_klines_1m", "premium_klines_1m"),
)
FIRST, LAST = "2024-12-30", "2025-01-01"


def build_exchange_lake(folder: Path) -> Path:
    """Write an archive of two symbols and three days to ``folder/archive``, and the lake to ``folder/lake``."""
    markets = ("spot", "um", "cm")
    make_sample(
        folder / "archive",
        symbols=2,
        days=3,
        start=date.fromisoformat(FIRST),
        tables=TABLES,
        markets=markets,
        trades_per_day=10080,
    )
    with ArchiveServer(folder / "archive") as server:
        environment = settings(server, folder / "lake", tables=",".join(TABLES), bars="1h,1d")
        for market in ("um", "cm"):
            assert run(environment, market, "2024-12", "2025-01", cadence="monthly").success
        for market in markets:
            assert run(environment, market, FIRST, LAST).success
    return folder / "lake"
