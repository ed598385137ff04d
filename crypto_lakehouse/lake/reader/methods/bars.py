"""Methods that return bars; ``reader/bars.py`` reads or computes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from crypto_lakehouse.lake.reader.arguments import Format, Output, TimeUnit, check_limit
from crypto_lakehouse.lake.reader.bars import read_bars
from crypto_lakehouse.lake.reader.known import Mode
from crypto_lakehouse.lake.reader.methods.base import Methods
from crypto_lakehouse.lake.reader.times import Length, Time, time_range
from crypto_lakehouse.lake.reader.versions import AsOf

if TYPE_CHECKING:
    import pandas as pd


class BarMethods(Methods):
    """Bars of any kind."""

    def bars(
        self,
        symbols: str | Sequence[str] | None,
        bars: str,
        *,
        exchange: str = "binance",
        market: str | None = None,
        offset: str = "0m",
        start: Time | None = None,
        end: Time | None = None,
        last: Length | None = None,
        limit: int | None = None,
        known_by: Time | None = None,
        mode: Mode = "live",
        available_at: bool = False,
        format: Format = "pandas",
        index: str | Sequence[str] | None = None,
        time_unit: TimeUnit = "us",
        as_of: AsOf | None = None,
    ) -> pd.DataFrame | pl.DataFrame | pa.Table | Any:
        """Return bars of any kind whose open_time is within [start, end), sorted by primary key.

        Parameters
        ----------
        symbols
            One symbol or several, or patterns, as in ``scan``; None means all.
        bars
            An interval (``3m`` to ``1w``, ``1mo``), or an activity and its threshold: ``dollar:1000000``
            (quote_volume), ``volume:100`` (base_volume), ``tick:5000`` (trades).
        exchange
            Name of the exchange.
        market
            One market; required.
        offset
            Shifts the windows of an interval by whole minutes (``5m``, ``1h``); shorter than the interval.
        start, end
            Range of open_time, UTC: ``start`` inclusive, ``end`` exclusive. Forms of a time as in ``scan``.
        last
            Length of the range instead of ``start``, as in ``scan``.
        limit
            The most rows to return: the first ones. All bars of the range are computed.
        known_by, mode, available_at
            As in ``scan``: bars that were known at a time.
        format, index, time_unit
            As in ``read``.
        as_of
            As in ``scan``.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            The columns of gold.bars_1h or, for activity bars, of gold.bars_dollar_1000000 (see ``describe``). If a gold
            table holds exactly these bars, they are read from it. Otherwise they are computed from gold.continuous_1m,
            with the same rows. Bars that close after the newest partition are not returned. After the last trade of a
            symbol there are no bars, as in ``scan``.

        Raises
        ------
        ValueError
            The kind is unknown, the offset, a symbol or a time is malformed, or ``market`` is missing.
        TypeError
            An argument that must be text is not.
        KeyError
            The exchange or market is unknown.
        MissingLakeError
            There is no lake at this location.

        Warns
        -----
        LakeWarning
            The market has no minutes, or none in the range. A symbol has no bars in the range. Days between the oldest
            and the newest partition are missing, so bars over these days are partial.

        Examples
        --------
        >>> bars = lake.bars(["ETHUSDT"], "1h", market="um", offset="5m", start="2024-12-31", end="2025-01-01")
        >>> bars[["open_time", "close", "n_minutes"]].head(2)
                          open_time    close  n_minutes
        0 2024-12-31 00:05:00+00:00  3379.56         60
        1 2024-12-31 01:05:00+00:00  3401.84         60
        """
        output, times = Output.parse(format, index, time_unit), time_range(start, end, last)
        rows = check_limit(limit)
        return read_bars(
            self._at(as_of),
            symbols,
            bars,
            exchange,
            market,
            offset,
            times,
            rows,
            output,
            known_by=known_by,
            mode=mode,
            available_at=available_at,
        )
