"""Find the minutes of a day that the archive does not have, and say why: from rows, files, trades and REST answers.

``reason_of`` is the rule for one stretch. Pure: the pipeline reads the evidence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

import polars as pl

from crypto_lakehouse.schemas.missing_minutes import MISSING_MINUTES

HALT_SYMBOLS = 3
"""So many symbols of a market must be missing together, so that a minute counts as a halt of the exchange."""

_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)
_TIME = pl.Datetime("us", "UTC")
_REST = "rest"
_FLAGS = ("is_edge", "is_refused", "is_rest", "is_traded", "is_halt", "is_empty")


class Reason(StrEnum):
    """Why minutes have no row in the archive."""

    NOT_LISTED = "not_listed"
    NOT_FETCHED = "not_fetched"
    ARCHIVE_HOLE = "archive_hole"
    NOT_YET_PUBLISHED = "not_yet_published"
    EXCHANGE_HALT = "exchange_halt"
    NO_TRADES = "no_trades"
    LOST = "lost"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Listing:
    """A symbol on a day: whether it is its first, or its last one; and, if it has no row, why its file is not here.

    ``file`` are a reason and its evidence.
    """

    is_first_day: bool = False
    is_last_day: bool = False
    file: tuple[Reason, Mapping[str, Any]] | None = None


def _frame(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame(schema=columns)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a day besides its rows.

    Attributes
    ----------
    listings
        Every symbol that was listed on the day.
    refused
        Minutes whose rows of files this lake has quarantined: symbol, open_time.
    refused_rest
        The same of rows of REST.
    traded
        Minutes with trades: symbol, open_time, first_id, last_id; None if the lake has no trades of the day.
    ids_before
        The last ids of the day before: symbol, last_id.
    trades_table
        The table of these trades.
    other_file
        Rows that only the other file of the day has: symbol, rows.
    empty
        Times for which REST has confirmed that it has no row: symbol, start, end.
    """

    listings: Mapping[str, Listing]
    refused: pl.DataFrame = field(default_factory=lambda: _frame(symbol=pl.String, open_time=_TIME))
    refused_rest: pl.DataFrame = field(default_factory=lambda: _frame(symbol=pl.String, open_time=_TIME))
    traded: pl.DataFrame | None = None
    ids_before: pl.DataFrame = field(default_factory=lambda: _frame(symbol=pl.String, last_id=pl.Int64))
    trades_table: str = ""
    other_file: pl.DataFrame = field(default_factory=lambda: _frame(symbol=pl.String, rows=pl.Int64))
    empty: pl.DataFrame = field(default_factory=lambda: _frame(symbol=pl.String, start=_TIME, end=_TIME))


@dataclass(frozen=True, slots=True)
class Stretch:
    """The facts about missing minutes of a symbol that follow one another.

    ``present`` counts the symbols with rows on the day. ``before_id`` and ``after_id`` are the ids of the trades around
    the stretch; None if they are not known. ``other_rows`` are rows that only the other file of the day has, and
    ``day_minutes`` all missing minutes of the symbol on the day.
    """

    minutes: int
    day_minutes: int
    listing: Listing = Listing()
    is_edge: bool = False
    is_refused: bool = False
    is_rest: bool = False
    is_traded: bool = False
    is_halt: bool = False
    is_empty: bool = False
    present: int = 0
    other_rows: int = 0
    before_id: int | None = None
    after_id: int | None = None
    trades_table: str = ""


def reason_of(stretch: Stretch) -> tuple[Reason, Mapping[str, Any]]:
    """The reason and its evidence. Of several reasons that hold, the first in the order below is given.

    >>> reason_of(Stretch(minutes=5, day_minutes=5, before_id=41, after_id=42, trades_table="trades"))[0].value
    'no_trades'
    """
    ids = {"table": stretch.trades_table, "before_id": stretch.before_id, "after_id": stretch.after_id}
    if stretch.is_edge:
        return Reason.NOT_LISTED, {"day": "first" if stretch.listing.is_first_day else "last"}
    file = stretch.listing.file
    if file is not None and file[0] is Reason.NOT_FETCHED:
        return file
    if stretch.is_refused:
        return Reason.NOT_FETCHED, {"quarantined_rows": stretch.minutes}
    if stretch.is_rest:
        return Reason.ARCHIVE_HOLE, {"rest_rows": stretch.minutes}
    if stretch.is_traded:
        return Reason.ARCHIVE_HOLE, {"table": stretch.trades_table, "minutes_with_trades": stretch.minutes}
    # The number alone does not say which minutes the other file has, unless it has all of them.
    if stretch.other_rows and stretch.other_rows >= stretch.day_minutes:
        return Reason.ARCHIVE_HOLE, {"rows_of_the_other_file": stretch.other_rows}
    if file is not None:
        return file
    if stretch.is_halt:
        return Reason.EXCHANGE_HALT, {"symbols": stretch.present}
    if stretch.before_id is not None and stretch.after_id == stretch.before_id + 1:
        return Reason.NO_TRADES, ids
    known = {} if stretch.before_id is None or stretch.after_id is None else ids
    return (Reason.LOST, {"rest": "empty", **known}) if stretch.is_empty else (Reason.UNKNOWN, known)


def missing_minutes(day: date, rows: pl.DataFrame, evidence: Evidence) -> pl.DataFrame:
    """The missing minutes (MISSING_MINUTES) of a UTC day.

    ``rows`` are the day's silver.klines_1m: symbol, open_time, source. Rows from REST are not rows of the archive.
    """
    start = datetime.combine(day, time(), UTC)
    archived = rows.filter(pl.col("source") != _REST).select("symbol", "open_time").unique()
    calendar = pl.DataFrame(
        {"open_time": pl.datetime_range(start, start + _DAY, _MINUTE, closed="left", time_unit="us", eager=True)}
    )
    counts = archived.group_by("symbol").agg(rows=pl.len())
    whole = set(counts.filter(pl.col("rows") >= calendar.height)["symbol"])
    symbols = sorted({*evidence.listings, *rows["symbol"]} - whole)
    if not symbols:
        return pl.DataFrame(MISSING_MINUTES.empty())
    missing = (
        pl.DataFrame({"symbol": symbols})
        .join(calendar, how="cross")
        .join(archived, on=["symbol", "open_time"], how="anti", maintain_order="left")
    )
    flagged = missing.with_columns(
        _edge(missing, rows, evidence),
        _in(missing, evidence.refused).alias("is_refused"),
        (_in(missing, rows.filter(pl.col("source") == _REST)) | _in(missing, evidence.refused_rest)).alias("is_rest"),
        (pl.lit(False) if evidence.traded is None else _in(missing, evidence.traded)).alias("is_traded"),
        _halt(missing, archived, counts.height),
        _confirmed(missing, evidence.empty),
    )
    stretches = _with_ids(_stretches(flagged), evidence)
    of_day = dict(missing.group_by("symbol").len().iter_rows())
    others = dict(evidence.other_file.iter_rows())
    found: list[tuple[str, datetime, datetime, int, str, str]] = []
    for row in stretches.iter_rows(named=True):
        symbol = row["symbol"]
        facts = {name: row[name] for name in (*_FLAGS, "minutes", "before_id", "after_id")}
        listing = evidence.listings.get(symbol, Listing())
        reason, why = reason_of(
            Stretch(
                day_minutes=of_day[symbol],
                listing=listing,
                present=counts.height,
                other_rows=others.get(symbol, 0),
                trades_table=evidence.trades_table,
                **facts,
            )
        )
        text = json.dumps(why, default=str)
        # The facts may change where the reason does not.
        if found and found[-1][::2] == (symbol, row["start"], reason.value) and found[-1][5] == text:
            _, start, _, minutes, *_ = found.pop()
            found.append((symbol, start, row["end"], minutes + row["minutes"], reason.value, text))
        else:
            found.append((symbol, row["start"], row["end"], row["minutes"], reason.value, text))
    table = pl.DataFrame(found, schema=pl.DataFrame(MISSING_MINUTES.empty()).schema, orient="row")
    return table.sort(MISSING_MINUTES.primary_key)


def _in(minutes: pl.DataFrame, other: pl.DataFrame) -> pl.Series:
    """Whether each minute of each symbol is in ``other``."""
    marks = other.select("symbol", "open_time", is_in=True).unique()
    joined = minutes.join(marks, on=["symbol", "open_time"], how="left", maintain_order="left")
    return joined["is_in"].fill_null(False)


def _edge(missing: pl.DataFrame, rows: pl.DataFrame, evidence: Evidence) -> pl.Series:
    """Whether each minute is before the first row of a symbol's first day, or after the last row of its last day."""
    spans = rows.group_by("symbol").agg(first=pl.col("open_time").min(), last=pl.col("open_time").max())
    days = pl.DataFrame(
        [(symbol, each.is_first_day, each.is_last_day) for symbol, each in evidence.listings.items()],
        schema={"symbol": pl.String, "is_first_day": pl.Boolean, "is_last_day": pl.Boolean},
        orient="row",
    )
    known = missing.join(spans, on="symbol", how="left", maintain_order="left").join(
        days, on="symbol", how="left", maintain_order="left"
    )
    before = pl.col("is_first_day") & (pl.col("open_time") < pl.col("first"))
    after = pl.col("is_last_day") & (pl.col("open_time") > pl.col("last"))
    return known.select(is_edge=(before | after).fill_null(False)).to_series()


def _halt(missing: pl.DataFrame, archived: pl.DataFrame, present: int) -> pl.Series:
    if present < HALT_SYMBOLS:
        return pl.repeat(False, missing.height, eager=True).alias("is_halt")
    return (~missing["open_time"].is_in(archived["open_time"].unique().implode())).alias("is_halt")


def _confirmed(missing: pl.DataFrame, empty: pl.DataFrame) -> pl.Series:
    """Whether each minute lies within one of the times of its symbol, which may overlap."""
    spans = empty.sort("symbol", "start").with_columns(pl.col("end").cum_max().over("symbol"))
    joined = missing.with_row_index("n").join_asof(
        spans.sort("start"),
        left_on="open_time",
        right_on="start",
        by="symbol",
        strategy="backward",
        check_sortedness=False,
    )
    return joined.sort("n").select(is_empty=(pl.col("open_time") < pl.col("end")).fill_null(False)).to_series()


def _stretches(flagged: pl.DataFrame) -> pl.DataFrame:
    """Join minutes that follow one another and have the same flags: symbol, start, end, minutes and the flags."""
    joins = (pl.col("open_time") - pl.col("open_time").shift()) == _MINUTE
    same = [pl.col(name) == pl.col(name).shift() for name in ("symbol", *_FLAGS)]
    number = (~pl.all_horizontal(joins, *same).fill_null(False)).cum_sum().alias("number")
    return (
        flagged.group_by("symbol", *_FLAGS, number, maintain_order=True)
        .agg(start=pl.col("open_time").first(), minutes=pl.len().cast(pl.Int64))
        .with_columns(end=pl.col("start") + pl.col("minutes") * _MINUTE)
        .drop("number")
    )


def _with_ids(stretches: pl.DataFrame, evidence: Evidence) -> pl.DataFrame:
    """Add the ids of the trades before and after each stretch; null where they are not known."""
    if evidence.traded is None:
        return stretches.with_columns(before_id=pl.lit(None, pl.Int64), after_id=pl.lit(None, pl.Int64))
    traded = evidence.traded.sort("open_time")
    earlier = traded.select("symbol", at="open_time", before_id="last_id")
    later = traded.select("symbol", at="open_time", after_id="first_id")
    around = (
        stretches.sort("start")
        .join_asof(
            earlier,
            left_on="start",
            right_on="at",
            by="symbol",
            strategy="backward",
            allow_exact_matches=False,
            check_sortedness=False,
            coalesce=True,
        )
        .drop("at", strict=False)
        .sort("end")
        .join_asof(later, left_on="end", right_on="at", by="symbol", strategy="forward", check_sortedness=False)
        .drop("at", strict=False)
        .join(evidence.ids_before, on="symbol", how="left")
    )
    return around.with_columns(before_id=pl.coalesce("before_id", "last_id")).sort("symbol", "start")
