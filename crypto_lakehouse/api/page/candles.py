"""What the chart of a symbol draws: bars, the funding paid within each, and the stretches to mark."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

import polars as pl

from crypto_lakehouse.catalog import Cadence, parse_partition
from crypto_lakehouse.lake.pictures.candles import Candles
from crypto_lakehouse.lake.pictures.stretches import Stretch

REVISED = "revised"
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Mark:
    """A marked range of time [start, end) of the chart, and what happened there."""

    kind: str
    start: datetime
    end: datetime
    detail: str = ""


def marks_of(picture: Candles, revisions: pl.DataFrame) -> list[Mark]:
    """The stretches of a picture, and the days or months that were replaced, by start."""
    first, end = picture.data["open_time"][0], picture.data["close_time"][-1]
    marks = [Mark(each.kind, each.start, each.end, _detail(each)) for each in picture.stretches]
    for row in revisions.iter_rows(named=True):
        period = row["period"]
        days = parse_partition(period, Cadence.DAILY if len(period) == 10 else Cadence.MONTHLY)
        start, stop = (datetime.combine(day, time(), UTC) for day in days)
        if start <= end and stop > first:
            numbers = f"{row['changed']} rows changed, {row['added']} added, {row['removed']} removed"
            text = f"{row['table']}: {numbers}, at {row['known_to']:%Y-%m-%d %H:%M} UTC"
            marks.append(Mark(REVISED, max(start, first), min(stop, end), text))
    return sorted(marks, key=lambda mark: mark.start)


def _detail(stretch: Stretch) -> str:
    texts = {
        "filled": "nothing was traded in at least half of the minutes",
        "gap": "a new segment starts after it",
        "no bars": "the lake has no bars",
    }
    return texts[stretch.kind]


def chart_data(picture: Candles, marks: list[Mark]) -> str:
    """The data of the chart as JSON that can stand in a page. Times are seconds since 1970."""
    columns = ("open_time", "close_time", "open", "high", "low", "close", "base_volume", "first_minute")
    bars = picture.data.select(columns)
    times: list[int] = []
    for opened, minute in bars.select("open_time", "first_minute").iter_rows():
        # A gap within a window leaves two bars of the same window.
        stamp = _seconds(opened)
        times.append(stamp if not times or stamp > times[-1] else max(_seconds(minute), times[-1] + 1))
    content: dict[str, Any] = {
        "time": times,
        **{name: bars[name].to_list() for name in columns[2:6]},
        "volume": bars["base_volume"].to_list(),
        "funding": _funding(picture, times),
        "marks": [
            {"kind": mark.kind, "start": _seconds(mark.start), "end": _seconds(mark.end)}
            for mark in marks
            if mark.end - mark.start >= _SECOND
        ],
    }
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


def _funding(picture: Candles, times: list[int]) -> list[list[float]]:
    """The sum of funding rates within each bar that has any, with the time of the bar."""
    if picture.funding.is_empty():
        return []
    bars = picture.data.select(at="open_time", close_time="close_time").with_columns(time=pl.Series(times)).sort("at")
    paid = picture.funding.sort("funding_time").join_asof(bars, left_on="funding_time", right_on="at")
    # What was paid within a pause belongs to no bar.
    sums = (
        paid.filter(pl.col("funding_time") <= pl.col("close_time"))
        .group_by("time")
        .agg(pl.col("funding_rate").sum())
        .sort("time")
    )
    return [list(row) for row in sums.iter_rows()]


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
