"""Bronze klines to silver: time units, each rule, duplicates and the volumes of the three markets."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from crypto_lakehouse.catalog import Feed, feed
from crypto_lakehouse.schemas import silver_schema
from crypto_lakehouse.transforms.parse import parse_csv
from crypto_lakehouse.transforms.silver.clean import Cleaned, epoch_to_time
from crypto_lakehouse.transforms.silver.klines import clean_klines

SPOT, UM, CM = (feed("binance", market, "klines_1m") for market in ("spot", "um", "cm"))
DAY = date(2020, 1, 1)
T0 = 1577836800000  # 2020-01-01 00:00 UTC, in ms: 18262 days * 86_400_000
MIDNIGHT = datetime(2020, 1, 1, tzinfo=UTC)
GOOD: dict[str, Any] = {
    "open_time": T0,
    "open": 10.0,
    "high": 12.0,
    "low": 9.0,
    "close": 11.0,
    "volume": 5.0,
    "close_time": T0 + 59_999,
    "quote_volume": 52.0,
    "count": 7,
    "taker_buy_volume": 2.0,
    "taker_buy_quote_volume": 21.0,
    "ignore": "0",
}


def bronze(*changes: dict[str, Any], of: Feed = SPOT, symbol: str = "BTCUSDT") -> pl.DataFrame:
    lines = (",".join(str({**GOOD, **change}[name]) for name in of.file_format.column_names) for change in changes)
    parsed = parse_csv("".join(f"{line}\n" for line in lines).encode(), of.file_format)
    assert not parsed.rejected
    return parsed.rows.with_columns(symbol=pl.lit(symbol), source_key=pl.lit("k"), source_sha256=pl.lit("s"))


def clean(frame: pl.DataFrame, of: Feed = SPOT) -> Cleaned:
    return clean_klines(frame, of, DAY, DAY + timedelta(days=1))


def minute(number: int, scale: int = 1) -> dict[str, Any]:
    opened = (T0 + number * 60_000) * scale
    return {"open_time": opened, "close_time": opened + 60_000 * scale - 1}


@pytest.mark.requirement("D1")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1577836800000, datetime(2020, 1, 1, tzinfo=UTC)),
        (1735689600000000, datetime(2025, 1, 1, tzinfo=UTC)),
        (1735689600000000000, datetime(2025, 1, 1, tzinfo=UTC)),
        (1735689600000001999, datetime(2025, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
        (10**12, datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)),
        (10**12 - 1, None),
        (10**13 - 1, datetime(2286, 11, 20, 17, 46, 39, 999000, tzinfo=UTC)),
        (10**13, None),
        (10**15 - 1, None),
        (10**15, datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)),
        (10**16, None),
        (10**18 - 1, None),
        (10**18, datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)),
        (2**63 - 1, datetime(2262, 4, 11, 23, 47, 16, 854775, tzinfo=UTC)),
        (1577836800, None),
        (0, None),
        (-1577836800000, None),
    ],
)
def test_the_size_of_a_time_decides_its_unit(value: int, expected: datetime | None) -> None:
    frame = pl.DataFrame({"t": [value]}).select(epoch_to_time("t"))
    assert frame.schema == {"t": pl.Datetime("us", "UTC")}
    assert frame.item() == expected


@pytest.mark.requirement("D1", "F3.2")
def test_mixed_units_in_one_file_give_the_same_instants() -> None:
    cleaned = clean(bronze(minute(0), minute(1, 1_000), minute(2, 1_000_000)))
    assert cleaned.rejected.is_empty()
    assert cleaned.rows["open_time"].to_list() == [MIDNIGHT + timedelta(minutes=n) for n in range(3)]
    # The archive's last instant: ...999 ms, ...999999 us; of ns the microsecond that holds it.
    ends = [timedelta(microseconds=1_000), timedelta(microseconds=1), timedelta(microseconds=1)]
    assert cleaned.rows["close_time"].to_list() == [
        MIDNIGHT + timedelta(minutes=n + 1) - end for n, end in enumerate(ends)
    ]


@pytest.mark.requirement("F3.2")
@pytest.mark.parametrize("offset", [1, 6_500, 59_999])
def test_off_grid_open_times_are_snapped_down(offset: int) -> None:
    cleaned = clean(bronze({"open_time": T0 + offset, "close_time": T0 + 60_000 + offset}))
    assert cleaned.rows["open_time"].item() == MIDNIGHT
    assert cleaned.rejected.is_empty()


@pytest.mark.requirement("F3.2")
def test_bars_of_a_week_and_a_month_keep_the_time_that_the_exchange_states() -> None:
    monday = 1577664000000  # 2019-12-30
    change = {"open_time": monday, "close_time": monday + 7 * 86_400_000 - 1}
    of = feed("binance", "spot", "klines_1w")
    cleaned = clean_klines(bronze(change, of=of), of, date(2019, 12, 1), date(2020, 1, 1))
    assert cleaned.rows["open_time"].item() == datetime(2019, 12, 30, tzinfo=UTC)


@pytest.mark.requirement("D3")
@pytest.mark.parametrize(
    ("table", "open_time", "length"),
    [
        ("klines_1m", 1577836800000 + 6_500, 60_000),
        ("klines_1h", 1577836800000, 3_600_000),
        ("klines_1w", 1577664000000, 7 * 86_400_000),
        ("klines_1mo", 1580515200000, 29 * 86_400_000),  # February of 2020
    ],
)
def test_a_bar_closes_within_its_interval(table: str, open_time: int, length: int) -> None:
    of = feed("binance", "spot", table)
    for late, reasons in ((-1, []), (0, []), (1, ["close_after_interval"])):
        change = {"open_time": open_time, "close_time": open_time + length + late}
        cleaned = clean_klines(bronze(change, of=of), of, date(2019, 12, 1), date(2020, 3, 1))
        assert cleaned.rejected["reason"].to_list() == reasons


RULES: list[tuple[str, dict[str, Any]]] = [
    ("bad_time", {"open_time": T0 // 1000}),
    ("bad_time", {"close_time": 0}),
    ("outside_partition", {"open_time": T0 - 1}),
    ("outside_partition", {"open_time": T0 + 86_400_000, "close_time": T0 + 86_459_999}),
    ("close_before_open", {"close_time": T0 - 1}),
    ("close_after_interval", {"close_time": T0 + 60_001}),
    ("close_after_interval", {"close_time": T0 + 3_599_999}),
    *(("not_finite", {name: "nan"}) for name in ("open", "high", "low", "close", "volume", "quote_volume")),
    ("not_finite", {"taker_buy_volume": "inf"}),
    ("not_finite", {"taker_buy_quote_volume": "-inf"}),
    *(("price_not_positive", {name: 0}) for name in ("open", "high", "low", "close")),
    ("price_not_positive", {"low": -1}),
    ("price_order", {"low": 10.5}),
    ("price_order", {"high": 10.5}),
    ("price_order", {"open": 12.5}),
    ("price_order", {"close": 8.5}),
    ("negative_volume", {"volume": -1}),
    ("negative_volume", {"quote_volume": -1}),
    ("negative_volume", {"count": -1}),
    ("negative_volume", {"taker_buy_volume": -1}),
    ("negative_volume", {"taker_buy_quote_volume": -1}),
    ("taker_over_volume", {"taker_buy_volume": 5.1}),
    ("taker_over_volume", {"taker_buy_quote_volume": 52.1}),
]


@pytest.mark.requirement("D3", "F3.2")
@pytest.mark.parametrize(("reason", "change"), RULES, ids=[f"{r}-{'-'.join(c)}-{i}" for i, (r, c) in enumerate(RULES)])
def test_a_row_that_breaks_a_rule_is_rejected_and_the_others_kept(reason: str, change: dict[str, Any]) -> None:
    frame = bronze(minute(5), {**minute(6), **change} if "time" not in "".join(change) else change, minute(7))
    cleaned = clean(frame)
    assert cleaned.rows["open_time"].to_list() == [MIDNIGHT + timedelta(minutes=n) for n in (5, 7)]
    [rejected] = cleaned.rejected.to_dicts()
    assert (rejected["reason"], rejected["source_line"], rejected["symbol"]) == (reason, 2, "BTCUSDT")
    assert (rejected["source_key"], rejected["source_sha256"]) == ("k", "s")
    assert rejected["detail"]
    assert len(rejected["raw"].split(",")) == 12


@pytest.mark.requirement("D3")
def test_the_first_broken_rule_is_the_reason_and_the_row_is_rejected_once() -> None:
    cleaned = clean(bronze({"open": -1, "volume": "nan", "count": -1, "close_time": 1}))
    assert cleaned.rejected["reason"].to_list() == ["bad_time"]
    assert cleaned.rows.is_empty()


@pytest.mark.requirement("D3")
def test_a_minute_without_trades_is_a_row() -> None:
    none = dict.fromkeys(("volume", "quote_volume", "count", "taker_buy_volume", "taker_buy_quote_volume"), 0)
    flat = dict.fromkeys(("open", "high", "low", "close"), 10)
    cleaned = clean(bronze({**none, **flat}, minute(2)))
    assert cleaned.rows["base_volume"].to_list() == [0.0, 5.0]
    assert cleaned.rejected.is_empty()


@pytest.mark.requirement("D2")
def test_of_one_key_the_most_trades_then_the_greatest_volume_then_the_last_line_survives() -> None:
    frame = bronze(
        {"count": 7, "volume": 9.0},
        {"count": 8, "volume": 5.0},
        {"count": 8, "volume": 6.0, "close": 10.0},
        {"count": 8, "volume": 6.0, "close": 11.0},
        {"count": 8, "volume": 6.0, "close": 11.0},
    )
    cleaned = clean(frame)
    assert cleaned.rows.select("trade_count", "base_volume", "close").rows() == [(8, 6.0, 11.0)]
    reasons = cleaned.rejected.sort("source_line").select("source_line", "reason").rows()
    assert reasons == [
        (1, "duplicate_conflict"),
        (2, "duplicate_conflict"),
        (3, "duplicate_conflict"),
        (4, "duplicate"),
    ]


@pytest.mark.requirement("D2", "F3.2")
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from(["A", "B"]), st.integers(1, 2), st.sampled_from([5.0, 6.0])),
        min_size=1,
        max_size=25,
    ),
    st.randoms(use_true_random=False),
)
def test_silver_does_not_depend_on_the_order_of_rows(rows: list[tuple[int, str, int, float]], random) -> None:  # type: ignore[no-untyped-def]
    frame = bronze(*({**minute(m), "count": c, "volume": v} for m, _, c, v in rows))
    frame = frame.with_columns(pl.Series("symbol", [symbol for _, symbol, _, _ in rows]))
    order = list(range(frame.height))
    random.shuffle(order)
    one, other = clean(frame), clean(frame[order])
    assert_frame_equal(one.rows, other.rows)
    assert_frame_equal(one.rejected, other.rejected, check_row_order=False)
    assert one.rows.height + one.rejected.height == len(rows)
    best: dict[tuple[str, int], tuple[int, float]] = {}
    for number, symbol, count, volume in rows:
        best[symbol, number] = max(best.get((symbol, number), (0, 0.0)), (count, volume))
    assert one.rows.select("symbol", "open_time", "trade_count", "base_volume").rows() == [
        (symbol, MIDNIGHT + timedelta(minutes=number), *best[symbol, number]) for symbol, number in sorted(best)
    ]


@pytest.mark.requirement("F3.2")
@pytest.mark.parametrize("of", [SPOT, UM, CM], ids=lambda f: f.name)
def test_columns_and_types_are_those_of_the_schema(of: Feed) -> None:
    cleaned = clean(bronze({}, of=of, symbol="BTCUSD_PERP"), of)
    expected = pl.from_arrow(silver_schema(of).arrow.empty_table())
    assert isinstance(expected, pl.DataFrame)
    assert cleaned.rows.schema == expected.schema
    nullable = {c.name for c in silver_schema(of).columns if c.nullable}
    assert all(cleaned.rows[name].null_count() == 0 for name in cleaned.rows.columns if name not in nullable)
    assert cleaned.rows["source"].item() == "archive_daily"


@pytest.mark.requirement("D4")
@pytest.mark.parametrize("of", [SPOT, UM], ids=lambda f: f.name)
def test_linear_markets_have_no_contracts(of: Feed) -> None:
    row = clean(bronze({}, of=of), of).rows.row(0, named=True)
    assert (row["base_volume"], row["quote_volume"], row["contracts"]) == (5.0, 52.0, None)
    assert (row["taker_buy_base_volume"], row["taker_buy_quote_volume"]) == (2.0, 21.0)


@pytest.mark.requirement("D4")
@pytest.mark.parametrize(
    ("symbol", "size"),
    [("BTCUSD_PERP", 100.0), ("BTCUSD_240927", 100.0), ("ETHUSD_PERP", 10.0), ("BTCUSDX_PERP", 10.0)],
)
def test_coin_margined_volumes_are_contracts_times_their_size(symbol: str, size: float) -> None:
    # 206 contracts, of which takers bought 102, were worth 2.13660389 of the coin.
    change = {
        "volume": 206,
        "quote_volume": 2.13660389,
        "taker_buy_volume": 102,
        "taker_buy_quote_volume": 1.0579,
    }
    row = clean(bronze(change, of=CM, symbol=symbol), CM).rows.row(0, named=True)
    assert (row["contracts"], row["base_volume"], row["quote_volume"]) == (206, 2.13660389, 206 * size)
    assert (row["taker_buy_base_volume"], row["taker_buy_quote_volume"]) == (1.0579, 102 * size)


@pytest.mark.requirement("D3", "D4")
@pytest.mark.parametrize("volume", ["206.5", "1e30"])
def test_contracts_are_whole(volume: str) -> None:
    cleaned = clean(bronze({**minute(0), "volume": volume}, minute(1), of=CM, symbol="BTCUSD_PERP"), CM)
    assert cleaned.rejected["reason"].to_list() == ["contracts_not_whole"]
    assert cleaned.rows.height == 1
