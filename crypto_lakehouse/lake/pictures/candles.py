"""The data of candlesticks: bars of one symbol, its funding rates, and the stretches that are not ordinary bars."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_lakehouse.catalog import FEEDS, find_market
from crypto_lakehouse.catalog.bars import Bars, TimeBars, parse_bars
from crypto_lakehouse.catalog.instruments import parse_symbol
from crypto_lakehouse.lake.pictures.picture import Picture
from crypto_lakehouse.lake.pictures.stretches import stretches

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
    read_bars: Callable[..., Any],
    scan: Callable[..., pl.LazyFrame],
    symbol: str,
    bars: str,
    *,
    exchange: str,
    market: str | None,
    funding: bool,
    **times: Any,
) -> Candles:
    """Read what a picture of a symbol shows, by the methods ``bars`` and ``scan`` of a lake.

    ``times`` are more arguments of ``bars``. Raises ValueError if there are no bars, or too many."""
    if not isinstance(symbol, str):
        raise TypeError(f"lake.plot draws one symbol, such as 'BTCUSDT', not {symbol!r}")
    kind = parse_bars(bars)
    newest = times.get("start") is None and times.get("last") is None
    if newest:
        times["last"] = _length(kind)
    rows: Any = read_bars(symbol, bars, exchange=exchange, market=market, format="polars", **times)
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
    rates = _funding(scan, exchange, market, symbol, first, end) if funding else _no_funding()
    offset = times.get("offset", "0m")
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
    scan: Callable[..., pl.LazyFrame], exchange: str, market: str | None, symbol: str, first: datetime, end: datetime
) -> pl.DataFrame:
    if (exchange, market, "funding_rates") not in FEEDS:
        return _no_funding()
    rows = scan(
        "silver.funding_rates",
        exchange=exchange,
        market=market,
        symbols=symbol,
        start=first,
        end=end,
        columns=list(_no_funding().columns),
    )
    return rows.sort("funding_time").collect()


def _no_funding() -> pl.DataFrame:
    return pl.DataFrame(schema={"funding_time": pl.Datetime("us", "UTC"), "funding_rate": pl.Float64})


def _base(exchange: str, market: str | None, symbol: str) -> str:
    """The base asset of a symbol, for the label of volumes; empty where the name does not say it."""
    facts = parse_symbol(find_market(exchange, market), symbol) if market else None
    return (facts.base_asset or "") if facts else ""
