"""The comparisons of the gold checks: no finding for equal data; each fault is named, counted and located."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import polars as pl
import pytest

from crypto_lakehouse.catalog import INTERVALS
from crypto_lakehouse.catalog.bars import parse_bars
from crypto_lakehouse.transforms.checks.compare import bars_against_funding, bars_against_klines, bars_against_minutes
from crypto_lakehouse.transforms.gold.activity_bars import activity_bars
from crypto_lakehouse.transforms.gold.bars import time_bars
from crypto_lakehouse.transforms.gold.continuous import GapRule, continuous_minutes, no_state
from crypto_lakehouse_tests.unit.reference_gold import MINUTE, Row, frame

# Two days across the end of a month, so that funding is of two months.
START = datetime(2024, 1, 31, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
END = START + 2 * DAY
RULE = GapRule(after=timedelta(minutes=45), change=0.05)
ZERO, FIVE = timedelta(0), timedelta(minutes=5)
VOLUMES = ("base_volume", "quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume")
PRICES = ("open", "high", "low", "close")
# Minutes without candles, after which the price is twice as high. AAA is quiet for two minutes in which funding
# takes place, BBB begins late and within an hour, CCC has a gap of two hours.
QUIET = {"AAA": range(8 * 60, 8 * 60 + 2), "BBB": range(7 * 60 + 25), "CCC": range(10 * 60 + 20, 12 * 60 + 20)}


@cache
def candles(inverse: bool = False) -> pl.DataFrame:
    """silver.klines_1m of three symbols; a tenth of the minutes has no trades, some of these no candle."""
    dice, rows = random.Random(20240131), []
    for symbol, quiet in QUIET.items():
        price = 100.0
        for number in range(2 * 1440):
            chance, units = dice.random(), dice.randint(1, 10**6)
            if number == quiet.stop:
                chance, price = 1.0, 2 * price
            if number in quiet or chance < 0.04:
                continue
            rows.append(candle(symbol, number, price, 0 if chance < 0.1 else units, inverse))
            price = rows[-1]["close"]
    return frame("silver", "klines_1m", rows)


def candle(symbol: str, number: int, price: float, units: int, inverse: bool = False) -> Row:
    """A candle that goes up by one cent and down again by half of it; ``units`` are hundredths of the base asset."""
    high = round(price + 0.01, 3) if units else price
    close = round(price + 0.005 * (-1) ** units, 3) if units else price
    base = units / 100
    return {
        "symbol": symbol,
        "open_time": START + number * MINUTE,
        "close_time": START + (number + 1) * MINUTE - timedelta(milliseconds=1),
        "open": price,
        "high": high,
        "low": min(price, close),
        "close": close,
        "base_volume": base,
        "quote_volume": base * (price + close) / 2,
        "trade_count": units,
        "taker_buy_base_volume": base / 4,
        "taker_buy_quote_volume": base * close / 4,
        "contracts": units if inverse else None,
        "source": "archive_daily",
    }


@cache
def events(symbols: tuple[str, ...] = tuple(QUIET)) -> pl.DataFrame:
    """silver.funding_rates every eight hours, some ms late, of both signs."""
    rows = [
        {
            "symbol": symbol,
            "funding_time": START + n * 8 * HOUR + timedelta(milliseconds=7),
            "funding_hour": START + n * 8 * HOUR,
            "interval_hours": 8,
            "funding_rate": [0.0001, -0.0001, 0.00037513, 0.0, -0.00002, 0.0075][n] * (1 + symbols.index(symbol)),
            "mark_price": None,
            "source": "archive_monthly",
        }
        for symbol in symbols
        for n in range(6)
    ]
    return frame("silver", "funding_rates", rows)


@cache
def minutes(inverse: bool = False) -> pl.DataFrame:
    return continuous_minutes(candles(inverse), events(), no_state(), (START, END), RULE, inverse=inverse).rows


def bars(interval: str = "1h", *offsets: timedelta, of: pl.DataFrame | None = None) -> pl.DataFrame:
    rows = minutes() if of is None else of
    return time_bars(rows, INTERVALS[interval], offsets or (ZERO,), START, END + 40 * DAY)


def dollar_bars(inverse: bool = False) -> pl.DataFrame:
    return activity_bars(minutes(inverse), parse_bars("dollar:30000000"), START, END + 40 * DAY)  # type: ignore[arg-type]


@cache
def klines(inverse: bool = False) -> pl.DataFrame:
    """silver.klines_1h as an exchange makes them from its trades: quiet minutes leave no trace."""
    hours: dict[tuple[str, datetime], list[Row]] = {}
    for row in candles(inverse).sort("symbol", "open_time").to_dicts():
        if row["base_volume"] > 0:
            hours.setdefault((row["symbol"], row["open_time"].replace(minute=0)), []).append(row)
    rows = []
    for (symbol, open_time), part in hours.items():
        sums = {name: sum(r[name] for r in reversed(part)) for name in (*VOLUMES, "trade_count")}
        rows.append(
            {
                "symbol": symbol,
                "open_time": open_time,
                "close_time": open_time + HOUR - timedelta(milliseconds=1),
                "open": part[0]["open"],
                "high": max(r["high"] for r in part),
                "low": min(r["low"] for r in part),
                "close": part[-1]["close"],
                **sums,
                "contracts": sum(r["contracts"] for r in part) if inverse else None,
                "source": "archive_daily",
            }
        )
    return frame("silver", "klines_1h", rows)


def full() -> pl.DataFrame:
    """Minutes of which the archive has every candle, so that every whole bar is complete."""
    return minutes().with_columns(in_archive=True)


def spoilt(rows: pl.DataFrame, where: pl.Expr, **values: Any) -> pl.DataFrame:
    """``rows`` with ``values`` (expressions or constants) where ``where`` holds, in another order."""
    changed = {
        name: pl.when(where)
        .then(value if isinstance(value, pl.Expr) else pl.lit(value, rows.schema[name]))
        .otherwise(pl.col(name))
        for name, value in values.items()
    }
    assert rows.filter(where).height
    return rows.with_columns(**changed).reverse()


def at(hour: float) -> pl.Expr:
    return pl.col("open_time") == START + hour * HOUR


def bar_at(rows: pl.DataFrame, symbol: str, hour: float) -> Row:
    [bar] = rows.filter(pl.col("symbol") == symbol, at(hour)).to_dicts()
    return bar


A, B, C = (pl.col("symbol") == name for name in QUIET)
GREW = 1 + 2e-9
EACH_VALUE = [
    *((name, pl.col(name) + 0.001) for name in PRICES),
    *((name, pl.col(name) * GREW) for name in (*VOLUMES, "vwap")),
    *((name, float("nan")) for name in (*VOLUMES, "vwap")),
    ("vwap", None),
    *((name, pl.col(name) + 1) for name in ("trade_count", "n_minutes", "n_filled")),
    ("contracts", 5),
    ("first_minute", pl.col("first_minute") + MINUTE),
    ("last_minute", None),
]


@pytest.mark.requirement("F4.6")
def test_the_generated_data_have_the_cases_to_compare() -> None:
    made = bars("1h", ZERO, FIVE)
    assert set(made["symbol"]) == set(QUIET)
    assert dict(made.group_by("symbol").agg(pl.col("segment").max()).iter_rows()) == {"AAA": 0, "BBB": 0, "CCC": 1}
    # 10:20 to 12:19 is a gap: the hours of 10:00 and 12:00 are partial, that of 11:00 is not there.
    partial = made.filter(C & at(10) | C & at(11) | C & at(12)).select("n_minutes", "segment").rows()
    assert partial == [(20, 0), (40, 1)]
    assert made.filter(B, offset=0)["n_minutes"][0] == 35
    assert made["n_filled"].sum() > 100
    assert minutes().filter("is_filled", "has_funding", A & at(8)).height == 1
    quiet_begin = made.filter(pl.col("first_minute") > pl.col("open_time"), pl.col("n_minutes") == 60)
    assert quiet_begin.height > 10


@pytest.mark.requirement("F4.6", "F4.1")
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("interval", ["3m", "1h", "1d", "1w", "1mo"])
def test_time_bars_agree_with_their_minutes(interval: str, inverse: bool) -> None:
    made = bars(interval, ZERO, FIVE, of=minutes(inverse)) if interval != "3m" else bars("3m", of=minutes(inverse))
    assert made.height
    assert bars_against_minutes(made.reverse(), minutes(inverse).reverse()) == []


@pytest.mark.requirement("F4.6", "F4.4")
@pytest.mark.parametrize("inverse", [False, True])
def test_activity_bars_agree_with_their_minutes(inverse: bool) -> None:
    made = dollar_bars(inverse)
    assert made.height > 50
    assert bars_against_minutes(made.reverse(), minutes(inverse).reverse()) == []


@pytest.mark.requirement("F4.6", "F4.4")
def test_an_activity_bar_by_hand() -> None:
    rows = [
        {**minute, "symbol": "AAA", "segment": 0, "is_filled": False, "in_archive": True, "vwap": 10.0}
        for minute in (candle("AAA", n, 10.0, 200) for n in range(4))
    ]
    of = frame(
        "gold", "continuous_1m", [{k: v for k, v in r.items() if k not in ("close_time", "source")} for r in rows]
    )
    bar = {
        "symbol": "AAA",
        "segment": 0,
        "open_time": START + MINUTE,
        "close_time": START + 3 * MINUTE - timedelta(microseconds=1),
        "open": 10.0,
        "high": 10.01,
        "low": 10.0,
        "close": 10.005,
        "base_volume": 2 * 2.0,
        "quote_volume": 2 * 2.0 * 10.0025,
        "trade_count": 2 * 200,
        "taker_buy_base_volume": 2 * 0.5,
        "taker_buy_quote_volume": 2 * 0.5 * 10.005,
        "contracts": None,
        "vwap": 10.0025,
        "first_minute": START + MINUTE,
        "last_minute": START + 2 * MINUTE,
        "n_minutes": 2,
        "n_filled": 0,
        "complete": True,
    }
    good = frame("gold", "bars_dollar_40", [bar])
    assert bars_against_minutes(good, of) == []
    bad = good.with_columns(base_volume=pl.lit(4.5), trade_count=pl.lit(401, pl.Int64))
    assert bars_against_minutes(bad, of) == [
        ("AAA", "trade_count differs in 1 of 1 bars, first 2024-01-31 00:01: bar 401, minutes 400"),
        ("AAA", "base_volume differs in 1 of 1 bars, first 2024-01-31 00:01: bar 4.5, minutes 4.0"),
    ]


@pytest.mark.requirement("F4.6")
@pytest.mark.parametrize("kind", ["time", "activity"])
@pytest.mark.parametrize(("column", "value"), EACH_VALUE)
def test_each_column_that_differs_from_the_minutes_is_named(kind: str, column: str, value: Any) -> None:
    good = bars("1h", FIVE, ZERO) if kind == "time" else dollar_bars()
    times = good.filter(B)["open_time"].sort()
    where = B & pl.col("open_time").is_in(times[5:8].implode())
    [(symbol, what)] = bars_against_minutes(spoilt(good, where, **{column: value}), minutes())
    assert symbol == "BBB"
    assert what.startswith(f"{column} differs in 3 of {len(times)} bars, first {times[5]:%Y-%m-%d %H:%M}: bar ")


@pytest.mark.requirement("F4.6")
def test_rounding_of_sums_is_no_difference() -> None:
    within = {name: pl.col(name) * (1 + 5e-10) for name in (*VOLUMES, "vwap")}
    assert bars_against_minutes(spoilt(bars(), A, **within), minutes()) == []


@pytest.mark.requirement("F4.6")
def test_vwap_is_held_within_the_prices_as_that_of_bars_is() -> None:
    """Where all traded at one price, rounded volumes give another: 1e-8 / 3e-8 is not 0.33."""
    of = (
        minutes()
        .filter(A)
        .head(60)
        .with_columns(
            *(pl.lit(0.33).alias(name) for name in (*PRICES, "vwap")),
            base_volume=pl.lit(3e-8),
            quote_volume=pl.lit(1e-8),
        )
    )
    made = bars(of=of)
    assert made["vwap"].to_list() == [0.33]
    assert bars_against_minutes(made, of) == []


@pytest.mark.requirement("F4.6")
def test_a_difference_is_reported_with_both_values_per_symbol_in_order() -> None:
    bad = spoilt(spoilt(bars("1h", ZERO, FIVE), C & at(30), close=7.25), A & at(3), high=1e6, trade_count=1)
    right = {(s, h): bar_at(bars(), s, h) for s, h in (("AAA", 3), ("CCC", 30))}
    counts = {symbol: bad.filter(symbol=symbol).height for symbol in QUIET}
    assert bars_against_minutes(bad, minutes()) == [
        (
            "AAA",
            f"high differs in 1 of {counts['AAA']} bars, first 2024-01-31 03:00:"
            f" bar 1000000.0, minutes {right['AAA', 3]['high']}",
        ),
        (
            "AAA",
            f"trade_count differs in 1 of {counts['AAA']} bars, first 2024-01-31 03:00:"
            f" bar 1, minutes {right['AAA', 3]['trade_count']}",
        ),
        (
            "CCC",
            f"close differs in 1 of {counts['CCC']} bars, first 2024-02-01 06:00:"
            f" bar 7.25, minutes {right['CCC', 30]['close']}",
        ),
    ]


@pytest.mark.requirement("F4.6")
@pytest.mark.parametrize(
    ("missing", "found"),
    [
        (A & (pl.col("open_time") == START + 3 * HOUR + 59 * MINUTE), 59),
        (A & (pl.col("open_time").dt.truncate("1h") == START + 3 * HOUR), 0),
    ],
)
def test_a_bar_with_missing_minutes_is_one_finding(missing: pl.Expr, found: int) -> None:
    assert bars_against_minutes(bars(), minutes().filter(~missing)) == [
        ("AAA", f"n_minutes differs in 1 of 48 bars, first 2024-01-31 03:00: bar 60, minutes {found}")
    ]


@pytest.mark.requirement("F4.6")
def test_minutes_rebuilt_after_the_bar_are_reported() -> None:
    extra = minutes().filter(B).sort("open_time").head(1).with_columns(pl.col("open_time") - MINUTE)
    assert bars_against_minutes(bars(), pl.concat([minutes(), extra])) == [
        ("BBB", "n_minutes differs in 1 of 41 bars, first 2024-01-31 07:00: bar 35, minutes 36")
    ]


@pytest.mark.requirement("F4.6", "F4.3")
def test_a_bar_of_the_wrong_segment_or_window_differs_from_its_minutes() -> None:
    wrong_segment = bars_against_minutes(spoilt(bars(), A & at(3), segment=1), minutes())
    assert wrong_segment == [("AAA", "n_minutes differs in 1 of 48 bars, first 2024-01-31 03:00: bar 60, minutes 0")]
    late_close = spoilt(bars(), A & at(47), close_time=pl.col("close_time") - MINUTE)
    assert bars_against_minutes(late_close, minutes()) == [
        ("AAA", "n_minutes differs in 1 of 48 bars, first 2024-02-01 23:00: bar 60, minutes 59")
    ]


@pytest.mark.requirement("F4.6")
def test_no_rows_have_no_findings() -> None:
    assert bars_against_minutes(bars().clear(), minutes()) == []
    assert bars_against_klines(bars().clear(), klines().clear()) == []
    assert bars_against_funding(bars().clear(), events().clear()) == []


@pytest.mark.requirement("F4.6")
@pytest.mark.parametrize("inverse", [False, True])
def test_bars_agree_with_the_klines_of_the_exchange(inverse: bool) -> None:
    made = bars("1h", ZERO, FIVE, of=minutes(inverse).with_columns(in_archive=True))
    assert made.filter("complete", offset=0).height > 100
    assert bars_against_klines(made.reverse(), klines(inverse).reverse()) == []


@pytest.mark.requirement("F4.6")
@pytest.mark.parametrize(
    ("column", "value"),
    [
        *((name, pl.col(name) + 0.001) for name in PRICES),
        *((name, pl.col(name) * GREW) for name in VOLUMES),
        ("trade_count", pl.col("trade_count") + 1),
        ("contracts", pl.col("contracts") - 1),
    ],
)
def test_each_column_that_differs_from_the_exchange_is_named(column: str, value: pl.Expr) -> None:
    good = bars(of=minutes(True).with_columns(in_archive=True))
    first, second = good.filter(A, pl.col("first_minute") == pl.col("open_time"))["open_time"][4:6]
    where = A & pl.col("open_time").is_in([first, second])
    bad = spoilt(klines(True), where, **{column: value})
    ours, theirs = (rows.filter(A, open_time=first)[column].item() for rows in (good, bad))
    assert bars_against_klines(good.reverse(), bad) == [
        ("AAA", f"{column} differs in 2 of 48 bars, first {first:%Y-%m-%d %H:%M}: bar {ours}, exchange {theirs}")
    ]


@pytest.mark.requirement("F4.6")
@pytest.mark.parametrize("nonsense", [float("nan"), float("inf")])
def test_nonsense_of_the_exchange_is_a_difference(nonsense: float) -> None:
    bad = spoilt(klines(), A & at(5), quote_volume=nonsense)
    [(symbol, what)] = bars_against_klines(bars(of=full()), bad)
    assert (symbol, what.split()[0], what.split()[-1]) == ("AAA", "quote_volume", str(nonsense))


@pytest.mark.requirement("F4.6")
def test_the_last_decimal_of_each_minute_is_no_difference() -> None:
    """Coins of COIN-M are rounded to 1e-8 per minute and again per hour; here the hour has little volume."""
    good = bars(of=full()).with_columns(base_volume=pl.lit(0.5), taker_buy_base_volume=pl.lit(0.25))
    theirs = klines().with_columns(base_volume=pl.lit(0.5 + 5e-8), taker_buy_base_volume=pl.lit(0.25 - 5e-8))
    assert bars_against_klines(good, theirs) == []
    beyond = bars_against_klines(good, theirs.with_columns(base_volume=pl.lit(0.5 + 61e-8)))
    assert [symbol for symbol, _ in beyond] == ["AAA", "BBB", "CCC"]


@pytest.mark.requirement("F4.6")
def test_a_kline_without_a_bar_and_a_bar_without_a_kline_are_findings() -> None:
    good = bars(of=full())
    assert bars_against_klines(good.filter(~(B & (at(20) | at(21)))), klines().reverse()) == [
        ("BBB", "2 klines of the exchange have volume and no bar, first 2024-01-31 20:00")
    ]
    assert bars_against_klines(good.reverse(), klines().filter(~(A & (at(5) | at(6)) | C & at(12)))) == [
        ("AAA", "2 bars have volume and no kline of the exchange, first 2024-01-31 05:00"),
        ("CCC", "1 bars have volume and no kline of the exchange, first 2024-01-31 12:00"),
    ]


@pytest.mark.requirement("F4.6")
def test_hours_without_volume_need_no_other_side() -> None:
    nothing = dict.fromkeys((*VOLUMES, "trade_count"), 0.0) | {"trade_count": 0}
    filled = spoilt(bars(of=full()), A & at(5), first_minute=None, last_minute=None, n_filled=60, **nothing)
    assert bars_against_klines(filled, klines().filter(~(A & at(5)))) == []
    assert bars_against_klines(filled.filter(~(A & at(5))), spoilt(klines(), A & at(5), **nothing)) == []


@pytest.mark.requirement("F4.6")
def test_only_complete_bars_of_offset_zero_are_compared() -> None:
    made = bars("1h", ZERO, FIVE, of=full())
    incomplete = spoilt(made, A & at(5), complete=False, close=1.0)
    assert bars_against_klines(incomplete, klines()) == []
    shifted = spoilt(made, pl.col("offset") == 5, close=1.0)
    assert bars_against_klines(shifted, klines()) == []


@pytest.mark.requirement("F4.6")
def test_a_carried_open_may_differ_from_the_first_price_of_the_exchange_and_no_further() -> None:
    """The minute before the hour closes at 9; nothing trades at 00:00; 00:01 trades at 10, then 11, then 10."""
    prices = [9.0, 9.0, 10.0, 11.0, *[10.0] * 57]
    rows = [
        {
            **dict.fromkeys(PRICES, price),
            **dict.fromkeys(VOLUMES, 0.0 if n == 0 else 1.0),
            "symbol": "AAA",
            "open_time": START + n * MINUTE,
            "segment": 0,
            "trade_count": int(n != 0),
            "contracts": None,
            "vwap": price,
            "is_filled": n == 0,
            "in_archive": True,
        }
        for n, price in zip(range(-1, 60), prices, strict=True)
    ]
    ours = time_bars(frame("gold", "continuous_1m", rows), INTERVALS["1h"], [ZERO], START, START + HOUR)
    assert ours.select(PRICES).row(0) == (9.0, 11.0, 9.0, 10.0)
    kline = {
        **dict.fromkeys(VOLUMES, 59.0),
        "symbol": "AAA",
        "open_time": START,
        "close_time": START + HOUR - timedelta(milliseconds=1),
        "trade_count": 59,
        "source": "archive_daily",
    }

    def found(opened: float, high: float, low: float, close: float) -> list[str]:
        values: Row = dict(zip(PRICES, (opened, high, low, close), strict=True))
        findings = bars_against_klines(ours, frame("silver", "klines_1h", [kline | values]))
        return [what.split()[0] for _, what in findings]

    assert found(10.0, 11.0, 10.0, 10.0) == []
    assert found(9.0, 11.0, 9.0, 10.0) == []
    # The carried 9 is not the greatest price, 8.5 and 12 were never seen here, and the close is never carried.
    assert found(10.0, 10.5, 10.0, 10.0) == ["high"]
    assert found(12.0, 12.0, 8.5, 10.0) == ["open", "high", "low"]
    assert found(10.0, 11.0, 10.0, 9.5) == ["close"]


@pytest.mark.requirement("F4.6")
@pytest.mark.parametrize("interval", ["3m", "1h", "8h", "1d", "1mo"])
def test_bars_agree_with_the_funding_events(interval: str) -> None:
    made = bars(interval) if interval == "3m" else bars(interval, ZERO, FIVE)
    assert made["funding_count"].sum() > 0
    assert bars_against_funding(made.reverse(), events().reverse()) == []


@pytest.mark.requirement("F4.6")
@pytest.mark.parametrize(
    ("hour", "column", "value", "text"),
    [
        (8, "funding_sum", pl.col("funding_sum") + 1e-8, "bar -9.999000000000001e-05, events -0.0001"),
        (8, "funding_sum", float("nan"), "bar nan, events -0.0001"),
        (8, "funding_count", 0, "bar 0, events 1"),
        (8, "funding_count", None, "bar null, events 1"),
        (9, "funding_sum", -0.0001, "bar -0.0001, events 0.0"),
        (9, "funding_count", 1, "bar 1, events 0"),
    ],
)
def test_funding_that_differs_from_the_events_is_named(hour: int, column: str, value: Any, text: str) -> None:
    bad = spoilt(bars("1h", FIVE, ZERO), A & (at(hour) | at(hour + 24)), **{column: value})
    assert bars_against_funding(bad, events()) == [
        ("AAA", f"{column} differs in 2 of 97 bars, first 2024-01-31 {hour:02}:00: {text}")
    ]


@pytest.mark.requirement("F4.6")
@pytest.mark.parametrize(("closes", "count"), [(8 * HOUR - timedelta(microseconds=1), 1), (8 * HOUR, 2)])
def test_an_event_counts_from_the_open_to_the_close_of_the_bar(closes: timedelta, count: int) -> None:
    bad = spoilt(bars("8h"), A & at(0), close_time=START + closes, n_minutes=closes // MINUTE + 1, funding_count=9)
    assert bars_against_funding(bad, events())[0] == (
        "AAA",
        f"funding_count differs in 1 of 6 bars, first 2024-01-31 00:00: bar 9, events {count}",
    )


@pytest.mark.requirement("F4.6")
def test_funding_that_came_after_the_bar_is_a_finding() -> None:
    before = continuous_minutes(candles(), None, no_state(), (START, END), RULE).rows
    early = bars("1d", of=before)
    assert early["funding_sum"].null_count() == early.height
    what = "bars have no funding because it arrived after they were built: rebuild them, first 2024-01-31 00:00"
    # CCC has a bar more, because the gap cuts its first day.
    numbers = {"AAA": 2, "BBB": 2, "CCC": 3}
    assert bars_against_funding(early, events()) == [(symbol, f"{n} {what}") for symbol, n in numbers.items()]
    # A symbol without events, such as a delivery contract, gains nothing from being made again.
    assert bars_against_funding(early, events(("AAA", "BBB"))) == [(symbol, f"2 {what}") for symbol in ("AAA", "BBB")]
    assert bars_against_funding(early, events().clear()) == []


@pytest.mark.requirement("F4.6")
def test_a_bar_in_a_month_without_stored_funding_may_be_null() -> None:
    january = events().filter(pl.col("funding_hour") < START + DAY)
    known_half = minutes().with_columns(
        funding_rate=pl.when(pl.col("open_time") < START + DAY).then("funding_rate"),
        has_funding=pl.when(pl.col("open_time") < START + DAY).then("has_funding"),
    )
    # The week from Monday 29 January to Sunday 4 February, and the day of 31 January.
    week = bars("1w", of=known_half)
    # The four rows are AAA, BBB, CCC before its gap, all of whose minutes are in January, and CCC after it.
    assert week["funding_sum"].is_null().to_list() == [True, True, False, True]
    assert bars_against_funding(week, january) == []
    assert bars_against_funding(bars("1d", of=known_half), january) == []
    assert [symbol for symbol, _ in bars_against_funding(week, events())] == ["AAA", "BBB", "CCC"]


@pytest.mark.requirement("F4.6", "F4.3")
def test_an_event_in_a_minute_that_is_not_in_the_series_is_no_difference() -> None:
    """BBB starts at 07:25, so its day does not have the event of 00:00; CCC has one more event within its gap."""
    gone = events().filter(C).head(1).with_columns(funding_hour=pl.lit(START + 11 * HOUR))
    more = pl.concat([events(), gone])
    assert bars_against_funding(bars("1d"), more) == []
    # Of the two segments of CCC's first day one has 00:00 and 08:00, the other has 16:00, and the gap's is in none.
    day = bars("1d").filter(C, at(0)).select("segment", "funding_count").rows()
    assert day == [(0, 2), (1, 1)]
    # In a symbol that has all of its minutes an event too many is found.
    late = more.with_columns(symbol=pl.lit("AAA")).tail(1)
    found = bars_against_funding(bars("1d"), pl.concat([events(), late]))
    assert found[0] == ("AAA", "funding_count differs in 1 of 2 bars, first 2024-01-31 00:00: bar 3, events 4")
    # And so is a partial bar with more events than there are.
    added = bars_against_funding(spoilt(bars("1d"), B & at(0), funding_count=4), events())
    assert added[0] == ("BBB", "funding_count differs in 1 of 2 bars, first 2024-01-31 00:00: bar 4, events 3")
