"""Instruments of a market from the days that its archive lists, as known on any day.

This module defines one instrument: where a listing of a symbol ends and the next one starts, and which symbol
continues another. ``catalog/instruments.py`` parses symbol names; ``catalog/listings.py`` has known relistings and
renames.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import date, timedelta
from functools import cache
from itertools import pairwise

import polars as pl

from crypto_lakehouse.catalog import Market
from crypto_lakehouse.catalog.instruments import SymbolFacts, parse_symbol
from crypto_lakehouse.catalog.listings import RELIST_HOLE_DAYS, RELISTINGS, RENAMES
from crypto_lakehouse.schemas.instruments import INSTRUMENTS

Run = tuple[date, date]
_DAY = timedelta(days=1)
_FACTS = [field.name for field in fields(SymbolFacts)]
_OF_SYMBOL = (*_FACTS, "old_symbol", "new_symbol")


def runs_of(days: Iterable[date]) -> list[Run]:
    """Ascending days as runs without a hole: the first and the last day of each, both inclusive.

    >>> runs_of([date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 5)])
    [(datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)), (datetime.date(2024, 1, 5), datetime.date(2024, 1, 5))]
    """
    runs: list[Run] = []
    for day in days:
        if runs and runs[-1][1] + _DAY == day:
            runs[-1] = (runs[-1][0], day)
        else:
            runs.append((day, day))
    return runs


def numbered_runs(market: Market, runs: Mapping[str, Sequence[Run]]) -> pl.DataFrame:
    """One row per run of a symbol's days, with the number of its listing and the facts in the symbol's name.

    ``runs`` are ascending, as ``runs_of`` returns them. The number of a listing depends only on earlier days.
    """
    rows = []
    for symbol in sorted(runs):
        facts = parse_symbol(market, symbol)
        known = tuple(getattr(facts, name) for name in _FACTS)
        others = _renamed(market, facts)
        for number, (first, last) in _numbered(runs[symbol], _relistings(market, facts)):
            rows.append((*known, *others, number, first, last))
    return pl.DataFrame(rows, schema=_numbered_types(), orient="row")


def instruments(market: Market, numbered: pl.DataFrame, on: date) -> pl.DataFrame:
    """The rows of gold.instruments for the day ``on``, from ``numbered_runs``, without facts of later days."""
    known = (
        numbered.filter(pl.col("first_day") <= on)
        .with_columns(last_day=pl.min_horizontal("last_day", pl.lit(on)))
        .group_by("symbol", "listing", maintain_order=True)
        .agg(
            *(pl.col(name).first() for name in _OF_SYMBOL if name != "symbol"),
            pl.col("first_day").min(),
            pl.col("last_day").max(),
        )
    )
    first_days = known.select("symbol", "first_day").group_by("symbol").agg(first_traded=pl.col("first_day").min())
    old = first_days.rename({"symbol": "old_symbol", "first_traded": "old_first_traded"})
    new = first_days.rename({"symbol": "new_symbol", "first_traded": "new_first_traded"})
    prefix = f"{market.exchange}:{market.name}:"
    following = pl.col("first_day").shift(-1).over("symbol")
    # If the old name is used again after the rename, that is another instrument; the new name does not continue it.
    renamed = pl.col("new_first_traded")
    continued = (pl.col("first_day") < renamed) & ~(following < renamed).fill_null(False)
    continues = (pl.col("listing") == 1) & (pl.col("old_first_traded") < pl.col("first_day"))
    suffix = pl.when(pl.col("listing") > 1).then(pl.format(":{}", "listing")).otherwise(pl.lit(""))
    return (
        known.join(old, on="old_symbol", how="left", maintain_order="left")
        .join(new, on="new_symbol", how="left", maintain_order="left")
        .sort("symbol", "listing")
        .with_columns(
            instrument_id=pl.lit(prefix) + pl.col("symbol") + suffix,
            renamed_from=pl.when(continues).then("old_symbol"),
            renamed_to=pl.when(continued).then("new_symbol"),
        )
        .select(INSTRUMENTS.column_names)
    )


def known_on(rows: pl.DataFrame, on: date) -> pl.DataFrame:
    """The rows of a later day's gold.instruments that were listed on ``on``, without facts that became known later."""
    return known_between(rows, on, on).drop("date")


def known_between(rows: pl.DataFrame, first: date, last: date) -> pl.DataFrame:
    """The rows of ``known_on`` for each day from ``first`` to ``last``, both inclusive, with the day as ``date``."""
    first_days = rows.group_by(renamed_to="symbol").agg(known_from=pl.col("first_day").min())
    start, end = pl.max_horizontal("first_day", pl.lit(first)), pl.min_horizontal("last_day", pl.lit(last))
    return (
        rows.filter((pl.col("first_day") <= last) & (pl.col("last_day") >= first))
        .join(first_days, on="renamed_to", how="left", maintain_order="left")
        .with_columns(date=pl.date_ranges(start, end))
        .explode("date")
        .with_columns(
            last_day=pl.col("date"), renamed_to=pl.when(pl.col("known_from") <= pl.col("date")).then("renamed_to")
        )
        .select("date", *rows.columns)
        .sort("date", maintain_order=True)
    )


@cache
def _numbered_types() -> pl.Schema:
    # Not at import time: converting a schema from pyarrow loads pandas.
    types = pl.DataFrame(INSTRUMENTS.empty()).schema
    names = ("listing", "first_day", "last_day")
    return pl.Schema({name: types.get(name, pl.String()) for name in (*_OF_SYMBOL, *names)})


def _relistings(market: Market, facts: SymbolFacts) -> list[date]:
    """Days on which the symbol became another instrument, ascending."""
    if facts.is_settled:
        # The exchange renamed this symbol when it ended; the new instrument has the plain name.
        return []
    return sorted(
        known.first_day
        for known in RELISTINGS
        if (known.exchange, known.market, known.base_asset) == (market.exchange, market.name, facts.base_asset)
    )


def _numbered(runs: Sequence[Run], relisted: Sequence[date]) -> list[tuple[int, Run]]:
    """The runs, cut where a new listing starts, each with the number of its listing."""
    numbered: list[tuple[int, Run]] = []
    number, before = 1, None
    for run in runs:
        for first, last in _cut(run, relisted):
            if before is not None and (
                (first - before).days > RELIST_HOLE_DAYS or any(before < day <= first for day in relisted)
            ):
                number += 1
            numbered.append((number, (first, last)))
            before = last
    return numbered


def _cut(run: Run, relisted: Sequence[date]) -> list[Run]:
    first, last = run
    edges = [first, *(day for day in relisted if first < day <= last), last + _DAY]
    return [(begin, end - _DAY) for begin, end in pairwise(edges)]


def _renamed(market: Market, facts: SymbolFacts) -> tuple[str | None, str | None]:
    """The symbol that this one may continue, and the symbol that may continue it, by the names of the coins."""
    old = new = None
    base, rest = facts.base_asset or "", facts.symbol.removeprefix(facts.base_asset or "")
    for known in RENAMES:
        if (known.exchange, known.market) == (market.exchange, market.name):
            old = known.old + rest if base == known.new else old
            new = known.new + rest if base == known.old else new
    return old, new
