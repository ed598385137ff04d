"""Instruments as known on a day, by hand and for any listing; the reader's universe and its errors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_lakehouse import Lakehouse, LakeWarning
from crypto_lakehouse.catalog import MARKETS, Market
from crypto_lakehouse.catalog.binance import CM, SPOT, UM
from crypto_lakehouse.catalog.listings import RELIST_HOLE_DAYS, RELISTINGS, RENAMES
from crypto_lakehouse.lake.storage.partitions import MissingPartition, write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.instruments import INSTRUMENTS
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.universe import Run, instruments, known_on, numbered_runs, runs_of

pytestmark = pytest.mark.requirement("F4.7")


def day(text: str) -> date:
    return date.fromisoformat(text)


def runs(*spans: tuple[str, str]) -> list[Run]:
    return [(day(first), day(last)) for first, last in spans]


def rows_on(market: Market, listed: Mapping[str, Sequence[Run]], on: str) -> pl.DataFrame:
    return instruments(market, numbered_runs(market, listed), day(on))


def spans(rows: pl.DataFrame) -> list[tuple[str, str, str]]:
    """Identity, first and last day of each row, in order."""
    return [(row["instrument_id"], str(row["first_day"]), str(row["last_day"])) for row in rows.iter_rows(named=True)]


LISTED_SPOT = {
    "BTCUSDT": runs(("2017-08-17", "2024-12-31")),
    # Relisted after 17 days without a file, 14 to 30 May 2022.
    "LUNAUSDT": runs(("2020-08-21", "2022-05-13"), ("2022-05-31", "2024-12-31")),
    # Four days without one: not a week, but known as a swap of the coin.
    "BTCSTUSDT": runs(("2021-01-13", "2021-03-15"), ("2021-03-19", "2022-01-01")),
    "NANOUSDT": runs(("2018-02-01", "2022-01-24")),
    "XNOUSDT": runs(("2022-01-28", "2024-12-31")),
    "LATEUSDT": runs(("2024-01-01", "2024-12-31")),
    "GONEUSDT": runs(("2019-01-01", "2020-06-30")),
}


def test_one_row_per_listing_and_nothing_of_later_days() -> None:
    assert spans(rows_on(SPOT, LISTED_SPOT, "2022-01-25")) == [
        ("binance:spot:BTCSTUSDT", "2021-01-13", "2021-03-15"),
        ("binance:spot:BTCSTUSDT:2", "2021-03-19", "2022-01-01"),
        ("binance:spot:BTCUSDT", "2017-08-17", "2022-01-25"),
        ("binance:spot:GONEUSDT", "2019-01-01", "2020-06-30"),
        ("binance:spot:LUNAUSDT", "2020-08-21", "2022-01-25"),
        ("binance:spot:NANOUSDT", "2018-02-01", "2022-01-24"),
    ]
    later = rows_on(SPOT, LISTED_SPOT, "2022-05-31")
    assert spans(later.filter(symbol="LUNAUSDT")) == [
        ("binance:spot:LUNAUSDT", "2020-08-21", "2022-05-13"),
        ("binance:spot:LUNAUSDT:2", "2022-05-31", "2022-05-31"),
    ]
    assert later["listing"].to_list() == [1, 2, 1, 1, 1, 2, 1, 1]


def test_a_rename_is_known_once_the_new_name_is_listed() -> None:
    def names(on: str) -> list[tuple[str, str | None, str | None]]:
        rows = rows_on(SPOT, LISTED_SPOT, on).filter(pl.col("symbol").is_in(["NANOUSDT", "XNOUSDT"]))
        return rows.select("symbol", "renamed_from", "renamed_to").rows()

    assert names("2022-01-27") == [("NANOUSDT", None, None)]
    assert names("2022-01-28") == [("NANOUSDT", None, "XNOUSDT"), ("XNOUSDT", "NANOUSDT", None)]


def test_a_name_used_again_after_a_rename_is_not_the_renamed_one() -> None:
    again = {**LISTED_SPOT, "NANOUSDT": runs(("2018-02-01", "2022-01-24"), ("2023-01-01", "2023-06-30"))}
    rows = rows_on(SPOT, again, "2024-01-01").filter(symbol="NANOUSDT")
    assert rows.select("listing", "renamed_to").rows() == [(1, "XNOUSDT"), (2, None)]
    # Known on spot only.
    assert rows_on(UM, LISTED_SPOT, "2024-01-01")["renamed_to"].count() == 0


@pytest.mark.parametrize(("hole", "listings"), [(1, 1), (RELIST_HOLE_DAYS - 1, 1), (RELIST_HOLE_DAYS, 2)])
def test_a_week_without_a_file_starts_another_listing(hole: int, listings: int) -> None:
    end = day("2024-03-01")
    begin = end + timedelta(days=hole + 1)
    rows = rows_on(SPOT, {"ABCUSDT": [(day("2024-02-01"), end), (begin, begin)]}, "2024-04-01")
    assert rows.height == listings
    assert rows["last_day"][-1] == begin


def test_a_known_relisting_cuts_days_without_a_hole_and_counts_once() -> None:
    whole = {"LUNABTC": runs(("2022-05-01", "2022-06-30")), "LUNABUSD": runs(("2022-06-01", "2022-06-30"))}
    assert spans(rows_on(SPOT, whole, "2022-07-31")) == [
        ("binance:spot:LUNABTC", "2022-05-01", "2022-05-30"),
        ("binance:spot:LUNABTC:2", "2022-05-31", "2022-06-30"),
        ("binance:spot:LUNABUSD", "2022-06-01", "2022-06-30"),
    ]


def test_a_settled_contract_is_an_instrument_of_its_own() -> None:
    listed = {
        "ICPUSDT": runs(("2021-05-10", "2022-06-10"), ("2022-09-27", "2022-12-31")),
        "ICPUSDT_SETTLED": runs(("2022-01-01", "2022-09-30")),
        "BTCUSDT_210326": runs(("2020-12-25", "2021-03-26")),
    }
    rows = rows_on(UM, listed, "2022-12-31")
    assert spans(rows) == [
        ("binance:um:BTCUSDT_210326", "2020-12-25", "2021-03-26"),
        ("binance:um:ICPUSDT", "2021-05-10", "2022-06-10"),
        ("binance:um:ICPUSDT:2", "2022-09-27", "2022-12-31"),
        # Its days across the relisting of the plain name are not cut.
        ("binance:um:ICPUSDT_SETTLED", "2022-01-01", "2022-09-30"),
    ]
    assert rows["settled_of"].to_list() == [None, None, None, "ICPUSDT"]
    assert rows["is_settled"].to_list() == [False, False, False, True]
    assert rows["delivery_date"].to_list() == [day("2021-03-26"), None, None, None]
    assert rows["contract_type"].to_list() == ["delivery", "perpetual", "perpetual", "perpetual"]


def test_facts_of_names_are_in_the_rows() -> None:
    listed = dict.fromkeys(["BTCUSD_PERP", "ADAUSD_240927"], runs(("2024-01-01", "2024-01-02")))
    columns = ("symbol", "base_asset", "quote_asset", "contract_size")
    rows = rows_on(CM, listed, "2024-01-01").select(columns).rows()
    assert rows == [("ADAUSD_240927", "ADA", "USD", 10.0), ("BTCUSD_PERP", "BTC", "USD", 100.0)]
    spot = rows_on(SPOT, dict.fromkeys(["BTCUPUSDT", "USDCUSDT", "XYZ"], listed["BTCUSD_PERP"]), "2024-01-01")
    flags = spot.select("symbol", "quote_asset", "is_leveraged", "is_stable_pair", "contract_size").rows()
    assert flags == [
        ("BTCUPUSDT", "USDT", True, False, None),
        ("USDCUSDT", "USDT", False, True, None),
        ("XYZ", None, False, False, None),
    ]


def test_nothing_listed_gives_no_rows_of_the_right_types() -> None:
    for rows in (rows_on(SPOT, LISTED_SPOT, "2017-08-16"), rows_on(SPOT, {}, "2024-01-01")):
        assert rows.height == 0
        assert rows.schema == pl.DataFrame(INSTRUMENTS.arrow.empty_table()).schema


def test_known_facts_are_of_markets_and_in_order() -> None:
    assert all((known.exchange, known.market) in MARKETS for known in (*RELISTINGS, *RENAMES))
    assert all(known.last_day < known.first_day and known.source for known in RELISTINGS)
    assert ("spot", "LUNA", day("2022-05-31")) in {(r.market, r.base_asset, r.first_day) for r in RELISTINGS}


FIRST = day("2022-01-20")
DAYS = st.sets(st.integers(0, 30)).map(lambda found: [FIRST + timedelta(days=n) for n in sorted(found)])
LISTINGS = st.dictionaries(st.sampled_from(["NANOUSDT", "XNOUSDT", "BTCUSDT", "LUNAUSDT", "BNXUSDT"]), DAYS)


@pytest.mark.requirement("D10")
@settings(deadline=None)
@given(LISTINGS, st.integers(0, 30), st.integers(0, 5))
def test_a_later_listing_changes_no_earlier_day(listed: dict[str, list[date]], at: int, more: int) -> None:
    on, later = FIRST + timedelta(days=at), FIRST + timedelta(days=at + more)
    cut = {symbol: runs_of(d for d in days if d <= on) for symbol, days in listed.items()}
    whole = numbered_runs(SPOT, {symbol: runs_of(days) for symbol, days in listed.items()})
    then = instruments(SPOT, numbered_runs(SPOT, cut), on)
    assert instruments(SPOT, whole, on).equals(then)
    # Each listed day is in exactly one listing, and a later partition also shows the listings of the day.
    for symbol, days in listed.items():
        mine = then.filter(symbol=symbol)
        for listed_day in (d for d in days if d <= on):
            assert mine.filter(pl.lit(listed_day).is_between("first_day", "last_day")).height == 1
    afterwards = known_on(instruments(SPOT, whole, later), on)
    there = then.filter(pl.col("last_day") == on)
    assert afterwards.filter(pl.col("instrument_id").is_in(there["instrument_id"].to_list())).equals(there)
    # It shows more only if a later file closed a hole of some days.
    holes = afterwards.filter(~pl.col("instrument_id").is_in(there["instrument_id"].to_list()))
    assert all(on not in listed[symbol] for symbol in holes["symbol"])


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lakehouse:
    """Spot and USD-M instruments of two days, of which the newest answers."""
    folder = tmp_path_factory.mktemp("lake")
    store = LakeStore.open(str(folder))
    flags = runs(("2021-01-01", "2024-12-31"))
    spot = {**LISTED_SPOT, **dict.fromkeys(["BTCUPUSDT", "JUPUSDT", "USDCUSDT", "ETHBTC"], flags)}
    um = {
        "BTCUSDT": flags,
        "BTCUSDT_210326": runs(("2020-12-25", "2021-03-26")),
        "ICPUSDT": runs(("2021-05-10", "2022-06-10"), ("2022-09-27", "2024-12-31")),
        "ICPUSDT_SETTLED": runs(("2022-01-01", "2022-09-30")),
    }
    for market, listed in ((SPOT, spot), (UM, um)):
        for key in ("2021-02-01", "2022-06-01"):
            rows = rows_on(market, listed, key)
            write_partition(store, TableSlice.of_market("gold", market, "instruments").partition(key), rows)
    return Lakehouse(folder)


def symbols(lake: Lakehouse, market: str, on: str, **where: Any) -> list[str]:
    rows = lake.universe(market, on=on, format="polars", **where)
    assert isinstance(rows, pl.DataFrame)
    return rows["symbol"].to_list()


@pytest.mark.requirement("F6.7")
def test_the_universe_of_a_day_has_what_is_delisted_and_not_what_comes_later(lake: Lakehouse) -> None:
    always = ["BTCUSDT", "ETHBTC", "JUPUSDT", "LUNAUSDT", "NANOUSDT", "USDCUSDT"]
    assert symbols(lake, "spot", "2021-06-01") == sorted([*always, "BTCSTUSDT"])
    assert symbols(lake, "spot", "2019-06-01") == ["BTCUSDT", "GONEUSDT", "NANOUSDT"]
    # Within the pause of LUNA; NANO has become XNO.
    assert symbols(lake, "spot", "2022-05-20") == ["BTCUSDT", "ETHBTC", "JUPUSDT", "USDCUSDT", "XNOUSDT"]
    with pytest.warns(LakeWarning, match=r"was listed on 2017-01-01: those .* start on 2017-08-17 or later"):
        assert symbols(lake, "spot", "2017-01-01") == []


@pytest.mark.requirement("F6.7")
def test_the_universe_has_no_facts_of_later_days(lake: Lakehouse) -> None:
    rows = lake.universe("spot", on="2022-01-24", format="polars")
    assert isinstance(rows, pl.DataFrame)
    assert rows.columns == INSTRUMENTS.column_names
    assert set(rows["last_day"]) == {day("2022-01-24")}
    assert rows["renamed_to"].null_count() == rows.height
    luna = lake.universe("spot", on="2022-05-31", format="polars")
    assert isinstance(luna, pl.DataFrame)
    assert luna.filter(symbol="LUNAUSDT")["instrument_id"].to_list() == ["binance:spot:LUNAUSDT:2"]


@pytest.mark.requirement("F6.7")
def test_the_universe_is_narrowed(lake: Lakehouse) -> None:
    assert symbols(lake, "spot", "2021-06-01", quote="BTC") == ["ETHBTC"]
    kept = symbols(lake, "spot", "2022-05-20", quote=["USDT"], stable_pairs=False, leveraged=True)
    assert kept == ["BTCUPUSDT", "BTCUSDT", "JUPUSDT", "XNOUSDT"]
    assert symbols(lake, "um", "2021-02-01", contract_type="delivery") == ["BTCUSDT_210326"]
    assert symbols(lake, "um", "2022-06-01", settled=True) == ["BTCUSDT", "ICPUSDT", "ICPUSDT_SETTLED"]


@pytest.mark.requirement("F6.7")
def test_names_given_at_settlement_are_only_returned_on_request(tmp_path: Path) -> None:
    listed = {
        "BTCUSDT": runs(("2021-01-01", "2024-12-31")),
        "BNXUSDTSETTLED": runs(("2022-01-01", "2022-03-31")),
        "ICPUSDT": runs(("2021-05-10", "2022-06-10")),
        "ICPUSDTSETTLED": runs(("2021-05-10", "2022-06-10")),
    }
    store = LakeStore.open(str(tmp_path))
    write_partition(
        store,
        TableSlice("gold", "binance", "um", "instruments").partition("2024-01-01"),
        rows_on(UM, listed, "2024-01-01"),
    )
    lake = Lakehouse(tmp_path)
    with warnings.catch_warnings(action="error"):
        assert symbols(lake, "um", "2022-05-01") == ["BTCUSDT", "ICPUSDT"]
        everything = ["BNXUSDTSETTLED", "BTCUSDT", "ICPUSDT", "ICPUSDTSETTLED"]
        assert symbols(lake, "um", "2022-03-31", settled=True) == everything
    with pytest.warns(LakeWarning, match=r"4 instruments .* on 2022-03-31, .* quote USDT and contract_type perpetual"):
        assert symbols(lake, "um", "2022-03-31", quote="BTC") == []
    # A contract that is only filed under its later name must not be missing silently: that is survivorship bias.
    with pytest.warns(UserWarning, match=r"on 2022-03-31.*: BNXUSDTSETTLED;.*settled=True"):
        assert symbols(lake, "um", "2022-03-31") == ["BTCUSDT", "ICPUSDT"]


@pytest.mark.requirement("F6.7", "D10")
def test_instruments_built_before_the_day_was_listed_are_not_used(tmp_path: Path) -> None:
    store, where = LakeStore.open(str(tmp_path)), TableSlice("gold", "binance", "um", "instruments")
    early = {"BTCUSDT": runs(("2024-03-01", "2024-03-04")), "GONEUSDT": runs(("2024-03-01", "2024-03-02"))}
    write_partition(store, where.partition("2024-03-05"), rows_on(UM, early, "2024-03-05"))
    lake = Lakehouse(tmp_path)
    assert symbols(lake, "um", "2024-03-04") == ["BTCUSDT"]
    with pytest.warns(LakeWarning, match="start on 2024-03-01 or later"):
        assert symbols(lake, "um", "2024-02-29") == []
    command = r"has no instruments for 2024-03-05 or later.*last day is 2024-03-04.*--from 2024-03-05 --to 2024-03-05"
    with pytest.raises(MissingPartition, match=command):
        lake.universe("um", on="2024-03-05")
    # The next day heals it, and so does the command.
    late = {"BTCUSDT": runs(("2024-03-01", "2024-03-06"))}
    write_partition(store, where.partition("2024-03-06"), rows_on(UM, late, "2024-03-06"))
    assert symbols(lake, "um", "2024-03-05") == ["BTCUSDT"]
    write_partition(store, where.partition("2024-03-07"), rows_on(UM, {}, "2024-03-07"))
    with pytest.raises(MissingPartition, match="it is empty"):
        lake.universe("um", on="2024-03-05")


@pytest.mark.requirement("F6.7")
def test_a_day_may_be_text_a_date_or_a_time_and_formats_are_those_of_read(lake: Lakehouse) -> None:
    frame = lake.universe("um", on=day("2021-02-01"))
    assert type(frame).__module__.startswith("pandas")
    assert frame.shape == (2, len(INSTRUMENTS.columns))
    assert lake.universe("um", on="2021-03-26T23:30:00-01:00", format="arrow").num_rows == 1
    partition = lake.read("gold.instruments", market="um", start="2021-02-01", end="2021-02-02", format="polars")
    assert isinstance(partition, pl.DataFrame)
    assert partition["symbol"].to_list() == ["BTCUSDT", "BTCUSDT_210326"]


@pytest.mark.requirement("F6.7")
def test_requests_without_an_answer_say_what_to_do(lake: Lakehouse) -> None:
    with pytest.raises(MissingPartition, match=r"newest is 2022-06-01.*--table instruments --from 2022-06-02"):
        lake.universe("um", on="2022-06-02")
    with pytest.raises(MissingPartition, match=r"binance/cm has no partition for 2022-06-01 or later \(it has none\)"):
        lake.universe("cm", on="2022-06-01")
    with pytest.raises(KeyError, match="no market 'umm'"):
        lake.universe("umm", on="2022-06-01")
    with pytest.raises(ValueError, match="'2022-6-1' is not an ISO 8601 time"):
        lake.universe("um", on="2022-6-1")
    with pytest.raises(ValueError, match="no pairs are quoted in USDX"):
        lake.universe("um", on="2022-06-01", quote="USDX")
    with pytest.raises(ValueError, match="no contract type 'future'; there are spot, perpetual, delivery"):
        lake.universe("um", on="2022-06-01", contract_type="future")


def test_a_lake_folder_has_the_partition(lake: Lakehouse) -> None:
    assert Path(lake.uri, "gold/instruments/exchange=binance/market=um/date=2022-06-01/part-0.parquet").is_file()
    count = lake.sql("SELECT count(*) AS n FROM gold.instruments WHERE market = 'um' AND date = '2022-06-01'")
    assert count["n"].to_list() == [4]


@pytest.mark.requirement("F6.7")
@pytest.mark.parametrize(
    "arguments", [{}, {"quote": "USDT", "stable_pairs": False}, {"leveraged": True, "settled": True}]
)
def test_a_range_is_the_days_one_by_one(lake: Lakehouse, arguments: dict[str, Any]) -> None:
    for market, start, end in (("spot", "2022-01-20", "2022-06-02"), ("um", "2021-03-20", "2021-04-01")):
        days = [day(start) + timedelta(days=n) for n in range((day(end) - day(start)).days)]
        whole = lake.universe(market, start=start, end=end, format="polars", **arguments)
        by_day = [lake.universe(market, on=each, format="polars", **arguments) for each in days]
        expected = [rows.select(pl.lit(each).alias("date"), pl.all()) for each, rows in zip(days, by_day, strict=True)]
        assert whole.equals(pl.concat(expected))


@pytest.mark.requirement("F6.7")
def test_a_range_may_be_open_or_relative_and_needs_no_day(lake: Lakehouse) -> None:
    newest = lake.universe("um", last="3d", format="polars")
    assert newest["date"].unique().sort().to_list() == [day("2022-05-30"), day("2022-05-31"), day("2022-06-01")]
    assert newest.equals(lake.universe("um", start="2022-05-30", format="polars"))
    with pytest.warns(LakeWarning, match="was listed on 2019-12-31: .* start on 2020-12-25 or later"):
        assert lake.universe("um", end="2020-01", format="polars").is_empty()
    with pytest.raises(ValueError, match="on must be a day such as 2024-01-31; for a range pass start, end or last"):
        lake.universe("um")
    with pytest.raises(ValueError, match="on is one day, and start, end and last are a range: pass one of them"):
        lake.universe("um", on="2022-05-30", last="3d")
    with pytest.raises(MissingPartition, match=r"newest is 2022-06-01.*--from 2022-06-04 --to 2022-06-04"):
        lake.universe("um", start="2022-05-30", end="2022-06-05")
    with pytest.raises(MissingPartition, match=r"no partition for 2022-07-01 or later"):
        lake.universe("um", start="2022-07")
