"""The coverage heatmap drawn by matplotlib, for PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

import matplotlib.dates as mdates
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from crypto_lakehouse.lake.pictures import style
from crypto_lakehouse.lake.pictures.dates import label_times

if TYPE_CHECKING:
    import polars as pl

_NAMED, _GRID_BELOW = 45, 4_000


def draw(
    title: str,
    symbols: Sequence[str],
    days: Sequence[date],
    numbers: pl.DataFrame,
    size: tuple[float, float] | None,
) -> Figure:
    """Return the figure; ``size`` is width and height in inches."""
    cells = numbers.to_numpy().T.astype(float)
    height = min(max(2.2, 1.1 + 0.24 * len(symbols)), 11)
    figure = Figure(figsize=size or (11, height), layout="constrained", facecolor="white")
    axes = figure.subplots()
    edges = np.asarray(mdates.date2num([*days, days[-1]]), dtype=float)
    starts = set(edges.tolist())
    # The last partition is as wide as the one before it.
    edges[-1] = edges[-2] + (edges[-2] - edges[-3] if len(days) > 1 else 1)
    # Labels of days are below the middle of their cells.
    edges -= (edges[1] - edges[0]) / 2
    with_grid = cells.size < _GRID_BELOW
    colors = ListedColormap(list(style.STATES.values()))
    axes.pcolormesh(
        edges,
        np.arange(len(symbols) + 1),
        np.ma.masked_invalid(cells),
        cmap=colors,
        vmin=-0.5,
        vmax=len(style.STATES) - 0.5,
        edgecolors="white" if with_grid else "none",
        linewidth=0.8 if with_grid else 0,
    )
    axes.set_ylim(len(symbols), 0)
    step = -(-len(symbols) // _NAMED)
    axes.set_yticks(np.arange(0, len(symbols), step) + 0.5, symbols[::step], fontsize=9 if step == 1 else 7)
    label_times(axes.xaxis, edges[0], edges[-1], most=14, among=starts)
    axes.tick_params(colors=style.TEXT, length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, loc="left", fontsize=12, color=style.TEXT, pad=24)
    present = {int(value) for value in np.unique(cells[~np.isnan(cells)])}
    patches = [
        Patch(color=color, label=state)
        for number, (state, color) in enumerate(style.STATES.items())
        if number in present
    ]
    axes.legend(
        handles=patches,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=len(patches),
        frameon=False,
        fontsize=9,
        borderaxespad=0.2,
        handlelength=1,
        handleheight=1,
    )
    return figure
