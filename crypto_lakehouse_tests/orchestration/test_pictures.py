"""Previews of partitions: which value a table's line shows, and how it is sampled."""

import base64
import io
import re
from typing import Any

import polars as pl
import pytest
from PIL import Image, ImageColor

from crypto_lakehouse.catalog import FEEDS
from crypto_lakehouse.lake.pictures import style
from crypto_lakehouse.orchestration.pictures import preview_markdown, preview_picture, sparkline
from crypto_lakehouse.schemas import bronze_schema, silver_schema
from crypto_lakehouse.schemas.model import FLOAT

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F5.1")]


def _preview(rows: dict[str, Any]) -> list[str]:
    frame = pl.DataFrame(rows)
    return preview_markdown([frame], frame["symbol"].n_unique()).splitlines()


def test_every_bronze_and_silver_table_has_a_value_to_show() -> None:
    shown = {
        "klines": ("close", "close"),
        "agg_trades": ("price", "price"),
        "trades": ("price", "price"),
        "funding_rates": ("last_funding_rate", "funding_rate"),
        "price_klines": ("close", "close"),
        "open_interest": ("sum_open_interest", "open_interest"),
        "book_depth": ("notional", "notional"),
        "book_ticker": ("best_bid_price", "best_bid_price"),
        "liquidations": ("price", "price"),
        "volatility_index": ("index_value", "index_value"),
        "option_summaries": ("mark_price", "mark_price"),
    }
    for entry in FEEDS.values():
        own, numbers = bronze_schema(entry), [c.name for c in silver_schema(entry).columns if c.type == FLOAT]
        first = next(c.name for c in own.columns if c.type == FLOAT), numbers[0]
        for schema, value in zip((own, silver_schema(entry)), shown.get(entry.schema, first), strict=True):
            row = {c.name: [1.0] if c.type == FLOAT else ["BTC"] for c in schema.columns}
            head, _, line = _preview(row)
            assert head == f"| symbol | rows | {value} | last |", entry.name
            assert line == "| BTC | 1 | ▁ | 1.0 |"


def test_a_book_shows_one_band_and_options_their_mark_prices() -> None:
    book = {"symbol": ["A"] * 4, "percentage": [-1.0, 1.0, -1.0, 1.0], "notional": [9.0, 1.0, 9.0, 2.0]}
    assert _preview(book)[2] == "| A | 4 | ▁█ | 2.0 |"
    options = {"symbol": ["A"] * 2, "strike": [1.0, 1.0], "close": [None, None], "mark_price": [3.0, 4.0]}
    assert _preview(options)[2] == "| A | 2 | ▁█ | 4.0 |"


def test_long_runs_are_sampled_evenly_to_their_last_value() -> None:
    values = [float(i) for i in range(1000)]
    line = _preview({"symbol": ["A"] * 1000, "price": values})[2]
    # 24 of 1000, the first and the last included: as the whole run sampled at once.
    assert line == f"| A | 1,000 | {sparkline(values)} | 999.0 |"


def test_blank_values_and_empty_partitions() -> None:
    assert _preview({"symbol": ["A"], "price": pl.Series([None], dtype=pl.Float64)})[2] == "| A | 1 |  |  |"
    assert preview_markdown([pl.DataFrame({"symbol": [], "price": []})], 0) == "This partition is empty."
    assert _preview({"symbol": ["A"], "side": ["BUY"]})[2] == "| A | 1 |  |  |"


def _image(markdown: str | None) -> Image.Image:
    assert markdown is not None
    (data,) = re.findall(r"^!\[[^]]+\]\(data:image/png;base64,([^)]+)\)$", markdown)
    png = base64.b64decode(data)
    assert len(png) < 8_000, "Dagster stores it in an event"
    return Image.open(io.BytesIO(png)).convert("RGB")


def _has_color(image: Image.Image, color: str) -> bool:
    """Whether a pixel has nearly this colour: the picture has few colours."""
    wanted = ImageColor.getrgb(color)
    pixels = [pixel for _, pixel in image.getcolors(1 << 16) or ()]
    return any(sum(abs(a - b) for a, b in zip(pixel, wanted, strict=True)) < 30 for pixel in pixels)


def test_prices_of_symbols_are_drawn_as_changes_in_one_small_picture() -> None:
    frame = pl.DataFrame(
        {"symbol": ["A"] * 2000 + ["B"] * 2000, "close": [float(i) for i in range(1, 2001)] + [5.0, 6.0] * 1000}
    )
    markdown = preview_picture([frame.head(2500), frame.tail(1500)])
    assert "change since the first row (%)" in str(markdown)
    image = _image(markdown)
    assert [_has_color(image, color) for color in style.LINES[:3]] == [True, True, False]


def test_rates_are_drawn_as_they_are_and_what_cannot_be_drawn_is_left_out() -> None:
    rates = pl.DataFrame({"symbol": ["A"] * 3, "funding_rate": [0.0001, -0.0002, float("nan")]})
    assert str(preview_picture([rates])).startswith("![funding_rate](")
    many = pl.DataFrame(
        {
            "symbol": [name for name in "ABCDEFGH" for _ in range(2)],
            "price": [value for i in range(8) for value in (1.0, 2.0 + i)],
        }
    )
    assert all(_has_color(_image(preview_picture([many])), color) for color in style.LINES)
    for nothing in (
        {"symbol": [], "price": []},
        {"symbol": ["A"], "price": [1.0]},
        {"symbol": ["A"], "side": ["BUY"]},
        {"symbol": ["A"] * 2, "price": pl.Series([None, None], dtype=pl.Float64)},
    ):
        assert preview_picture([pl.DataFrame(nothing)]) is None
