"""Small pictures of a partition for asset metadata: markdown tables and sparklines. Charts are for notebooks."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

_BLOCKS = "▁▂▃▄▅▆▇█"
PREVIEW_SYMBOLS = 5


def sparkline(values: list[float], width: int = 24) -> str:
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
    """Rows, and the run of the price or rate, of the first of a partition's ``symbols`` symbols.

    ``frames`` are the partition's first rows; of a very long first symbol they may be a part.
    """
    if not any(frame.height for frame in frames):
        return "This partition is empty."
    rows = pl.concat(frames)
    price = next((name for name in ("close", "funding_rate", "last_funding_rate") if name in rows.columns), None)
    lines = [f"| symbol | rows | {price or ''} | last |", "|---|---|---|---|"]
    for (symbol,), group in rows.group_by("symbol", maintain_order=True):
        values = group[price].drop_nulls().to_list() if price else []
        lines.append(f"| {symbol} | {group.height:,} | {sparkline(values)} | {values[-1] if values else ''} |")
        if len(lines) == PREVIEW_SYMBOLS + 2:
            break
    more = symbols - PREVIEW_SYMBOLS
    return "\n".join(lines) + (f"\n\nand {more} symbols more" if more > 0 else "")
