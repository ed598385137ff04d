"""Instruments through real runs over a served archive: one listing, all symbols, and the universe of any date."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from aiohttp import web

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.definitions import build_defs
from crypto_lakehouse.orchestration.launch import chunks, plan
from crypto_lakehouse.orchestration.partitions import PARTITIONS_PER_RUN
from crypto_lakehouse.orchestration.runs import run_chunks
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse.settings import Settings
from crypto_lakehouse_tests.orchestration.conftest import Platform

pytestmark = pytest.mark.requirement("F4.7")

JOB = "update_binance_um_daily"
TODAY = date(2024, 1, 1)
SPOT = {
    "BTCUSDT": [("2022-05-10", "2022-06-02")],
    "LUNAUSDT": [("2022-05-10", "2022-05-13"), ("2022-05-31", "2022-06-02")],
    "NANOUSDT": [("2022-05-10", "2022-05-20")],
    "XNOUSDT": [("2022-05-22", "2022-06-02")],
    "BTCUPUSDT": [("2022-05-10", "2022-06-02")],
    "JUPUSDT": [("2022-06-01", "2022-06-02")],
    "USDCUSDT": [("2022-05-10", "2022-06-02")],
    "GONEBTC": [("2022-05-10", "2022-05-11")],
}
UM = {
    "BTCUSDT": [("2022-05-10", "2022-06-02")],
    "BTCUSDT_220527": [("2022-05-10", "2022-05-27")],
    "ICPUSDT": [("2022-05-10", "2022-05-15"), ("2022-05-30", "2022-06-02")],
    "ICPUSDT_SETTLED": [("2022-05-10", "2022-05-16")],
    "BNXUSDTSETTLED": [("2022-05-10", "2022-05-12")],
}


class ListingServer(ArchiveServer):
    """An archive server that counts the listings of symbols, and refuses all while it is ``away``."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.folders = 0
        self.away = False

    def _app(self) -> web.Application:
        app = super()._app()

        @web.middleware
        async def watch(request: web.Request, handler: object) -> web.StreamResponse:
            self.folders += request.query.get("delimiter") == "/"
            if self.away:
                await asyncio.sleep(0)
                return web.Response(status=403)
            return await handler(request)  # type: ignore[operator, no-any-return]

        app.middlewares.append(watch)
        return app


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of names alone: the listing is all that instruments need."""
    folder = tmp_path_factory.mktemp("names")
    for path, listed in (("spot", SPOT), ("futures/um", UM)):
        for symbol, spans in listed.items():
            for first, last in spans:
                day = date.fromisoformat(first)
                while day <= date.fromisoformat(last):
                    place = folder / f"data/{path}/daily/klines/{symbol}/1m"
                    place.mkdir(parents=True, exist_ok=True)
                    (place / f"{symbol}-1m-{day}.zip").touch()
                    day += timedelta(days=1)
    return folder


@pytest.fixture
def platform(archive: Path, tmp_path: Path) -> Iterator[tuple[Platform, ListingServer]]:
    with ListingServer(archive) as server:
        yield Platform(tmp_path / "lake", archive, server.url, server.listing_url), server


def backfill(platform: Platform, market: str, first: str, last: str) -> list[str]:
    """What ``backfill --table instruments`` does; errors of the runs."""
    settings = Settings.load(
        env="test",
        lake_uri=str(platform.lake),
        archive_url=platform.url,
        archive_listing_url=platform.listing_url,
        symbols="BTCUSDT",
        retries=1,
    )
    days = (date.fromisoformat(first), date.fromisoformat(last))
    wish = plan("binance", market, "instruments", *days, settings, TODAY)
    assert [key.path for key in wish.assets] == [["gold", "binance", market, "instruments"]]
    spans = chunks(wish.keys, wish.cadence, PARTITIONS_PER_RUN)
    return [o.error for o in run_chunks(wish, spans, build_defs(settings), platform.instance, "") if o.error]


def names(lake: Lakehouse, market: str, on: str, **where: object) -> list[str]:
    rows = lake.universe(market, on=on, format="polars", **where)  # type: ignore[arg-type]
    assert isinstance(rows, pl.DataFrame)
    return [name.removeprefix(f"binance:{market}:") for name in rows["instrument_id"]]


@pytest.mark.requirement("F6.7")
def test_the_universe_on_given_dates(platform: tuple[Platform, ListingServer]) -> None:
    made, server = platform
    assert backfill(made, "spot", "2022-06-02", "2022-06-02") == []
    assert backfill(made, "um", "2022-06-02", "2022-06-02") == []
    assert server.folders == 2
    assert sorted(path.name for path in made.lake.iterdir()) == ["gold"]
    lake = Lakehouse(made.lake)
    always = ["BTCUSDT", "USDCUSDT"]
    assert names(lake, "spot", "2022-05-11") == sorted([*always, "GONEBTC", "LUNAUSDT", "NANOUSDT"])
    assert names(lake, "spot", "2022-05-21") == always
    assert names(lake, "spot", "2022-05-31") == ["BTCUSDT", "LUNAUSDT:2", "USDCUSDT", "XNOUSDT"]
    newest = names(lake, "spot", "2022-06-02", quote="USDT", stable_pairs=False, leveraged=True)
    assert newest == ["BTCUPUSDT", "BTCUSDT", "JUPUSDT", "LUNAUSDT:2", "XNOUSDT"]
    both = ["BNXUSDTSETTLED", "BTCUSDT", "BTCUSDT_220527", "ICPUSDT", "ICPUSDT_SETTLED"]
    assert names(lake, "um", "2022-05-12", settled=True) == both
    with pytest.warns(UserWarning, match="later names as settled contracts: BNXUSDTSETTLED"):
        assert names(lake, "um", "2022-05-12", contract_type="perpetual") == ["BTCUSDT", "ICPUSDT"]
    assert names(lake, "um", "2022-05-30") == ["BTCUSDT", "ICPUSDT:2"]


@pytest.mark.requirement("D10", "D6")
def test_a_range_is_one_listing_and_equals_single_days(
    platform: tuple[Platform, ListingServer], tmp_path: Path
) -> None:
    made, server = platform
    assert backfill(made, "spot", "2022-05-10", "2022-06-02") == []
    assert server.folders == 1
    parts = {p.relative_to(made.lake): p.read_bytes() for p in made.lake.rglob("*.parquet")}
    assert len(parts) == 24
    shutil.rmtree(made.lake)
    for day in ("2022-06-02", "2022-05-21", "2022-05-10"):
        assert backfill(made, "spot", day, day) == []
    alone = {p.relative_to(made.lake): p.read_bytes() for p in made.lake.rglob("*.parquet")}
    assert len(alone) == 3
    assert alone.items() <= parts.items()


def test_what_a_partition_records(platform: tuple[Platform, ListingServer]) -> None:
    made, _ = platform
    assert backfill(made, "spot", "2022-06-01", "2022-06-02") == []
    key = dg.AssetKey(["gold", "binance", "spot", "instruments"])
    assert made.instance.get_materialized_partitions(key) == {"2022-06-01", "2022-06-02"}
    event = made.instance.get_latest_materialization_event(key)
    assert event is not None
    assert event.asset_materialization is not None
    values = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    # Nine instruments: LUNAUSDT twice; listed are all but its first listing, NANOUSDT and GONEBTC.
    assert values["dagster/partition_row_count"] == 9
    assert (values["listed_instruments"], values["relistings"], values["renamed"]) == (6, 1, 1)
    assert values["contract_types"] == {"spot": 9}
    assert "| binance:spot:JUPUSDT | JUP | USDT | spot | 2022-06-01 | 2022-06-02 |" in str(values["preview"])


def test_checks_of_the_table_pass_in_the_markets_job(empty: Platform) -> None:
    result = empty.run(JOB, "2025-01-01", "2025-01-01", symbols="BTCUSDT")
    assert result.success
    checks = {
        c.check_name: c.passed for c in result.get_asset_check_evaluations() if c.asset_key.path[3] == "instruments"
    }
    assert checks == {"schema": True, "primary_key": True}
    rows = Lakehouse(empty.lake).read("gold.instruments", market="um", format="polars")
    assert isinstance(rows, pl.DataFrame)
    # All symbols of the archive, whatever the settings choose.
    assert rows.height == 2


def test_an_archive_that_cannot_be_listed_or_lists_nothing_is_a_failure(
    platform: tuple[Platform, ListingServer], tmp_path: Path
) -> None:
    made, server = platform
    server.away = True
    (error,) = backfill(made, "spot", "2022-06-02", "2022-06-02")
    assert "instruments of binance/spot: cannot list data/spot/daily/klines/" in error
    assert "HTTP 403" in error
    server.away = False
    (error,) = backfill(made, "cm", "2022-06-02", "2022-06-02")
    assert "the archive lists no symbol for binance/cm/klines_1m: check LAKEHOUSE_ARCHIVE_LISTING_URL" in error
    assert not made.lake.exists() or not list(made.lake.rglob("*.parquet"))


def test_a_plan_needs_klines_in_the_settings() -> None:
    def planned(tables: str, market: str = "um") -> str:
        day = date(2022, 6, 2)
        return plan("binance", market, "instruments", day, day, Settings.load(env="test", tables=tables), TODAY).name

    assert planned("klines_1h") == "binance/um/instruments"
    with pytest.raises(ValueError, match="add klines_1m to LAKEHOUSE_TABLES"):
        planned("funding_rates")
    with pytest.raises(ValueError, match="no table 'instruments' in binance/option"):
        planned("klines_1m", market="option")


def test_a_backfill_of_klines_does_not_list_the_whole_market() -> None:
    day = date(2025, 1, 1)
    wish = plan("binance", "um", "klines_1m", day, day, Settings.load(env="test"), date(2025, 2, 1))
    assert "instruments" not in {key.path[3] for key in wish.assets}
