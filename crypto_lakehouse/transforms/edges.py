"""Rows of daily files that lie one step outside of their file's day: which they are, and to which day they belong.

An archive cuts some types by another clock than the one that rows are labelled with: metrics files that run from 00:05
to 00:00 of the next day, changes of the order book that are filed by the time at which they were sent. A row belongs
to the day of its own time, whichever file has it. Here belong the types whose rows may do so, with one step of each,
and how rows are parted. Rows further outside are refused by the cleaners. Which partitions are read is in
``pipeline/neighbours.py``.

Candles and trades are not among these types. A candle states both of its ends, a trade has one time, and the archive
files both by it: in no file that was looked at does one lie outside, and what is reported (rows of the day before, in
https://github.com/binance/binance-public-data/issues/203) are whole stretches that the right file has as well. Funding
files are monthly, and their times are never before the hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from crypto_lakehouse.transforms.clean import FILE_OFFSET, epoch_to_time, midnight, text_to_time
from crypto_lakehouse.transforms.futures import LABEL_REACH, METRICS_PERIOD, metrics_label, with_label_ends
from crypto_lakehouse.transforms.options import summary_time

_SECONDS = "%Y-%m-%d %H:%M:%S"
# Of events, what two clocks of the exchange may differ by; and at least one step of book_depth and volatility_index.
_MINUTE = timedelta(minutes=1)
_INSTANT = timedelta(microseconds=1)
_TICKS_A_SECOND = (10**3, 10**6, 10**9)

Span = tuple[Any, Any] | None
"""The least and greatest value of a column in some rows; None where it has none."""


@dataclass(frozen=True, slots=True)
class EdgeRule:
    """How rows of a type may lie outside of their file's day.

    ``time`` is the time that decides the day, from the columns of the file; rows of up to one ``step`` outside
    belong to the neighbouring day. ``column`` holds that time as the file has it: text of the ``form``, or, where that
    is None, numbers. Times that are rounded to steps are up to ``reach`` after it. ``with_facts`` adds what the cleaner
    has to know of a whole file before its rows are parted.
    """

    column: str
    time: pl.Expr
    step: timedelta
    form: str | None = None
    reach: timedelta = timedelta(0)
    with_facts: Callable[[pl.DataFrame, date, date], pl.DataFrame] | None = None

    def may_have(self, span: Span, start: datetime, end: datetime) -> bool:
        """Whether rows whose ``column`` has this span may have a time within [start, end)."""
        if span is None:
            return False
        low, high = start - self.reach, end - self.reach - _INSTANT
        if self.form is not None:
            return bool(span[0] <= high.strftime(self.form) and span[1] >= low.strftime(self.form))
        return any(
            span[0] <= high.timestamp() * ticks and span[1] >= low.timestamp() * ticks for ticks in _TICKS_A_SECOND
        )

    def visiting(self, start: date, end: date, offset: int) -> tuple[datetime, datetime]:
        """Times within the partition [start, end) that rows of the file before (-1) or after it (1) may have."""
        first, last = midnight(start), midnight(end)
        return (first, first + self.step) if offset < 0 else (last - self.step, last)

    def leaving(self, start: date, end: date) -> list[tuple[datetime, datetime]]:
        """Times outside of the partition [start, end) with which rows of its own file belong to a neighbour."""
        first, last = midnight(start), midnight(end)
        return [(first - self.step, first), (last, last + self.step)]


EDGE_RULES: Mapping[str, EdgeRule] = {
    "open_interest": EdgeRule(
        "create_time", metrics_label(), METRICS_PERIOD, _SECONDS, LABEL_REACH, with_facts=with_label_ends
    ),
    "book_depth": EdgeRule("timestamp", text_to_time(pl.col("timestamp")), _MINUTE, _SECONDS),
    "book_ticker": EdgeRule("transaction_time", epoch_to_time("transaction_time"), _MINUTE),
    "liquidations": EdgeRule("time", epoch_to_time("time"), _MINUTE),
    "volatility_index": EdgeRule("calc_time", epoch_to_time("calc_time"), _MINUTE),
    "option_summaries": EdgeRule("date", summary_time(), timedelta(hours=1), "%Y-%m-%d"),
}
"""The types whose rows may touch midnight, by the names of their silver schemas."""


def own_rows(bronze: pl.DataFrame, rule: EdgeRule, start: date, end: date) -> pl.DataFrame:
    """Rows of the partition's own files [start, end), without those that belong to a neighbour."""
    marked = _marked(bronze, rule, start, end, 0)
    return marked.filter(~_any_within(rule.time, rule.leaving(start, end)))


def visiting_rows(bronze: pl.DataFrame, rule: EdgeRule, start: date, end: date, offset: int) -> pl.DataFrame:
    """Rows of the files of the partition before (-1) or after (1) that belong to the partition [start, end)."""
    days = (end - start) * offset
    marked = _marked(bronze, rule, start + days, end + days, offset)
    return marked.filter(_any_within(rule.time, [rule.visiting(start, end, offset)]))


def _marked(bronze: pl.DataFrame, rule: EdgeRule, start: date, end: date, offset: int) -> pl.DataFrame:
    known = rule.with_facts(bronze, start, end) if rule.with_facts else bronze
    return known.with_columns(pl.lit(offset, pl.Int8).alias(FILE_OFFSET))


def _any_within(time: pl.Expr, ranges: Iterable[tuple[datetime, datetime]]) -> pl.Expr:
    return pl.any_horizontal(time.is_between(*one, closed="left").fill_null(False) for one in ranges)
