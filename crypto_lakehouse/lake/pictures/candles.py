"""The data of candlesticks: bars of one symbol, its funding rates, and the stretches that are not ordinary bars."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_lakehouse.catalog import FEEDS, find_market
from crypto_lakehouse.catalog.bars import Bars, TimeBars, parse_bars
from crypto_lakehouse.catalog.instruments import parse_symbol
from crypto_lakehouse.lake.pictures.picture import Picture
from crypto_lakehouse.lake.pictures.stretches import stretches
from crypto_lakehouse.lake.reader.bars import collect_bars
from crypto_lakehouse.lake.reader.request import RowRequest
from crypto_lakehouse.lake.reader.rows import scan_rows
from crypto_lakehouse.lake.reader.times import TimeRange
from crypto_lakehouse.lake.storage.store import LakeStore

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

NEWEST, MOST = 240, 20_000
"""Number of bars that are drawn without ``start``, and the most that one picture may have."""
_DAYS_OF_ACTIVITY = timedelta(days=3)
_LONGEST_MONTH = timedelta(days=31)
_MICROSECOND = timedelta(microseconds=1)


class Candles(Picture):
    """Candlesticks of one symbol, with volume, funding rates and marked stretches."""

    def __init__(self, title: str, data: pl.DataFrame, funding: pl.DataFrame, base: str) -> None:
        super().__init__(title, data)
        self.funding = funding
        self.volume_label = f"volume ({base})" if base else "volume"
        self.stretches = stretches(data)

    def _plotly(self) -> go.Figure:
        from crypto_lakehouse.lake.pictures.candles_plotly import draw

        return draw(self.title, self.data, self.funding, self.stretches, self.volume_label)

    def _matplotlib(self, size: tuple[float, float] | None) -> Figure:
        from crypto_lakehouse.lake.pictures.candles_png import draw

        return draw(self.title, self.data, self.funding, self.stretches, self.volume_label, size)


def candles(
    store: LakeStore,
    symbol: str,
    bars: str,
    exchange: str,
    market: str | None,
    offset: str,
    times: TimeRange,
    funding: bool,
) -> Candles:
    """Read what a picture of a symbol shows. Raises ValueError if there are no bars, or too many."""
    if not isinstance(symbol, str):
        raise TypeError(f"lake.plot draws one symbol, such as 'BTCUSDT', not {symbol!r}")
    kind = parse_bars(bars)
    newest, expected = times.start is None and times.last is None, None
    if newest:
        # The caller did not choose this length, so a shorter lake is no reason to warn.
        expected, times = times, replace(times, last=_length(kind))
    rows = collect_bars(store, symbol, bars, exchange, market, offset, times, method="lake.plot", expected=expected)
    if rows["symbol"].n_unique() > 1:
        some = ", ".join(sorted(rows["symbol"].unique())[:5])
        raise ValueError(f"lake.plot draws one symbol, and {symbol} names several: choose one, such as {some}")
    if newest:
        rows = rows.tail(NEWEST)
    if rows.is_empty():
        raise ValueError(f"no {bars} bars of {symbol} in {exchange}/{market} in this range: there is nothing to draw")
    if rows.height > MOST:
        raise ValueError(
            f"{rows.height:,} bars are too many for one picture (at most {MOST:,}): choose a shorter range or longer"
            " bars"
        )
    first, end = rows["open_time"][0], rows["close_time"][-1] + _MICROSECOND
    rates = _funding(store, exchange, market, symbol, first, end) if funding else _no_funding()
    shift = "" if offset == "0m" else f" + {offset}"
    span = f"{first:%Y-%m-%d} to {end - _MICROSECOND:%Y-%m-%d}"
    return Candles(
        f"{symbol}, {exchange} {market}, {bars}{shift}, {span} (UTC)", rows, rates, _base(exchange, market, symbol)
    )


def _length(bars: Bars) -> timedelta:
    """How long before the newest partition the newest bars start."""
    if isinstance(bars, TimeBars):
        return (NEWEST + 1) * (bars.interval.length or _LONGEST_MONTH)
    return _DAYS_OF_ACTIVITY


def _funding(
    store: LakeStore, exchange: str, market: str | None, symbol: str, first: datetime, end: datetime
) -> pl.DataFrame:
    if (exchange, market, "funding_rates") not in FEEDS:
        return _no_funding()
    columns = list(_no_funding().columns)
    request = RowRequest.parse("silver.funding_rates", exchange, market, symbol, first, end, columns=columns)
    return scan_rows(store, request)[0].sort("funding_time").collect()


def _no_funding() -> pl.DataFrame:
    return pl.DataFrame(schema={"funding_time": pl.Datetime("us", "UTC"), "funding_rate": pl.Float64})


def _base(exchange: str, market: str | None, symbol: str) -> str:
    """The base asset of a symbol, for the label of volumes; empty where the name does not say it."""
    facts = parse_symbol(find_market(exchange, market), symbol) if market else None
    return (facts.base_asset or "") if facts else ""
