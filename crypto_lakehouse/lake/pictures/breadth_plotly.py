"""Breadth drawn by Plotly: the share above the moving average, and rising and falling symbols below."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from crypto_lakehouse.lake.pictures import style


def draw(title: str, rows: pl.DataFrame, label: str) -> go.Figure:
    """Return the interactive figure."""
    times = rows["open_time"].to_list()
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.55, 0.45], vertical_spacing=0.04)
    figure.add_trace(
        go.Scatter(
            x=times,
            y=(rows["above_share"] * 100).to_list(),
            name="above",
            mode="lines+markers",
            marker={"size": 4},
            line={"color": style.FUNDING, "width": 1.5},
            hovertemplate="%{y:.0f} %",
            showlegend=False,
        ),
        row=1,
        col=1,
    )
    figure.add_hline(y=50, line={"color": style.NO_BARS, "width": 1}, row=1, col=1)
    for name, color, sign in (("advancing", style.RISING, 1), ("declining", style.FALLING, -1)):
        figure.add_trace(
            go.Bar(
                x=times,
                y=(rows[name] * sign).to_list(),
                customdata=rows[name].to_list(),
                name=name,
                marker={"color": color, "line": {"width": 0}},
                hovertemplate="%{customdata}",
            ),
            row=2,
            col=1,
        )
    figure.update_yaxes(title_text=label, range=[0, 100], row=1, col=1)
    most = int(rows.select(pl.max_horizontal(pl.max("advancing"), pl.max("declining"))).item())
    step = max(1, -(-most // 4))
    ticks = [*range(-4 * step, 4 * step + 1, step)]
    # Both directions are counts, so no label has a sign.
    figure.update_yaxes(title_text="symbols", tickvals=ticks, ticktext=[str(abs(each)) for each in ticks], row=2, col=1)
    figure.update_xaxes(gridcolor=style.GRID)
    figure.update_yaxes(gridcolor=style.GRID)
    figure.update_layout(
        title={"text": title, "font": {"size": 16}},
        template="plotly_white",
        height=520,
        barmode="relative",
        bargap=0.15,
        margin={"l": 70, "r": 20, "t": 60, "b": 40},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.06},
        font={"color": style.TEXT},
        hovermode="x unified",
    )
    return figure
