"""The matrix of correlations drawn by Plotly."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from crypto_lakehouse.lake.pictures import style

_ROW, _LEAST, _MOST, _WITH_TEXT = 34, 560, 1100, 24


def draw(title: str, symbols: Sequence[str], values: Sequence[Sequence[float | None]]) -> go.Figure:
    """Return the interactive figure."""
    side = min(max(_LEAST, 160 + _ROW * len(symbols)), _MOST)
    figure = go.Figure(
        go.Heatmap(
            x=symbols,
            y=symbols,
            z=values,
            zmin=-1,
            zmax=1,
            colorscale=style.CORRELATION,
            xgap=1,
            ygap=1,
            hoverongaps=False,
            texttemplate="%{z:.2f}" if len(symbols) <= _WITH_TEXT else None,
            hovertemplate="%{y}, %{x}: %{z:.3f}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False, ticksuffix=" ")
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_layout(
        title={"text": title, "font": {"size": 16}},
        template="plotly_white",
        width=side + 180,
        height=side,
        margin={"l": 110, "r": 20, "t": 60, "b": 80},
        font={"color": style.TEXT},
    )
    return figure
