"""Candlesticks drawn by Plotly: price, volume in the colours of the candles, and funding rates below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from crypto_lakehouse.lake.pictures import style

if TYPE_CHECKING:
    import polars as pl

    from crypto_lakehouse.lake.pictures.stretches import Stretch

_COLORS = {"filled": style.FILLED, "gap": style.GAP, "no bars": style.NO_BARS}


def draw(
    title: str, bars: pl.DataFrame, funding: pl.DataFrame, stretches: Sequence[Stretch], volume_label: str
) -> go.Figure:
    """Return the interactive figure."""
    with_funding = not funding.is_empty()
    heights = [0.66, 0.18, 0.16] if with_funding else [0.78, 0.22]
    figure = make_subplots(rows=len(heights), cols=1, shared_xaxes=True, row_heights=heights, vertical_spacing=0.025)
    times = bars["open_time"].to_list()
    # Bars of one length are drawn over their time, not around its start.
    lengths = (bars["close_time"] - bars["open_time"]).unique().dt.total_milliseconds()
    over: dict[str, Any] = (
        {"xperiod": lengths[0] + 1, "xperiod0": times[0], "xperiodalignment": "middle"} if lengths.len() == 1 else {}
    )
    up = (bars["close"] >= bars["open"]).to_list()
    figure.add_trace(
        go.Candlestick(
            x=times,
            **{name: bars[name].to_list() for name in ("open", "high", "low", "close")},
            name="price",
            increasing={"line": {"color": style.RISING, "width": 1}, "fillcolor": style.RISING},
            decreasing={"line": {"color": style.FALLING, "width": 1}, "fillcolor": style.FALLING},
            showlegend=False,
            **over,
        ),
        row=1,
        col=1,
    )
    figure.add_trace(
        go.Bar(
            x=times,
            y=bars["base_volume"].to_list(),
            name="volume",
            marker={"color": [style.RISING if rises else style.FALLING for rises in up], "line": {"width": 0}},
            showlegend=False,
            **over,
        ),
        row=2,
        col=1,
    )
    if with_funding:
        figure.add_trace(
            go.Scatter(
                x=funding["funding_time"].to_list(),
                y=(funding["funding_rate"] * 100).to_list(),
                name="funding",
                mode="lines+markers",
                line={"color": style.FUNDING, "width": 1, "shape": "hv"},
                marker={"size": 4},
                hovertemplate="%{x}<br>%{y:.4f} %<extra>funding</extra>",
                showlegend=False,
            ),
            row=3,
            col=1,
        )
        figure.update_yaxes(title_text="funding (%)", zeroline=True, zerolinecolor=style.NO_BARS, row=3, col=1)
    _mark(figure, stretches)
    figure.update_yaxes(title_text="price", row=1, col=1)
    figure.update_yaxes(title_text=volume_label, rangemode="tozero", row=2, col=1)
    figure.update_xaxes(rangeslider_visible=False, gridcolor=style.GRID)
    figure.update_yaxes(gridcolor=style.GRID)
    figure.update_layout(
        title={"text": title, "font": {"size": 16}},
        template="plotly_white",
        height=640,
        margin={"l": 70, "r": 20, "t": 60, "b": 40},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.06},
        font={"color": style.TEXT},
        bargap=0.1,
        hovermode="x unified",
    )
    return figure


def _mark(figure: go.Figure, stretches: Sequence[Stretch]) -> None:
    """Shade filled stretches and pauses over all rows, with one entry in the legend for each kind."""
    shapes: list[dict[str, Any]] = [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": each.start,
            "x1": each.end,
            "y0": 0,
            "y1": 1,
            "fillcolor": _COLORS[each.kind],
            "opacity": 0.2,
            "line": {"width": 0},
            "layer": "below",
        }
        for each in stretches
    ]
    figure.update_layout(shapes=shapes)
    for kind in dict.fromkeys(each.kind for each in stretches):
        marker = {"color": _COLORS[kind], "size": 12, "symbol": "square", "opacity": 0.45}
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", marker=marker, name=kind), row=1, col=1)
