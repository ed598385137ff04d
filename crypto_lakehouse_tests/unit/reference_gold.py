"""From-scratch reference of the gold transforms: dicts, loops, datetime arithmetic and math.fsum.

This module defines continuous minutes, gaps and time bars as plainly as possible, converts such rows to frames, and
compares them. It uses no code of ``crypto_lakehouse.transforms``; the tests have the cases and expectations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from crypto_lakehouse.schemas import Schema, schema_of

Row = dict[str, Any]
MINUTE = timedelta(minutes=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
LENGTHS = {
    **{f"{n}m": timedelta(minutes=n) for n in (3, 5, 15, 30)},
    **{f"{n}h": timedelta(hours=n) for n in (1, 2, 4, 6, 8, 12)},
    "1d": timedelta(days=1),
    "3d": timedelta(days=3),
    "1w": timedelta(days=7),
}
SUMS = ("base_volume", "quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume")


State = tuple[datetime, float, int, datetime, int]
"""last_time, last_close, segment, first_time, missing_days"""


@dataclass
class Series:
    """The result of ``continuous``; ``state`` maps a symbol to the facts about its newest segment."""

    rows: list[Row]
    gaps: list[Row]
    state: dict[str, State]
    untraded: list[str]


def continuous(
    candles: Iterable[Row],
    funding: Iterable[Row] | None,
    state: dict[str, State],
    span: tuple[datetime, datetime] | None,
    after: timedelta,
    change: float,
    *,
    inverse: bool = False,
    legacy: bool = False,
) -> Series:
    """Continuous minutes by walking the clock, one symbol after the other."""
    candle = {(c["symbol"], c["open_time"]): c for c in candles}
    rates = {(f["symbol"], f["funding_hour"]): f["funding_rate"] for f in funding or ()}
    known_months = {(symbol, hour.year, hour.month) for symbol, hour in rates}
    series = Series([], [], dict(state), [])
    for symbol in sorted({name for name, _ in candle} | set(state)):
        seen = sorted(time for name, time in candle if name == symbol)
        quiet_rows: list[Row] = []
        for time in seen:
            now = candle[symbol, time]
            if now["base_volume"] == 0:
                continue
            segment, begin = 0, time
            if symbol in series.state:
                last_time, last_close, segment, begin, missing = series.state[symbol]
                silence, moved = time - last_time, now["open"] / last_close - 1
                tier = _tier(silence, moved, after, change)
                if tier:
                    cuts = _tier(silence - timedelta(days=missing), moved, after, change) > 0
                    if cuts:
                        segment, begin = segment + 1, time
                    why = {"reason": "silence" if cuts else "missing_days", "missing_days": missing}
                    series.gaps.append(_gap(symbol, last_time, last_close, now, tier, segment) | why)
                else:
                    quiet_rows += _quiet(symbol, last_time + MINUTE, time, span, last_close, segment, inverse)
            series.rows.append({**_traded(now, inverse, legacy), "segment": segment})
            series.state[symbol] = (time, now["close"], segment, begin, 0)
        if symbol not in series.state:
            series.untraded.append(symbol)
        elif span is not None:
            last_time, last_close, segment, _, _ = series.state[symbol]
            until = max([last_time + 2 * after, *seen[-1:]]) + MINUTE
            quiet_rows += _quiet(symbol, last_time + MINUTE, min(until, span[1]), span, last_close, segment, inverse)
        series.rows += quiet_rows
    series.rows.sort(key=lambda r: (r["symbol"], r["open_time"]))
    for row in series.rows:
        key = (row["symbol"], row["open_time"])
        row["in_archive"] = key in candle
        paid = key in rates and not (legacy and row["is_filled"]) and key[1] <= series.state[key[0]][0]
        known = (legacy and funding is not None) or (key[0], key[1].year, key[1].month) in known_months
        row["has_funding"] = paid if known else None
        row["funding_rate"] = None if not known else rates[key] if paid else 0.0
    return series


def bars(
    minutes: Iterable[Row], interval: str, offsets: Sequence[timedelta], first: datetime, end: datetime
) -> list[Row]:
    """Time bars, window by window, from rows of continuous minutes."""
    ordered = sorted(minutes, key=lambda r: (r["symbol"], r["open_time"]))
    made = []
    for offset in offsets:
        windows: dict[tuple[str, int, datetime, datetime], list[Row]] = {}
        for row in ordered:
            begin, stop = window(row["open_time"], interval, offset)
            if first < stop <= end:
                windows.setdefault((row["symbol"], row["segment"], begin, stop), []).append(row)
        for (symbol, segment, begin, stop), part in windows.items():
            made.append(
                {
                    "symbol": symbol,
                    "segment": segment,
                    "offset": offset // MINUTE,
                    "open_time": begin,
                    "close_time": stop - timedelta(microseconds=1),
                    **_bar(part),
                    "complete": sum(r["in_archive"] for r in part) == (stop - begin) // MINUTE,
                }
            )
    return sorted(made, key=lambda b: (b["symbol"], b["offset"], b["open_time"], b["segment"]))


def window(time: datetime, interval: str, offset: timedelta) -> tuple[datetime, datetime]:
    """[begin, end) of the window around ``time``."""
    if interval == "1mo":
        begin = (time - offset).replace(day=1, hour=0, minute=0)
        following = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
        return begin + offset, following + offset
    length = LENGTHS[interval]
    provenance = (MONDAY if interval == "1w" else EPOCH) + offset
    begin = provenance + (time - provenance) // length * length
    return begin, begin + length


def _tier(silence: timedelta, change: float, after: timedelta, threshold: float) -> int:
    if silence > after and abs(change) > threshold:
        return 1
    return 2 if silence > 2 * after and change != 0 else 0


def _gap(symbol: str, last_time: datetime, last_close: float, now: Row, tier: int, segment: int) -> Row:
    return {
        "symbol": symbol,
        "gap_begin": last_time,
        "gap_end": now["open_time"],
        "silence": (now["open_time"] - last_time) // MINUTE,
        "close_before": last_close,
        "open_after": now["open"],
        "price_change": now["open"] / last_close - 1,
        "tier": tier,
        "segment": segment,
    }


def _quiet(
    symbol: str,
    begin: datetime,
    stop: datetime,
    span: tuple[datetime, datetime] | None,
    close: float,
    segment: int,
    inverse: bool,
) -> list[Row]:
    rows = []
    time = begin
    while time < stop:
        if span is None or time >= span[0]:
            rows.append(
                {
                    "symbol": symbol,
                    "open_time": time,
                    "segment": segment,
                    **dict.fromkeys(("open", "high", "low", "close", "vwap"), close),
                    **dict.fromkeys(SUMS, 0.0),
                    "trade_count": 0,
                    "contracts": 0 if inverse else None,
                    "is_filled": True,
                }
            )
        time += MINUTE
    return rows


def _traded(now: Row, inverse: bool, legacy: bool) -> Row:
    value, volume = now["quote_volume"], now["base_volume"]
    if legacy and inverse:
        value, volume = now["base_volume"], now["contracts"]
    names = ("symbol", "open_time", "open", "high", "low", "close", *SUMS, "trade_count", "contracts")
    return {
        **{name: now[name] for name in names},
        "vwap": min(max(value / volume, now["low"]), now["high"]),
        "is_filled": False,
    }


def _bar(part: list[Row]) -> Row:
    low, high = min(r["low"] for r in part), max(r["high"] for r in part)
    base, quote = (math.fsum(r[name] for r in part) for name in ("base_volume", "quote_volume"))
    real = [r["open_time"] for r in part if not r["is_filled"]]
    paid = [r for r in part if r["funding_rate"] is not None and abs(r["funding_rate"]) > 1e-6]
    known = all(r["funding_rate"] is not None for r in part)
    return {
        "open": part[0]["open"],
        "high": high,
        "low": low,
        "close": part[-1]["close"],
        **{name: math.fsum(r[name] for r in part) for name in SUMS},
        "trade_count": sum(r["trade_count"] for r in part),
        "contracts": None if part[0]["contracts"] is None else sum(r["contracts"] for r in part),
        "vwap": min(max(quote / base, low), high) if base else None,
        "first_minute": real[0] if real else None,
        "last_minute": real[-1] if real else None,
        "n_minutes": len(part),
        "n_filled": len(part) - len(real),
        "funding_rate": paid[0]["funding_rate"] if paid else None,
        "funding_price": paid[0]["open"] if paid else None,
        "funding_time": paid[0]["open_time"] if paid else None,
        "funding_sum": math.fsum(r["funding_rate"] for r in part) if known else None,
        "funding_count": sum(r["has_funding"] for r in part) if known else None,
    }


def frame(layer: str, table: str, rows: Sequence[Row]) -> pl.DataFrame:
    """A frame of ``rows`` in the schema of ``layer.table``."""
    return pl.DataFrame(list(rows), schema=empty(schema_of(layer, table)).schema, orient="row")


def empty(schema: Schema) -> pl.DataFrame:
    """A frame without rows, of the schema's types."""
    made = pl.from_arrow(schema.arrow.empty_table())
    assert isinstance(made, pl.DataFrame)
    return made


def states(state: pl.DataFrame) -> dict[str, State]:
    """The newest segments of a state of the transforms, as ``continuous`` takes it."""
    names = ("last_time", "last_close", "segment", "first_time", "missing_days")
    return {row[0]: row[1:] for row in state.sort("symbol", "segment").select("symbol", *names).iter_rows()}


def assert_same(ours: pl.DataFrame, expected: Sequence[Row], schema: Schema) -> None:
    """The same rows in the same order, in the schema's columns and types: floats to 1e-12 relative, others exactly.

    A sum of rates of both signs may cancel, so 1e-18 apart is the same there too.
    """
    assert ours.schema == empty(schema).schema
    assert ours.height == len(expected)
    for got, want in zip(ours.iter_rows(named=True), expected, strict=True):
        assert set(got) == set(want)
        for name, value in want.items():
            if isinstance(value, float) and got[name] is not None:
                small = 1e-18 if name == "funding_sum" else 0.0
                assert math.isclose(got[name], value, rel_tol=1e-12, abs_tol=small), (name, got, want)
            else:
                assert got[name] == value, (name, got, want)
