"""Ticks and labels of an axis of times, for matplotlib.

matplotlib's own concise labels name the month once, in a corner, and it is that of the last tick only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import matplotlib.dates as mdates

if TYPE_CHECKING:
    from matplotlib.axis import Axis


def label_times(
    axis: Axis, first: float, last: float, most: int | None = None, among: Collection[float] | None = None
) -> None:
    """Set the ticks of an axis between two times, both inclusive, and their labels; only those ``among`` some times."""
    locator = mdates.AutoDateLocator(minticks=5 if among is None else 3, maxticks=most)
    locator.set_axis(axis)
    values = locator.tick_values(mdates.num2date(first), mdates.num2date(last))
    ticks = [value for value in values if first <= value <= last and (among is None or value in among)]
    axis.set_ticks(ticks, labels_of([mdates.num2date(tick) for tick in ticks]))


def labels_of(times: Sequence[datetime]) -> list[str]:
    """Return the label of each time; the second line is the year, month or day, where it starts.

    >>> labels_of([datetime(2026, 11, 29), datetime(2026, 11, 30), datetime(2026, 12, 1)])
    ['29\\nNov 2026', '30', '01\\nDec 2026']
    """
    short, long = _forms(times)
    lines = [f"{time:{long}}" if long else "" for time in times]
    starts = [line and line != before for line, before in zip(lines, ["", *lines], strict=False)]
    return [
        f"{time:{short}}\n{line}" if start else f"{time:{short}}"
        for time, line, start in zip(times, lines, starts, strict=True)
    ]


def _forms(times: Sequence[datetime]) -> tuple[str, str]:
    """The forms of the first and of the second line of labels."""
    if any(time != time.replace(hour=0, minute=0, second=0, microsecond=0) for time in times):
        return "%H:%M", "%Y-%m-%d"
    if any(time.day != 1 for time in times):
        return "%d", "%b %Y"
    return ("%b", "%Y") if any(time.month != 1 for time in times) else ("%Y", "")
