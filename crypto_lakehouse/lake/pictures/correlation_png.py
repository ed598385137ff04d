"""The matrix of correlations drawn by matplotlib, for PNG files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from crypto_lakehouse.lake.pictures import style

_WITH_TEXT, _DARK = 24, 0.6


def draw(
    title: str,
    symbols: Sequence[str],
    values: Sequence[Sequence[float | None]],
    size: tuple[float, float] | None,
) -> Figure:
    """Return the figure; ``size`` is width and height in inches."""
    side = min(max(4.5, 1.8 + 0.36 * len(symbols)), 12)
    figure = Figure(figsize=size or (side * 1.25, side), layout="constrained", facecolor="white")
    axes = figure.subplots()
    cells = np.array(values, dtype=float)
    colors = LinearSegmentedColormap.from_list("correlation", [color for _, color in style.CORRELATION])
    edges = np.arange(len(symbols) + 1)
    mesh = axes.pcolormesh(
        edges, edges, np.ma.masked_invalid(cells), cmap=colors, vmin=-1, vmax=1, edgecolors="white", linewidth=0.8
    )
    axes.set_aspect("equal")
    axes.set_ylim(len(symbols), 0)
    small = 9 if len(symbols) <= _WITH_TEXT else 6
    axes.set_xticks(edges[:-1] + 0.5, symbols, rotation=90 if len(symbols) > 6 else 0, fontsize=small)
    axes.set_yticks(edges[:-1] + 0.5, symbols, fontsize=small)
    axes.tick_params(colors=style.TEXT, length=0)
    axes.spines[:].set_visible(False)
    if len(symbols) <= _WITH_TEXT:
        for (row, column), value in np.ndenumerate(cells):
            if not np.isnan(value):
                color = "white" if abs(value) > _DARK else style.TEXT
                axes.text(
                    column + 0.5,
                    row + 0.5,
                    f"{round(value, 2) + 0.0:.2f}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color=color,
                )
    bar = figure.colorbar(mesh, ax=axes, shrink=0.8, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=style.TEXT, labelsize=9, length=0)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=style.TEXT)
    return figure
