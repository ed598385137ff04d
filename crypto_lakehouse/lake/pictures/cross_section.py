"""The data of pictures of a market across its symbols: breadth over time, and correlations.

They are computed in ``transforms/gold/cross_section.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_lakehouse.catalog.bars import ActivityBars
from crypto_lakehouse.lake.pictures.picture import Picture
from crypto_lakehouse.lake.reader.bars import collect_bars, parse_bars_offset
from crypto_lakehouse.lake.reader.ends import CONTINUOUS
from crypto_lakehouse.lake.reader.times import TimeRange
from crypto_lakehouse.lake.reader.warn import warn
from crypto_lakehouse.lake.storage.describe import list_slice_files
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold import cross_section

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

MOST_SYMBOLS = 100
"""The most symbols of a picture of correlations."""
_LONGEST_MONTH = timedelta(days=31)


class Breadth(Picture):
    """How many symbols rise and fall, and how many are above their moving average."""

    def __init__(self, title: str, data: pl.DataFrame, average: int) -> None:
        super().__init__(title, data)
        self.average_label = f"above the mean of {average} (%)"

    def _plotly(self) -> go.Figure:
        from crypto_lakehouse.lake.pictures.breadth_plotly import draw

        return draw(self.title, self.data, self.average_label)

    def _matplotlib(self, size: tuple[float, float] | None) -> Figure:
        from crypto_lakehouse.lake.pictures.breadth_png import draw

        return draw(self.title, self.data, self.average_label, size)


class Correlation(Picture):
    """The correlation of returns of each two symbols."""

    def matrix(self) -> tuple[list[str], list[list[float | None]]]:
        """Return the symbols and, for each of them, its correlations with all."""
        symbols = self.data["symbol"].unique(maintain_order=True).to_list()
        values = self.data["correlation"].to_list()
        return symbols, [values[at : at + len(symbols)] for at in range(0, len(values), len(symbols))]

    def _plotly(self) -> go.Figure:
        from crypto_lakehouse.lake.pictures.correlation_plotly import draw

        return draw(self.title, *self.matrix())

    def _matplotlib(self, size: tuple[float, float] | None) -> Figure:
        from crypto_lakehouse.lake.pictures.correlation_png import draw

        return draw(self.title, *self.matrix(), size)


def breadth_picture(
    store: LakeStore,
    symbols: str | Sequence[str] | None,
    interval: str,
    average: int,
    exchange: str,
    market: str | None,
    times: TimeRange,
) -> Breadth:
    """Return the breadth in a range; the bars before it that averages need are read too.

    Raises ValueError if there are no two bars in a row."""
    method = "lake.plot_breadth"
    if not isinstance(average, int) or average < 2:
        raise ValueError(f"average must be a number of windows, 2 or more, not {average!r}")
    before = average * _length(interval, method)
    files = list_slice_files(store, TableSlice("gold", exchange, market, CONTINUOUS)) if times.last and market else []
    start, end = times.within(file.end for file in files)
    longer = TimeRange(start - before if start else None, end)
    rows = cross_section.breadth(
        _bars(store, symbols, interval, exchange, market, longer, method, expected=TimeRange(start, end)), average
    )
    if start is not None:
        rows = rows.filter(pl.col("open_time") >= start)
    if rows.is_empty():
        raise ValueError(f"no symbol of {exchange}/{market} has two {interval} bars in a row in this range")
    if not rows["averaged"].sum():
        warn(
            f"no symbol of {exchange}/{market} has {average} {interval} bars in a row in this range, so the picture"
            " shows no mean of closes: choose a smaller average, a shorter interval or a longer range"
        )
    count = rows.select(pl.max("symbols")).item()
    title = f"Breadth, {exchange} {market}, up to {count} symbols, {interval}, {_span(rows['open_time'])}"
    return Breadth(title, rows, average)


def correlation_picture(
    store: LakeStore,
    symbols: str | Sequence[str] | None,
    interval: str,
    exchange: str,
    market: str | None,
    times: TimeRange,
) -> Correlation:
    """Return the correlations of returns in a range. Raises ValueError if there are fewer than two symbols, or many."""
    method = "lake.plot_correlation"
    _length(interval, method)
    bars = _bars(store, symbols, interval, exchange, market, times, method)
    rows = cross_section.correlation(bars)
    count = rows["symbol"].n_unique()
    if count < 2:
        raise ValueError(
            f"{count or 'no'} symbol of {exchange}/{market} has {interval} bars in this range: choose several"
        )
    if count > MOST_SYMBOLS:
        raise ValueError(
            f"{count} symbols are too many for a picture (at most {MOST_SYMBOLS}): choose some, such as"
            " symbols=['BTCUSDT', 'ETHUSDT']"
        )
    title = f"Correlation of {interval} returns, {exchange} {market}, {count} symbols, {_span(bars['open_time'])}"
    return Correlation(title, rows)


def _bars(
    store: LakeStore,
    symbols: str | Sequence[str] | None,
    interval: str,
    exchange: str,
    market: str | None,
    times: TimeRange,
    method: str,
    expected: TimeRange | None = None,
) -> pl.DataFrame:
    columns = [*cross_section.COLUMNS]
    return collect_bars(store, symbols, interval, exchange, market, "0m", times, columns, method, expected)


def _length(interval: str, method: str) -> timedelta:
    """The length of an interval. Raises ValueError for another kind of bars."""
    kind, _ = parse_bars_offset(interval, "0m")
    if isinstance(kind, ActivityBars):
        raise ValueError(f"{method} takes an interval such as '1d' or '1h', not {interval!r}")
    return kind.interval.length or _LONGEST_MONTH


def _span(times: pl.Series) -> str:
    first, last = times.min(), times.max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
