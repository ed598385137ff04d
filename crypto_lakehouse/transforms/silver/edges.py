"""Find rows of daily files that lie one step outside of their file's day, and assign them to the day of their time.

An archive cuts some types by another clock than the one that labels the rows: metrics files run from 00:05 to 00:00 of
the next day, and order book changes are filed by the time at which they were sent. A row belongs to the day of its own
time, whichever file has it. This module lists the types with such rows, with one step for each, and separates their
rows. The cleaners reject rows further outside. ``pipeline/neighbours.py`` chooses the partitions to read.

Candles and trades are not among these types. A candle has both of its ends, a trade has one time, and the archive files
both by it. No inspected file has one outside of its day, and the reported cases (rows of the day before, in
https://github.com/binance/binance-public-data/issues/203) are long runs that the right file has too. Funding files are
monthly, and their times are never before the hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from crypto_lakehouse.transforms.silver.clean import FILE_OFFSET, epoch_to_time, midnight, text_to_time
from crypto_lakehouse.transforms.silver.futures import LABEL_REACH, METRICS_PERIOD, metrics_label, with_label_ends
from crypto_lakehouse.transforms.silver.options import summary_time

_SECONDS = "%Y-%m-%d %H:%M:%S"
# For events, the largest difference of two clocks of the exchange; also at least one step of book_depth and
# volatility_index.
_MINUTE = timedelta(minutes=1)
_INSTANT = timedelta(microseconds=1)
_TICKS_A_SECOND = (10**3, 10**6, 10**9)

Span = tuple[Any, Any] | None
"""The least and greatest value of a column in some rows; None if it has no value."""


@dataclass(frozen=True, slots=True)
class EdgeRule:
    """How far rows of a type may lie outside of their file's day.

    ``time`` computes the time that decides the day, from the columns of the file. Rows up to one ``step`` outside
    belong to the neighbouring day. ``column`` has that time as written in the file: text of the ``form``, or numbers if
    ``form`` is None. A time that is rounded to steps is up to ``reach`` after the written one. ``with_facts`` adds
    facts about a whole file that the cleaner needs, before its rows are separated.
    """

    column: str
    time: pl.Expr
    step: timedelta
    form: str | None = None
    reach: timedelta = timedelta(0)
    with_facts: Callable[[pl.DataFrame, date, date], pl.DataFrame] | None = None

    def may_have(self, span: Span, start: datetime, end: datetime) -> bool:
        """Whether rows whose ``column`` has this range of values may have a time within [start, end)."""
        if span is None:
            return False
        low, high = start - self.reach, end - self.reach - _INSTANT
        if self.form is not None:
            return bool(span[0] <= high.strftime(self.form) and span[1] >= low.strftime(self.form))
        return any(
            span[0] <= high.timestamp() * ticks and span[1] >= low.timestamp() * ticks for ticks in _TICKS_A_SECOND
        )

    def visiting(self, start: date, end: date, offset: int) -> tuple[datetime, datetime]:
        """The times [first, last) within the partition [start, end) that rows of the file before (-1) or after (1) it
        may have.
        """
        first, last = midnight(start), midnight(end)
        return (first, first + self.step) if offset < 0 else (last - self.step, last)

    def leaving(self, start: date, end: date) -> list[tuple[datetime, datetime]]:
        """The times outside of the partition [start, end) at which rows of its own file belong to a neighbour."""
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
"""The types whose rows may cross midnight, by the names of their silver schemas."""


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
    return pl.any_horizontal(time.is_between(*bounds, closed="left").fill_null(False) for bounds in ranges)
