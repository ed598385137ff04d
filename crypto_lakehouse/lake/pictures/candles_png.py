"""Candlesticks drawn by matplotlib, for PNG files: the same panels and colours as Plotly's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import matplotlib.dates as mdates
import numpy as np
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, StrMethodFormatter

from crypto_lakehouse.lake.pictures import style
from crypto_lakehouse.lake.pictures.dates import label_times

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes

    from crypto_lakehouse.lake.pictures.stretches import Stretch

_COLORS = {"filled": style.FILLED, "gap": style.GAP, "no bars": style.NO_BARS}
_WIDTH = 0.8
_MICROSECOND = timedelta(microseconds=1)


def draw(
    title: str,
    bars: pl.DataFrame,
    funding: pl.DataFrame,
    stretches: Sequence[Stretch],
    volume_label: str,
    size: tuple[float, float] | None,
) -> Figure:
    """Return the figure; ``size`` is width and height in inches."""
    heights = [4.2, 1.1] if funding.is_empty() else [4.2, 1.1, 1.0]
    figure = Figure(figsize=size or (11, 6.2), layout="constrained", facecolor="white")
    axes = figure.subplots(len(heights), 1, sharex=True, gridspec_kw={"height_ratios": heights}, squeeze=False)[:, 0]
    opened = np.asarray(mdates.date2num(bars["open_time"].to_list()), dtype=float)
    closed = np.asarray(mdates.date2num((bars["close_time"] + _MICROSECOND).to_list()), dtype=float)
    prices = {name: bars[name].to_numpy() for name in ("open", "high", "low", "close")}
    colors = np.where(prices["close"] >= prices["open"], style.RISING, style.FALLING).tolist()
    _price(axes[0], opened, closed, prices, colors)
    volume = bars["base_volume"].to_numpy()
    axes[1].add_collection(PolyCollection(_boxes(opened, closed, np.zeros_like(volume), volume), facecolors=colors))
    axes[1].set_ylim(0, float(volume.max(initial=0)) * 1.08 or 1)
    axes[1].yaxis.set_major_formatter(EngFormatter())
    axes[1].set_ylabel(volume_label)
    if not funding.is_empty():
        times = mdates.date2num(funding["funding_time"].to_list())
        rates = (funding["funding_rate"] * 100).to_numpy()
        axes[2].axhline(0, color=style.NO_BARS, linewidth=0.8)
        axes[2].step(times, rates, where="post", color=style.FUNDING, linewidth=1)
        axes[2].plot(times, rates, ".", color=style.FUNDING, markersize=4)
        axes[2].set_ylabel("funding (%)")
    _finish(figure, axes, title, stretches, float(opened[0]), float(closed[-1]))
    return figure


def _price(axes: Axes, opened: Any, closed: Any, prices: dict[str, Any], colors: list[str]) -> None:
    middle = (opened + closed) / 2
    wicks = [((x, low), (x, high)) for x, low, high in zip(middle, prices["low"], prices["high"], strict=True)]
    axes.add_collection(LineCollection(wicks, colors=colors, linewidths=0.8))
    low, high = float(prices["low"].min()), float(prices["high"].max())
    margin = (high - low) * 0.05 or abs(high) * 0.01 or 1.0
    bottom, top = np.minimum(prices["open"], prices["close"]), np.maximum(prices["open"], prices["close"])
    # A bar that closes where it opens is still a line.
    top = np.maximum(top, bottom + (high - low) * 0.004)
    axes.add_collection(PolyCollection(_boxes(opened, closed, bottom, top), facecolors=colors))
    axes.set_ylim(low - margin, high + margin)
    axes.set_ylabel("price")
    if high >= 1000:
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _boxes(opened: Any, closed: Any, bottom: Any, top: Any) -> Any:
    """Return the corners of a box for each bar."""
    middle, half = (opened + closed) / 2, (closed - opened) * _WIDTH / 2
    left, right = middle - half, middle + half
    return np.stack(
        [np.column_stack(corner) for corner in ((left, bottom), (left, top), (right, top), (right, bottom))], axis=1
    )


def _finish(figure: Figure, axes: Any, title: str, stretches: Sequence[Stretch], first: float, last: float) -> None:
    for each in axes:
        for stretch in stretches:
            start, end = mdates.date2num(stretch.start), mdates.date2num(stretch.end)
            each.axvspan(start, end, color=_COLORS[stretch.kind], alpha=0.2, linewidth=0, zorder=0)
        each.grid(color=style.GRID, linewidth=0.8)
        each.set_axisbelow(True)
        each.tick_params(colors=style.TEXT, labelsize=9)
        each.spines[["top", "right"]].set_visible(False)
        each.yaxis.label.set(size=9, color=style.TEXT)
    figure.align_ylabels(list(axes))
    axes[0].set_title(title, loc="left", fontsize=12, color=style.TEXT)
    kinds = dict.fromkeys(each.kind for each in stretches)
    if kinds:
        patches = [Patch(color=_COLORS[kind], alpha=0.35, label=kind) for kind in kinds]
        axes[0].legend(handles=patches, loc="lower right", ncols=3, frameon=False, fontsize=9, bbox_to_anchor=(1, 1))
    margin = (last - first) * 0.01
    axes[-1].set_xlim(first - margin, last + margin)
    # A label at the very end would be cut off, and it may be of a month of which nothing is drawn.
    label_times(axes[-1].xaxis, first, last - margin)
