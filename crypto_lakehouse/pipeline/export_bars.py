"""What the exports share: the stored symbols of a table, and the finished bars of a symbol.

The files of each program are in ``export_freqtrade.py`` and ``export_nautilus.py``.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import cast

import polars as pl

from crypto_lakehouse.catalog.bars import BAR_INTERVALS
from crypto_lakehouse.catalog.near import with_near
from crypto_lakehouse.lake.reader.lakehouse import Lakehouse

EXCHANGE = "binance"
MARKETS = ("spot", "um")
"""The markets whose volumes are in the base asset, as trading programs expect."""
TIMEFRAMES = ("1m", *BAR_INTERVALS)
MINUTES = "gold.continuous_1m"


def check_timeframe(timeframe: str) -> str:
    """Return the name of an interval. Raises ValueError for any other kind of bars."""
    if timeframe not in TIMEFRAMES:
        raise ValueError(f"no timeframe {with_near(timeframe, TIMEFRAMES)}; there are {', '.join(TIMEFRAMES)}")
    return timeframe


def stored_symbols(
    lake: Lakehouse, table: str, market: str, start: date | None, end: date | None, exchange: str = EXCHANGE
) -> list[str]:
    """The symbols with rows in [start, end), sorted; without a range, those of all partitions, delisted ones too."""
    # Without any range, lake.symbols reads the newest partition only.
    return lake.symbols(market, table=table, start=start or date.min, end=end, exchange=exchange)


def finished_bars(
    lake: Lakehouse, market: str, symbol: str, timeframe: str, start: date | None, end: date | None
) -> pl.DataFrame:
    """The bars of a symbol with open_time in [start, end), in order; ``end_time`` is the end of the window, exclusive.

    ``1m`` returns the continuous minutes. A last bar that is not complete is left out: a trading program would take it
    for a finished one.
    """
    if timeframe == "1m":
        minutes = lake.read(MINUTES, market=market, symbols=symbol, start=start, end=end, format="polars")
        bars = cast("pl.DataFrame", minutes).with_columns(end_time=pl.col("open_time") + timedelta(minutes=1))
    else:
        bars = cast("pl.DataFrame", lake.bars(symbol, timeframe, market=market, start=start, end=end, format="polars"))
        if bars.height and not bars["complete"][-1]:
            bars = bars.head(-1)
        bars = bars.with_columns(end_time=pl.col("close_time") + timedelta(microseconds=1))
    return _one_per_window(bars)


def _one_per_window(bars: pl.DataFrame) -> pl.DataFrame:
    """Join the bars of a window in which a new segment starts: trading programs have one bar per window."""
    return (
        bars.sort("open_time", "segment")
        .group_by("open_time", "end_time", maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("base_volume").sum(),
        )
    )
