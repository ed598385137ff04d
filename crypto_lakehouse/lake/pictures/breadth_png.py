"""Breadth drawn by matplotlib, for PNG files: the same panels and colours as Plotly's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.dates as mdates
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from crypto_lakehouse.lake.pictures import style
from crypto_lakehouse.lake.pictures.dates import label_times

if TYPE_CHECKING:
    import polars as pl


def draw(title: str, rows: pl.DataFrame, label: str, size: tuple[float, float] | None) -> Figure:
    """Return the figure; ``size`` is width and height in inches."""
    figure = Figure(figsize=size or (11, 5), layout="constrained", facecolor="white")
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [1.2, 1]})
    times = np.asarray(mdates.date2num(rows["open_time"].to_list()), dtype=float)
    width = float(np.diff(times).min()) * 0.8 if times.size > 1 else 0.8
    upper.axhline(50, color=style.NO_BARS, linewidth=1)
    upper.plot(times, (rows["above_share"] * 100).to_numpy(), "-o", color=style.FUNDING, linewidth=1.5, markersize=3)
    upper.set_ylim(-3, 103)
    upper.set_ylabel(label)
    lower.bar(times, rows["advancing"].to_numpy(), width, color=style.RISING, label="advancing")
    lower.bar(times, -rows["declining"].to_numpy(), width, color=style.FALLING, label="declining")
    lower.axhline(0, color=style.NO_BARS, linewidth=0.8)
    lower.yaxis.set_major_locator(MaxNLocator(integer=True))
    lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):.0f}"))
    lower.set_ylabel("symbols")
    for each in (upper, lower):
        each.grid(color=style.GRID, linewidth=0.8)
        each.set_axisbelow(True)
        each.tick_params(colors=style.TEXT, labelsize=9)
        each.spines[["top", "right"]].set_visible(False)
        each.yaxis.label.set(size=9, color=style.TEXT)
    figure.align_ylabels([upper, lower])
    upper.set_title(title, loc="left", fontsize=12, color=style.TEXT)
    lower.legend(loc="lower right", ncols=2, frameon=False, fontsize=9, bbox_to_anchor=(1, 1), borderaxespad=0.1)
    label_times(lower.xaxis, times[0], times[-1])
    return figure
