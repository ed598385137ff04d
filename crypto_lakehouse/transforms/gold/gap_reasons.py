"""Why a gap is there: the reasons of the minutes in it, from gold.missing_minutes. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import date, timedelta

import polars as pl

from crypto_lakehouse.transforms.gold.missing_minutes import Reason

_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)
_ORDER = {reason.value: number for number, reason in enumerate(Reason)}


def explained_gaps(gaps: pl.DataFrame, missing: pl.DataFrame, days: Collection[date]) -> pl.DataFrame:
    """Add the columns ``cause`` and ``evidence`` to gaps (gold.gaps) of one market.

    ``evidence`` is JSON: the minutes of each reason between gap_begin and gap_end, both exclusive; minutes that have a
    candle count as no_trades. ``cause`` is the reason with the most minutes. Both are null if a day is not in ``days``.

    Parameters
    ----------
    missing
        Rows of gold.missing_minutes.
    days
        The days that gold.missing_minutes has.
    """
    numbered = gaps.with_row_index("gap")
    first = pl.col("gap_begin") + _MINUTE
    overlap = pl.min_horizontal("end", "gap_end") - pl.max_horizontal("start", first)
    minutes = (
        numbered.join(missing.select("symbol", "start", "end", cause="reason"), on="symbol")
        .filter((pl.col("start") < pl.col("gap_end")) & (pl.col("end") > first))
        .group_by("gap", "cause")
        .agg(minutes=overlap.dt.total_minutes().sum())
    )
    by_gap: dict[int, dict[str, int]] = {}
    for gap, cause, count in minutes.iter_rows():
        by_gap.setdefault(gap, {})[cause] = count
    causes: list[str | None] = []
    evidence: list[str | None] = []
    for row in numbered.iter_rows(named=True):
        start, end = (row["gap_begin"] + _MINUTE).date(), (row["gap_end"] - _MINUTE).date()
        known = all(start + number * _DAY in days for number in range((end - start).days + 1))
        counts = by_gap.get(row["gap"], {})
        if quiet := row["silence"] - 1 - sum(counts.values()):
            counts[Reason.NO_TRADES.value] = counts.get(Reason.NO_TRADES.value, 0) + quiet
        ordered = dict(sorted(counts.items(), key=lambda item: (-item[1], _ORDER[item[0]])))
        causes.append(next(iter(ordered), None) if known else None)
        evidence.append(json.dumps(ordered) if known else None)
    return gaps.with_columns(
        pl.Series("cause", causes, dtype=pl.String), pl.Series("evidence", evidence, dtype=pl.String)
    )
