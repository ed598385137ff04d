"""Arguments of reads: forms of a time, relative ranges, patterns of symbols, limits, and the form of the result."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import crypto_lakehouse
from crypto_lakehouse import Lakehouse, LakeWarning
from crypto_lakehouse.catalog import MARKETS
from crypto_lakehouse.lake.reader.symbols import SymbolChoice
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.universe import instruments, numbered_runs
from crypto_lakehouse_tests.commands import parsed, recommended
from crypto_lakehouse_tests.unit.small_lake import DAYS, day_of_bars, part_path, put

pytestmark = pytest.mark.requirement("F6.1", "F6.2")

TABLE = "gold.bars_1h"
COINS = ["BTCDOMUSDT", "BTCUSDC", "BTCUSDT", "ETHUSDT"]


@pytest.fixture
def coins(tmp_path: Path) -> Lakehouse:
    """A lake of one day with several symbols."""
    put(day_of_bars(DAYS[0], COINS), part_path(tmp_path, "um", f"{DAYS[0]}"))
    return Lakehouse(tmp_path)


@pytest.mark.parametrize(
    ("start", "hours"),
    [
        (np.datetime64("2024-01-03T22"), 2),
        (np.datetime64("2024-01-03T22:00:00.000000001", "ns"), 1),
        (pd.Timestamp("2024-01-03 22:00", tz="Asia/Seoul"), 11),
        (pd.Timestamp("2024-01-03 22:00:00.000000001"), 1),
        (pd.Timestamp("2024-01-03 22:00").to_pydatetime(), 2),
        ("2024-01", 72),
        ("2024-01-03", 24),
    ],
)
def test_a_start_in_any_form(lake: Lakehouse, start: object, hours: int) -> None:
    assert len(lake.read(TABLE, market="um", symbols="BTCUSDT", start=start)) == hours


def test_a_month_is_its_first_instant(lake: Lakehouse) -> None:
    with pytest.warns(LakeWarning, match="rows of 2024-01-04 to 2024-01-31 are missing"):
        assert len(lake.read(TABLE, market="um", symbols="BTCUSDT", start="2024-01", end="2024-02")) == 72
    with pytest.warns(LakeWarning, match="partitions from 2024-01-01 to 2024-01-03, and no rows before 2024-01-01"):
        assert lake.read(TABLE, market="um", end="2024-01").empty


@pytest.mark.parametrize(
    ("last", "hours"),
    [("1d", 24), ("36h", 36), ("120m", 2), ("3d", 72), (timedelta(hours=5), 5), (np.timedelta64(5, "h"), 5)],
)
def test_last_ends_with_the_newest_partition(lake: Lakehouse, last: object, hours: int) -> None:
    for ask in (lake.read, lambda *a, **b: lake.scan(*a, **b).collect().to_pandas()):
        rows = ask(TABLE, market="um", symbols="BTCUSDT", last=last)
        assert len(rows) == hours
        assert rows["open_time"].max() == pd.Timestamp("2024-01-03 23:00", tz="UTC")


def test_last_ends_at_end(lake: Lakehouse) -> None:
    rows = lake.read(TABLE, market="um", symbols="BTCUSDT", last="3h", end="2024-01-02T12:00", index="open_time")
    assert list(rows.index.hour) == [9, 10, 11]


def test_last_of_several_markets_is_one_range(lake: Lakehouse) -> None:
    # On spot the newest partition is two days older.
    assert lake.read(TABLE, last="1d", format="polars")["market"].unique().to_list() == ["um"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"last": "30"}, "last '30' is not a length such as 30d"),
        ({"last": "1y"}, "last '1y' is not a length such as 30d"),
        ({"last": "0d"}, "not a length"),
        ({"last": timedelta(0)}, "last must be a length"),
        ({"last": 30}, "last must be a length such as '30d'"),
        ({"last": "1d", "start": "2024-01-01"}, "start and last both say where the range starts"),
        ({"start": "30d"}, "start '30d' is not an ISO 8601 time .*; for the newest rows pass last='30d'"),
        ({"start": "2024-13"}, "start '2024-13' is not an ISO 8601 time"),
        ({"end": np.datetime64("NaT")}, "end is NaT, which is not a time"),
        ({"limit": -1}, "limit must be a number of rows"),
        ({"limit": 1.5}, "limit must be a number of rows"),
        ({"limit": True}, "limit must be a number of rows"),
        ({"symbols": ["BTC*", "E?H"]}, "'E[?]H' is not a symbol"),
        ({"symbols": "BTC/USDT"}, r"'BTC/USDT' is not a symbol: .*; did you mean BTCUSDT\?"),
        ({"symbols": ["BTC/USDT:USDT"]}, r"did you mean BTCUSDT\?"),
        ({"start": 1704067200000}, r"not 1704067200000; .*pandas.to_datetime\(count, unit='ms'\)"),
        ({"symbols": ""}, "symbols must be text such as 'BTCUSDT', not ''"),
        ({"market": []}, "market is an empty list"),
    ],
)
def test_mistakes_are_explained(lake: Lakehouse, arguments: dict[str, object], says: str) -> None:
    for ask in (lake.read, lake.scan):
        with pytest.raises(ValueError, match=says):
            ask(TABLE, **arguments)


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [
        ("BTC*,!BTCDOMUSDT", ["BTCUSDC", "BTCUSDT"]),
        (["BTC*", "!BTCDOMUSDT", "ETHUSDT"], ["BTCUSDC", "BTCUSDT", "ETHUSDT"]),
        ("*USDT", ["BTCDOMUSDT", "BTCUSDT", "ETHUSDT"]),
        ("!BTC*", ["ETHUSDT"]),
        ("!ETHUSDT,!*USDC", ["BTCDOMUSDT", "BTCUSDT"]),
        ("B*U*T", ["BTCDOMUSDT", "BTCUSDT"]),
        ("BTCUSDT,ETHUSDT", ["BTCUSDT", "ETHUSDT"]),
        ("*", COINS),
    ],
)
def test_symbols_take_patterns_and_exclusions(coins: Lakehouse, symbols: object, expected: list[str]) -> None:
    assert sorted(coins.read(TABLE, symbols=symbols)["symbol"].unique()) == expected
    assert sorted(coins.scan(TABLE, symbols=symbols).collect()["symbol"].unique()) == expected
    choice = SymbolChoice.parse(symbols)
    assert choice is not None
    assert choice.select(COINS) == expected


def test_an_empty_list_selects_no_symbol_and_says_so(coins: Lakehouse) -> None:
    for ask in (coins.read, coins.scan, coins.record_batches, coins.iter_days):
        with pytest.warns(LakeWarning, match="symbols is an empty list, so the result has no rows") as caught:
            rows = ask(TABLE, symbols=[], market="um")
        assert len(caught) == 1
        assert ask is not coins.read or rows.empty


def test_a_pattern_that_matches_nothing_is_named(coins: Lakehouse) -> None:
    with pytest.warns(LakeWarning, match=r"no rows in this range for: DOGE\*, ETHUSDC \(did you mean ETHUSDT"):
        coins.read(TABLE, symbols="BTC*,DOGE*,ETHUSDC")


def test_the_limit_gives_the_first_rows(lake: Lakehouse) -> None:
    rows = lake.read(TABLE, market="um", symbols="BTCUSDT", limit=3)
    assert list(rows["open_time"].dt.hour) == [0, 1, 2]
    assert lake.scan(TABLE, market="um", limit=3).collect().height == 3
    assert len(lake.read(TABLE, market="um", limit=np.int64(500))) == 144
    # Its symbols are not all in the first rows, and that is no mistake.
    assert len(lake.read(TABLE, market="um", symbols=["BTCUSDT", "NOSUCHCOIN"], limit=2)) == 2


def test_an_index_and_nanoseconds_for_pandas(lake: Lakehouse) -> None:
    rows = lake.read(TABLE, market="um", symbols="BTCUSDT", columns=["close"], index="open_time", time_unit="ns")
    assert rows.index.name == "open_time"
    assert rows.index.dtype == "datetime64[ns, UTC]"
    assert list(rows.columns) == ["close"]
    both = lake.read(TABLE, market="um", index=["symbol", "open_time"])
    assert both.index.names == ["symbol", "open_time"]
    assert "open_time" not in both.columns
    times = lake.read(TABLE, market="um", time_unit="ns", format="polars").schema["open_time"]
    assert times == pl.Datetime("ns", "UTC")


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"index": "opentime"}, KeyError, r"no column 'opentime'; did you mean open_time\?"),
        ({"index": "open_time", "format": "polars"}, ValueError, "only pandas has an index"),
        ({"time_unit": "ms"}, ValueError, "time_unit 'ms' is not one of us, ns"),
    ],
)
def test_a_form_that_does_not_exist_is_explained(
    lake: Lakehouse, arguments: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        lake.read(TABLE, market="um", **arguments)


EMPTY: dict[str, tuple[Callable[[Lakehouse], object], str]] = {
    "never built": (
        lambda lake: lake.read("silver.trades", market="um", start="2024-01-01", end="2024-01-03"),
        "has no partitions. Build them with: .*crypto-lakehouse backfill --market um --table trades --from 2024-01-01",
    ),
    "klines of an interval": (
        lambda lake: lake.klines("BTCUSDT", "1h", market="um", start="2024-01-01", end="2024-01-03"),
        r"has no partitions\. Build them with: .*LAKEHOUSE_TABLES=klines_1m,funding_rates,klines_1h crypto-lakehouse ",
    ),
    "before": (
        lambda lake: lake.read(TABLE, market="um", start="2023-12-01", end="2023-12-03"),
        "from 2024-01-01 to 2024-01-03, and no rows from 2023-12-01 and before 2023-12-03. Build them with: ",
    ),
    "nothing between": (
        lambda lake: lake.read(TABLE, market="um", start="2024-01-02", end="2024-01-02"),
        "the range is empty: start and end are both 2024-01-02, and end is exclusive",
    ),
    "not listed then": (
        lambda lake: lake.read(TABLE, market="um", symbols="GONEUSDT", start="2024-01-01"),
        r"GONEUSDT \(not listed then: it was listed from 2022-01-01 to 2023-05-01\)",
    ),
    "listed later": (
        lambda lake: lake.read(TABLE, market="um", symbols="NEWUSDT", end="2024-01-03"),
        r"NEWUSDT \(not listed then: it was listed from 2024-01-03\)",
    ),
    "not chosen": (
        lambda lake: lake.read(TABLE, market="um", symbols="SOLUSDT"),
        r"SOLUSDT \(listed from 2023-01-01; if the partitions were built for other symbols, add it with: .*crypto-"
        r"lakehouse backfill --market um --table klines_1m --from 2023-01-01 --to 2024-01-03 --symbols SOLUSDT",
    ),
}


@pytest.mark.parametrize("case", EMPTY)
def test_an_empty_answer_says_why(lake: Lakehouse, root: Path, case: str) -> None:
    listed = {
        "BTCUSDT": [(date(2020, 1, 1), date(2024, 1, 4))],
        "SOLUSDT": [(date(2023, 1, 1), date(2024, 1, 4))],
        "GONEUSDT": [(date(2022, 1, 1), date(2023, 5, 1))],
        "NEWUSDT": [(date(2024, 1, 3), date(2024, 1, 4))],
    }
    market, newest = MARKETS["binance", "um"], TableSlice("gold", "binance", "um", "instruments")
    rows = instruments(market, numbered_runs(market, listed), date(2024, 1, 4))
    write_partition(LakeStore.open(str(root)), newest.partition("2024-01-04"), rows)
    ask, says = EMPTY[case]
    with pytest.warns(LakeWarning, match=says) as caught:
        assert len(ask(lake)) == 0
    assert len(caught) == 1
    assert Path(caught[0].filename) == Path(__file__)
    for command in recommended(str(caught[0].message)):
        assert parsed(command)["market"] == "um"


def test_a_range_after_the_end_of_a_feed_needs_no_command(tmp_path: Path) -> None:
    empty = pl.DataFrame(schema_of("silver", "book_ticker").arrow.empty_table())
    put(empty, part_path(tmp_path, "um", "2024-03-30", "silver/book_ticker"))
    with pytest.warns(LakeWarning, match="The archive has no such files after 2024-03-30$"):
        Lakehouse(tmp_path).read("silver.book_ticker", market="um", start="2024-06-01")


def test_exceptions_are_public_and_warnings_can_be_silenced(lake: Lakehouse) -> None:
    for name in crypto_lakehouse.__all__:
        assert isinstance(getattr(crypto_lakehouse, name), type)
        assert name in dir(crypto_lakehouse)
    for name in ("MissingLakeError", "MissingPartition", "DamagedFile", "FilesChanged", "QueryLimit"):
        assert issubclass(getattr(crypto_lakehouse, name), crypto_lakehouse.LakeError)
    with pytest.raises(AttributeError, match="NoSuchError"):
        crypto_lakehouse.NoSuchError  # noqa: B018
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore", LakeWarning)
        assert lake.read("silver.trades", market="um", start=datetime(2024, 1, 1)).empty
    assert caught == []
