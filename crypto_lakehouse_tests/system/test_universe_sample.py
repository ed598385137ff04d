"""The universe on given dates, with the late-listed, delisted, relisted, renamed and settled symbols of the sample."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import dagster as dg
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.definitions import build_defs
from crypto_lakehouse.orchestration.launch import plan
from crypto_lakehouse.orchestration.runs import run_chunks
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.runs import settings

START, NEWEST = date(2024, 12, 1), date(2024, 12, 14)
Universe = Callable[[str, str], set[str]]

pytestmark = pytest.mark.requirement("F4.7", "F6.7")


@pytest.fixture(scope="module")
def universe(tmp_path_factory: pytest.TempPathFactory) -> Universe:
    """Symbols by market and date, from the newest partition of instruments alone; ids without exchange and market."""
    folder = tmp_path_factory.mktemp("universe")
    make_sample(folder / "archive", symbols=6, days=14, start=START, tables=("klines_1m",), specials=True)
    with ArchiveServer(folder / "archive") as server, dg.DagsterInstance.ephemeral() as instance:
        environment = settings(server, folder / "lake")
        for market in ("spot", "um"):
            wish = plan("binance", market, "instruments", NEWEST, NEWEST, environment, date(2025, 1, 1))
            (outcome,) = run_chunks(wish, [wish.keys], build_defs(environment), instance, symbols="")
            assert not outcome.error
    lake = Lakehouse(folder / "lake")

    def on(market: str, day: str) -> set[str]:
        rows = lake.universe(market, on=day, leveraged=True, settled=True, format="polars")
        return {name.split(":", 2)[2] for name in rows["instrument_id"]}

    return on


def test_late_listed_and_delisted_symbols_are_in_the_universe_on_their_days(universe: Universe) -> None:
    # Of the coins, SOL is listed on the fourth day, and XRP has files of six days.
    assert [day for day in ("2024-12-03", "2024-12-04", "2024-12-14") if "SOLUSDT" in universe("um", day)] == [
        "2024-12-04",
        "2024-12-14",
    ]
    assert "XRPUSDT" in universe("um", "2024-12-06")
    assert "XRPUSDT" not in universe("um", "2024-12-07")


def test_a_relisted_symbol_is_another_instrument(universe: Universe) -> None:
    assert "LUNAUSDT" in universe("spot", "2024-12-03")
    assert not {"LUNAUSDT", "LUNAUSDT:2"} & universe("spot", "2024-12-08")
    assert {"LUNAUSDT", "LUNAUSDT:2"} & universe("spot", "2024-12-11") == {"LUNAUSDT:2"}


def test_a_renamed_symbol_continues_under_the_new_name(universe: Universe) -> None:
    names = {"NANOUSDT", "XNOUSDT"}
    assert [universe("spot", day) & names for day in ("2024-12-02", "2024-12-03")] == [{"NANOUSDT"}, {"XNOUSDT"}]


def test_settled_symbols_are_in_the_universe_until_they_end(universe: Universe) -> None:
    settled = {"ICPUSDT_SETTLED", "BNXUSDTSETTLED"}
    assert settled <= universe("um", "2024-12-02")
    assert not settled & universe("um", "2024-12-03")
