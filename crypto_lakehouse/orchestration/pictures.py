"""Small pictures of a partition for asset metadata: markdown tables with sparklines, and a PNG.

The data is chosen here; ``preview_png.py`` draws the PNG. Pictures for people are in ``lake/pictures``.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import polars as pl

from crypto_lakehouse.orchestration.preview_png import lines_png

_BLOCKS = "▁▂▃▄▅▆▇█"
PREVIEW_SYMBOLS = 5
_NEWEST = 10
_POINTS, _PNG_POINTS = 24, 96
# The sparkline of a symbol shows the first of these columns that the table has, else its first column of floats.
# Silver's names come before the archive's.
_VALUES = (
    "close",
    "funding_rate",
    "last_funding_rate",
    "price",
    "best_bid_price",
    "open_interest",
    "sum_open_interest",
    "index_value",
    "notional",
)
# A book has several bands per time; the sparkline shows one of them: asks within one percent.
_BAND = pl.col("percentage") == 1


def sparkline(values: list[float], width: int = _POINTS) -> str:
    """Values as a line of block characters, evenly sampled to ``width``; empty for no values.

    >>> sparkline([1.0, 2.0, 3.0])
    '▁▅█'
    """
    if len(values) > width:
        values = [values[i * (len(values) - 1) // (width - 1)] for i in range(width)]
    if not values:
        return ""
    low, high = min(values), max(values)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((value - low) * scale)] for value in values)


def preview_markdown(frames: Sequence[pl.DataFrame], symbols: int) -> str:
    """A table with rows, sparkline and last value of the first symbols of a partition that has ``symbols`` symbols.

    ``frames`` are the first rows of the partition; they may hold only a part of a very long first symbol.
    """
    if not any(frame.height for frame in frames):
        return "This partition is empty."
    rows = pl.concat(frames)
    value = _value(rows)
    lines = [f"| symbol | rows | {value or ''} | last |", "|---|---|---|---|"]
    for (symbol,), group in rows.group_by("symbol", maintain_order=True):
        points = _points(group, value, _POINTS) if value else []
        lines.append(f"| {symbol} | {group.height:,} | {sparkline(points)} | {points[-1] if points else ''} |")
        if len(lines) == PREVIEW_SYMBOLS + 2:
            break
    more = symbols - PREVIEW_SYMBOLS
    return "\n".join(lines) + (f"\n\nand {more} symbols more" if more > 0 else "")


def instruments_markdown(rows: pl.DataFrame) -> str:
    """A table of the newest instruments of gold.instruments."""
    if rows.is_empty():
        return "Nothing was listed yet."
    lines = ["| instrument | base | quote | contract | first day | last day |", "|---|---|---|---|---|---|"]
    shown = rows.sort("first_day", "instrument_id", descending=[True, False]).head(_NEWEST)
    for row in shown.iter_rows(named=True):
        names = (row["instrument_id"], row["base_asset"] or "", row["quote_asset"] or "", row["contract_type"])
        lines.append(f"| {' | '.join(names)} | {row['first_day']} | {row['last_day']} |")
    more = rows.height - shown.height
    return "\n".join(lines) + (f"\n\nand {more:,} older ones" if more else "")


def preview_picture(frames: Sequence[pl.DataFrame]) -> str | None:
    """A PNG of the values of the first symbols, as a markdown image; None if there is no line to draw.

    Prices are drawn as their change, so that symbols can be compared.
    """
    if not any(frame.height for frame in frames):
        return None
    rows = pl.concat(frames)
    value = _value(rows)
    if value is None:
        return None
    groups = rows.group_by("symbol", maintain_order=True)
    lines = {str(symbol): _points(group, value, _PNG_POINTS) for (symbol,), group in groups}
    lines = dict([line for line in lines.items() if len(line[1]) > 1][:PREVIEW_SYMBOLS])
    if not lines:
        return None
    label = value
    if min(map(min, lines.values())) > 0:
        label = f"{value}: change since the first row (%)"
        lines = {symbol: [100 * (each / line[0] - 1) for each in line] for symbol, line in lines.items()}
    return f"![{label}](data:image/png;base64,{base64.b64encode(lines_png(lines, label)).decode()})"


def _value(rows: pl.DataFrame) -> str | None:
    """The column to show."""
    floats = [name for name, kind in rows.schema.items() if kind == pl.Float64]
    # Options are seldom traded, so only their mark price is always present.
    return "mark_price" if "strike" in rows.columns else next((n for n in (*_VALUES, *floats) if n in rows), None)


def _points(group: pl.DataFrame, value: str, most: int) -> list[float]:
    """The finite values of one symbol, at most so many, evenly sampled."""
    values = (group.filter(_BAND) if "percentage" in group.columns else group)[value].drop_nulls()
    values = values.filter(values.is_finite())
    if values.len() > most:
        values = values.gather([i * (values.len() - 1) // (most - 1) for i in range(most)])
    return values.to_list()
