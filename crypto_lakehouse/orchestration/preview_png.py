"""A small PNG for asset metadata: one line per symbol.

Drawn by Pillow, because matplotlib takes much longer to import. Pictures for people are in ``lake/pictures``.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from crypto_lakehouse.lake.pictures import style

SIZE = 480, 160
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 8, 36, 10
_FONT, _COLORS = 12, 32


def lines_png(lines: Mapping[str, Sequence[float]], label: str) -> bytes:
    """Draw the values of each symbol from left to right, on one axis with its least and largest value.

    ``lines`` has at least one value.
    """
    # Importing Pillow takes longer than a small partition.
    from PIL import Image, ImageDraw, ImageFont

    width, height = SIZE
    left, right, top, bottom = _LEFT, width - _RIGHT, _TOP, height - _BOTTOM
    image = Image.new("RGB", SIZE, "white")
    canvas, font = ImageDraw.Draw(image), ImageFont.load_default(_FONT)
    values = [value for line in lines.values() for value in line]
    low, high = min(values), max(values)
    span = high - low or 1.0

    def row(value: float) -> float:
        return bottom - (value - low) / span * (bottom - top) if high > low else (top + bottom) / 2

    for value in dict.fromkeys((low, high, *((0.0,) if low < 0 < high else ()))):
        canvas.line((left, row(value), right, row(value)), fill=style.GRID)
        canvas.text((left - 4, row(value)), f"{value:.4g}", fill=style.TEXT, font=font, anchor="rm")
    canvas.text((4, 2), label, fill=style.TEXT, font=font)
    x = float(left)
    for (symbol, line), color in zip(lines.items(), style.LINES, strict=False):
        step = (right - left) / max(1, len(line) - 1)
        points = [(left + step * number, row(value)) for number, value in enumerate(line)]
        canvas.line(points if len(points) > 1 else points * 2, fill=color)
        canvas.text((x, 18), symbol, fill=color, font=font)
        x += canvas.textlength(f"{symbol}  ", font=font)
    buffer = io.BytesIO()
    # Few colours: Dagster stores the picture in the event of the partition.
    image.quantize(_COLORS, Image.Quantize.MAXCOVERAGE).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
