"""Silver trades for tests, and plain-Python readings of them: klines by loops, missing ids by sets.

Several tests of trades share this module. It uses no code of ``crypto_lakehouse.transforms``; the tests have the cases
and expectations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import strategies as st

from crypto_lakehouse_tests.unit.reference_gold import Row, frame

DAY = timedelta(days=1)
START = datetime(2024, 12, 31, tzinfo=UTC)
Ids = dict[str, tuple[int, datetime]]


def trade(number: int, time: datetime, price: float = 10.0, quantity: float = 1.0, **values: object) -> Row:
    """A single trade of the symbol A on a linear market; the taker bought."""
    return {
        "symbol": "A",
        "trade_id": number,
        "time": time,
        "price": price,
        "base_quantity": quantity,
        "quote_quantity": price * quantity,
        "contracts": None,
        "is_buyer_maker": False,
        "is_best_match": None,
        "source": "archive_daily",
        **values,
    }


def aggregate(number: int, time: datetime, singles: tuple[int, int], **values: object) -> Row:
    """An aggregate of the single ids ``singles``, first and last."""
    row = trade(number, time, **values)  # type: ignore[arg-type]
    del row["is_best_match"]
    return {**row, "first_trade_id": singles[0], "last_trade_id": singles[1]}


@st.composite
def trades(draw: st.DrawFn, begin: datetime = START, length: timedelta = timedelta(hours=2)) -> list[Row]:
    """Trades of up to three symbols, shuffled, ids with holes, times in no order of the ids.

    Prices and quantities are such that sums and products of them are exact in any order.
    """
    rows: list[Row] = []
    for symbol in draw(st.sampled_from([["A"], ["B", "A"], ["A", "B", "C"]])):
        number = draw(st.integers(0, 5))
        for step in draw(st.lists(st.sampled_from([1, 1, 1, 2, 5]), max_size=15)):
            number += step
            time = begin + draw(st.integers(0, length // timedelta(seconds=1) - 1)) * timedelta(seconds=1)
            price, quantity = float(draw(st.integers(1, 64))), draw(st.integers(1, 64)) / 4
            row = trade(number, time, price, quantity, symbol=symbol)
            rows.append({**row, "is_buyer_maker": draw(st.booleans())})
    return draw(st.permutations(rows))


def klines(rows: Iterable[Row], length: timedelta, unit: timedelta, source: str) -> pl.DataFrame:
    """One-interval klines of single trades of a linear market, by walking over them in order of their ids."""
    bars: dict[tuple[str, datetime], Row] = {}
    midnight = datetime(1970, 1, 1, tzinfo=UTC)
    for row in sorted(rows, key=lambda r: r["trade_id"]):
        opens, price = row["time"] - (row["time"] - midnight) % length, row["price"]
        bar = bars.setdefault(
            (row["symbol"], opens),
            {
                "symbol": row["symbol"],
                "open_time": opens,
                "close_time": opens + length - unit,
                **dict.fromkeys(("open", "high", "low", "close"), price),
                **dict.fromkeys(("base_volume", "quote_volume"), 0.0),
                **dict.fromkeys(("taker_buy_base_volume", "taker_buy_quote_volume"), 0.0),
                "trade_count": 0,
                "contracts": None,
                "source": source,
            },
        )
        bar |= {"high": max(bar["high"], price), "low": min(bar["low"], price), "close": price}
        bar["trade_count"] += 1
        for name in ("base", "quote"):
            bar[f"{name}_volume"] += row[f"{name}_quantity"]
            bar[f"taker_buy_{name}_volume"] += 0.0 if row["is_buyer_maker"] else row[f"{name}_quantity"]
    return frame("silver", "klines_1m", [bars[key] for key in sorted(bars)])


def gaps(rows: Sequence[Row], before: Ids) -> list[tuple[str, int, int]]:
    """(symbol, first, last) of every missing range of ids after ``before``, by counting up."""
    found: list[tuple[str, int, int]] = []
    for symbol in sorted({row["symbol"] for row in rows}):
        there = {row["trade_id"] for row in rows if row["symbol"] == symbol}
        number = before[symbol][0] if symbol in before else min(there)
        while number < max(there):
            number += 1
            if number not in there:
                first = number
                while number + 1 not in there:
                    number += 1
                found.append((symbol, first, number))
    return found
