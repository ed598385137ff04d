"""The coverage heatmap drawn by Plotly."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from crypto_lakehouse.lake.pictures import style

if TYPE_CHECKING:
    import polars as pl

_ROW, _LEAST, _MOST = 18, 260, 1400
_GAPS_BELOW = 15_000


def draw(title: str, symbols: Sequence[str], days: Sequence[date], numbers: pl.DataFrame, monthly: bool) -> go.Figure:
    """Return the interactive figure."""
    states, count = list(style.STATES), len(style.STATES)
    scale = [(at / count, color) for number, color in enumerate(style.STATES.values()) for at in (number, number + 1)]
    cells = numbers.to_numpy().T.astype(float)
    gap = 1 if cells.size < _GAPS_BELOW else 0
    width = "M1" if monthly else 86_400_000
    figure = go.Figure()
    names = [[states[int(value)] if value == value else "" for value in row] for row in cells] if gap else None
    figure.add_trace(
        go.Heatmap(
            x=days,
            y=symbols,
            z=cells,
            zmin=-0.5,
            zmax=count - 0.5,
            colorscale=scale,
            showscale=False,
            hoverongaps=False,
            xgap=gap,
            ygap=gap,
            text=names,
            hovertemplate="%{y}<br>%{x|%Y-%m-%d}<br>%{text}<extra></extra>" if names else "%{y}<br>%{x|%Y-%m-%d}",
        )
    )
    present = {int(value) for value in np.unique(cells[~np.isnan(cells)])}
    for number, (state, color) in enumerate(style.STATES.items()):
        if number in present:
            marker = {"color": color, "size": 12, "symbol": "square"}
            figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", marker=marker, name=state))
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category", ticksuffix=" ")
    figure.update_xaxes(showgrid=False, dtick=width if len(days) <= 16 else None)
    figure.update_layout(
        title={"text": title, "font": {"size": 16}},
        template="plotly_white",
        height=min(max(_LEAST, 130 + _ROW * len(symbols)), _MOST),
        margin={"l": 110, "r": 20, "t": 80, "b": 40},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.0, "yanchor": "bottom"},
        font={"color": style.TEXT},
    )
    return figure
