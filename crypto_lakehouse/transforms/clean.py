"""What all silver tables share: time units, rules that reject rows, and one row per primary key.

The rules of a table are in its own module (``klines.py``, ``funding.py``); how rules and duplicates
are carried out is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

import polars as pl

from crypto_lakehouse.catalog import Feed

SOURCE_COLUMNS = ("symbol", "source_key", "source_sha256", "source_line")
REJECTED_COLUMNS = (*SOURCE_COLUMNS, "reason", "detail", "raw")


@dataclass(frozen=True, slots=True)
class Rule:
    """A reason to refuse a row: ``broken`` is true (or null) on rows that break the rule."""

    reason: str
    broken: pl.Expr
    detail: str


@dataclass(frozen=True, slots=True)
class Cleaned:
    """``rows``: canonical columns, one row per primary key, sorted by it. ``rejected``: REJECTED_COLUMNS."""

    rows: pl.DataFrame
    rejected: pl.DataFrame


def epoch_to_time(column: str) -> pl.Expr:
    """Integer since the Unix epoch to ``Datetime(us, UTC)``; the unit is told per row by its size.

    10^12 up to 10^13 is milliseconds, 10^15 up to 10^16 microseconds, 10^18 up to 9 * 10^18
    nanoseconds; all else is null. In milliseconds that is 2001-09-09 to 2286-11-20.
    """
    value = pl.col(column)
    micros = (
        pl.when(value.is_between(10**12, 10**13, closed="left"))
        .then(value * 1000)
        .when(value.is_between(10**15, 10**16, closed="left"))
        .then(value)
        .when(value >= 10**18)
        .then(value // 1000)
    )
    return micros.cast(pl.Datetime("us", "UTC"))


def split_by_rules(frame: pl.DataFrame, rules: Sequence[Rule], raw_columns: Sequence[str]) -> Cleaned:
    """Part the rows that break no rule from the others, which get the first rule that they break."""
    reason = pl.coalesce(
        pl.when(rule.broken.fill_null(True)).then(pl.lit(rule.reason)).otherwise(None) for rule in rules
    )
    marked = frame.with_columns(reason.alias("reason"))
    good = marked.filter(pl.col("reason").is_null()).drop("reason")
    bad = marked.filter(pl.col("reason").is_not_null())
    details = {rule.reason: rule.detail for rule in rules}
    return Cleaned(good, _rejected(bad, pl.col("reason").replace_strict(details, return_dtype=pl.String), raw_columns))


def one_row_per_key(
    frame: pl.DataFrame,
    key: Sequence[str],
    prefer: Sequence[str],
    values: Sequence[str],
    raw_columns: Sequence[str],
    rule: str,
) -> Cleaned:
    """Keep one row per ``key``: the greatest in the ``prefer`` columns, in their order.

    Ties go to the row that stands last in (source_key, source_line), so the result does not depend
    on the order of rows. Rows that are left out are rejected as ``duplicate`` where their ``values``
    equal the kept row's, else as ``duplicate_conflict``, whose detail is ``rule`` in words.
    """
    order = [*prefer, "source_key", "source_line"]
    ranked = frame.sort([*key, *order], descending=[False] * len(key) + [True] * len(order))
    first = pl.struct(key).is_first_distinct()
    if ranked.select(first.all()).item():
        return Cleaned(ranked, _rejected(ranked.clear().with_columns(reason=pl.lit("")), pl.lit(""), raw_columns))
    same = pl.all_horizontal(pl.col(v).eq_missing(pl.col(v).first().over(key)) for v in values)
    marked = ranked.with_columns(
        first.alias("_kept"),
        pl.when(same).then(pl.lit("duplicate")).otherwise(pl.lit("duplicate_conflict")).alias("reason"),
    )
    detail = pl.when(pl.col("reason") == "duplicate").then(pl.lit("the same row again")).otherwise(pl.lit(rule))
    bad = marked.filter(~pl.col("_kept"))
    return Cleaned(marked.filter("_kept").drop("_kept", "reason"), _rejected(bad, detail, raw_columns))


def _rejected(bad: pl.DataFrame, detail: pl.Expr, raw_columns: Sequence[str]) -> pl.DataFrame:
    raw = pl.concat_str([pl.col(c).cast(pl.String).fill_null("") for c in raw_columns], separator=",")
    return bad.with_columns(detail.alias("detail"), raw.alias("raw")).select(REJECTED_COLUMNS)


def midnight(day: date) -> datetime:
    """00:00 UTC of the day."""
    return datetime.combine(day, time(), UTC)


def source_name(feed: Feed) -> str:
    """Value of the silver column ``source`` for rows of the feed's archive files."""
    return f"archive_{feed.cadence}"
