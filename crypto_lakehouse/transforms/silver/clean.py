"""The cleaning that all silver tables share: times, rules that reject rows, and one row per primary key.

``clean`` applies the columns and rules of a table; the table's own module defines them (``klines.py``, ``trades.py``,
``book.py`` ...).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import NamedTuple

import polars as pl

from crypto_lakehouse.catalog import Cadence, Feed, Market
from crypto_lakehouse.schemas import Schema

SOURCE_COLUMNS = ("symbol", "source_key", "source_sha256", "source_line")
REJECTED_COLUMNS = (*SOURCE_COLUMNS, "reason", "detail", "raw")
REJECTED_TYPES = {name: pl.Int64 if name == "source_line" else pl.String for name in REJECTED_COLUMNS}

# Canonical columns get this prefix and are added to the file's columns: both may have a price or a time, and rejected
# rows need the file's columns as their text.
_PREFIX = "canonical_"
TEXT_TIME = "time of the form YYYY-MM-DD HH:MM:SS"

FILE_OFFSET = "file_offset"
"""A temporary column of bronze rows: the distance in partitions from a row's own partition to that of its file, -1, 0
or 1 (``edges.py``). Without it, all rows come from files of their own partition.
"""

_TEXT_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-5][0-9]$"


@dataclass(frozen=True, slots=True)
class Rule:
    """A reason to reject a row: ``broken`` is true or null for rows that break the rule."""

    reason: str
    broken: pl.Expr
    detail: str


@dataclass(frozen=True, slots=True)
class Cleaned:
    """``rows``: canonical columns, one row per primary key, sorted by it. ``rejected``: REJECTED_COLUMNS.

    ``sources`` has SOURCE_COLUMNS of the bronze row that each row of ``rows`` was made of, in the same order.
    ``expressions`` are the columns of ``rows`` as expressions of the file's columns.
    """

    rows: pl.DataFrame
    rejected: pl.DataFrame
    sources: pl.DataFrame
    expressions: Mapping[str, pl.Expr]


class _Split(NamedTuple):
    """Bronze rows with canonical columns, and the rows that are left out of them: REJECTED_COLUMNS."""

    rows: pl.DataFrame
    rejected: pl.DataFrame


def clean(
    bronze: pl.DataFrame,
    feed: Feed,
    schema: Schema,
    *,
    columns: Mapping[str, pl.Expr],
    rules: Sequence[Rule],
    prefer: Sequence[pl.Expr] = (),
    preferred: str,
) -> Cleaned:
    """Silver rows of ``schema`` from bronze rows of the feed.

    The result does not depend on the order of rows. A row of a neighbouring partition's file (``FILE_OFFSET``) never
    replaces a row of the partition's own files: it is rejected as ``duplicate``.

    Parameters
    ----------
    bronze
        Rows of one partition, or a part of them with all rows of each primary key.
    columns
        The schema's columns as expressions of the file's columns; ``symbol`` and ``source`` are added.
    rules
        A row that breaks rules is rejected with the reason of the first of them. ``rules`` and ``prefer`` refer to the
        file's columns by name and to the schema's columns by ``canonical(name)``.
    prefer
        Of several rows with one key, the row with the greatest values, in this order, is kept; of equal rows the last
        in (source_key, source_line). The others are rejected: as ``duplicate`` if they equal the kept row, else as
        ``duplicate_conflict``.
    preferred
        The text of that order, as the detail of ``duplicate_conflict``.
    """
    expressions = {"symbol": pl.col("symbol"), "source": _source(feed), **columns}
    if expressions.keys() != set(schema.column_names):
        different = ", ".join(sorted(expressions.keys() ^ set(schema.column_names)))
        raise ValueError(
            f"the cleaner of {feed.name} and the schema {schema.name} have not the same columns: {different} is in only"
            " one of them"
        )
    frame = bronze.with_columns(expressions[name].alias(_PREFIX + name) for name in schema.column_names)
    raw_columns = feed.file_format.column_names
    split = _split_by_rules(frame, rules, raw_columns)
    kept = _one_row_per_key(split.rows, schema, prefer, preferred, raw_columns)
    rows = kept.rows.select(canonical(name).alias(name) for name in schema.column_names)
    return Cleaned(rows, pl.concat([split.rejected, kept.rejected]), kept.rows.select(SOURCE_COLUMNS), expressions)


def canonical(name: str) -> pl.Expr:
    """The schema's column ``name``, for the rules and the order of ``clean``."""
    return pl.col(_PREFIX + name)


def epoch_to_time(column: str) -> pl.Expr:
    """Integers since the Unix epoch as ``Datetime(us, UTC)``; the size of each value decides its unit.

    Values of 10^12 up to 10^13 are milliseconds, 10^15 up to 10^16 microseconds, 10^18 up to 9 * 10^18 nanoseconds; all
    others give null. In milliseconds that is 2001-09-09 to 2286-11-20.
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


def text_to_time(text: pl.Expr) -> pl.Expr:
    """Text ``YYYY-MM-DD HH:MM:SS``, UTC, as ``Datetime(us, UTC)``; any other text, also 24:00:00, gives null.

    >>> pl.select(text_to_time(pl.lit("2026-06-25 00:05:00"))).item().isoformat()
    '2026-06-25T00:05:00+00:00'
    """
    # The parser alone would also accept one-digit months, blanks and leap seconds.
    strict = pl.when(text.str.contains(_TEXT_TIME)).then(text)
    return strict.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False).dt.replace_time_zone("UTC")


def contract_size(market: Market, symbols: pl.Series) -> pl.Expr:
    """The USD value of one contract of each row's ``symbol``, on an inverse market, for rows of these symbols."""
    sizes = {symbol: market.contract_size(symbol) for symbol in symbols.unique()}
    if len(distinct := set(sizes.values())) <= 1:
        return pl.lit(next(iter(distinct), None), pl.Float64)
    return pl.col("symbol").replace_strict(sizes, return_dtype=pl.Float64)


def whole_contracts(column: str) -> tuple[pl.Expr, Rule]:
    """The file's number of contracts as an integer, and the rule that the number is whole."""
    number = pl.col(column).cast(pl.Int64, strict=False)
    return number, Rule("contracts_not_whole", pl.col(column) != number, f"{column}, contracts, is no whole number")


def time_rules(times: Mapping[str, pl.Expr], first: date, end: date, form: str = "time in ms, us or ns") -> list[Rule]:
    """The rules ``bad_time`` (a time is null because its text does not have the ``form``) and ``outside_partition``
    (the first of ``times`` is not within the UTC days [first, end)). ``times`` are given by their names in the file.
    """
    name, time = next(iter(times.items()))
    return [
        Rule(
            "bad_time",
            pl.any_horizontal(t.is_null() for t in times.values()),
            f"{' or '.join(times)} is no {form}",
        ),
        Rule(
            "outside_partition",
            ~within(time, first, end),
            f"{name} is not within [{first}, {end}) UTC, which the file is named for",
        ),
    ]


def file_symbol_rule(column: str) -> Rule:
    """The rule that the symbol in a row is the symbol of its file."""
    return Rule("foreign_symbol", pl.col(column) != pl.col("symbol"), f"{column} is another than the file is named for")


def value_rules(finite: Sequence[pl.Expr], not_negative: Sequence[pl.Expr]) -> list[Rule]:
    """Rules for values that may be null: ``not_finite`` and ``negative_value``."""
    return [
        Rule(
            "not_finite",
            ~pl.all_horizontal(v.is_finite().fill_null(True) for v in finite),
            "a value is NaN or infinite",
        ),
        Rule(
            "negative_value", pl.any_horizontal((v < 0).fill_null(False) for v in not_negative), "a value is negative"
        ),
    ]


def within(time: pl.Expr, first: date, end: date) -> pl.Expr:
    """Whether the time lies on the UTC days [first, end)."""
    return time.is_between(midnight(first), midnight(end), closed="left")


def midnight(day: date) -> datetime:
    """00:00 UTC of the day."""
    return datetime.combine(day, time(), UTC)


def source_name(cadence: Cadence) -> str:
    """Value of the silver column ``source`` for rows of archive files of that cadence."""
    return f"archive_{cadence}"


def _source(feed: Feed) -> pl.Expr:
    name = pl.lit(source_name(feed.cadence))
    if not feed.monthly_folder:
        return name
    is_monthly = pl.col("source_key").str.starts_with(feed.monthly_folder)
    return pl.when(is_monthly).then(pl.lit(source_name(Cadence.MONTHLY))).otherwise(name)


def _split_by_rules(frame: pl.DataFrame, rules: Sequence[Rule], raw_columns: Sequence[str]) -> _Split:
    """Part the rows that break no rule from the others, which get the first rule that they break."""
    broken = [rule.broken.fill_null(True) for rule in rules]
    refused = frame.select(pl.any_horizontal(broken)).to_series()
    if not refused.any():
        return _Split(frame, pl.DataFrame(schema=REJECTED_TYPES))

    def first_of(texts: Iterator[str]) -> pl.Expr:
        return pl.coalesce(pl.when(b).then(pl.lit(text)) for b, text in zip(broken, texts, strict=True))

    bad = frame.filter(refused).with_columns(
        first_of(rule.reason for rule in rules).alias("reason"), first_of(rule.detail for rule in rules).alias("detail")
    )
    return _Split(frame.filter(~refused), _rejected(bad, raw_columns))


def _one_row_per_key(
    frame: pl.DataFrame, schema: Schema, prefer: Sequence[pl.Expr], preferred: str, raw_columns: Sequence[str]
) -> _Split:
    key = [canonical(name) for name in schema.primary_key]
    nothing = pl.DataFrame(schema=REJECTED_TYPES)
    # Nearly all files are in order and have no duplicates: checking that is much cheaper than sorting.
    if frame.select(_rises(key)).item():
        return _Split(frame, nothing)
    own = [pl.col(FILE_OFFSET) == 0] if FILE_OFFSET in frame.columns else []
    order = [*own, *prefer, pl.col("source_key"), pl.col("source_line")]
    ranked = frame.sort([*key, *order], descending=[False] * len(key) + [True] * len(order))
    first = pl.any_horizontal(k.ne_missing(k.shift()) for k in key)
    marked = ranked.with_columns(first.alias("_kept"), (first.cum_sum() - 1).alias("_place"))
    kept, left_out = marked.filter("_kept"), marked.filter(~pl.col("_kept"))
    if left_out.is_empty():
        return _Split(kept, nothing)
    winners = kept[left_out["_place"]]
    values = [_PREFIX + name for name in schema.column_names]
    same = pl.all_horizontal(pl.lit(left_out[v].eq_missing(winners[v])) for v in values)
    visits = pl.lit((left_out[FILE_OFFSET] != 0) & (winners[FILE_OFFSET] == 0)) if own else pl.lit(False)
    bad = left_out.with_columns(same.alias("_same"), visits.alias("_visits")).with_columns(
        pl.when(pl.col("_same") | pl.col("_visits"))
        .then(pl.lit("duplicate"))
        .otherwise(pl.lit("duplicate_conflict"))
        .alias("reason"),
        pl.when("_same")
        .then(pl.lit("the same row again"))
        .when("_visits")
        .then(pl.lit("the file of this date has a row with the same key"))
        .otherwise(pl.lit(preferred))
        .alias("detail"),
    )
    return _Split(kept, _rejected(bad, raw_columns))


def _rises(key: Sequence[pl.Expr]) -> pl.Expr:
    """Whether each row's key is greater than that of the row before, compared column by column."""
    rises = pl.lit(False)
    for column in reversed(key):
        before = column.shift()
        rises = (column > before) | ((column == before) & rises)
    return rises.slice(1).all()


def _rejected(bad: pl.DataFrame, raw_columns: Sequence[str]) -> pl.DataFrame:
    raw = pl.concat_str([pl.col(c).cast(pl.String).fill_null("") for c in raw_columns], separator=",")
    return bad.with_columns(raw.alias("raw")).select(REJECTED_COLUMNS)
