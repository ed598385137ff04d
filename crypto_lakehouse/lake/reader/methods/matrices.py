"""Methods that arrange bars for research: ``reader/panel.py`` builds matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_lakehouse.lake.reader.arguments import TimeUnit
from crypto_lakehouse.lake.reader.methods.base import Methods
from crypto_lakehouse.lake.reader.panel import Fill, Panel, PanelFormat, read_panel
from crypto_lakehouse.lake.reader.times import Length, Time, time_range

if TYPE_CHECKING:
    import pandas as pd


class MatrixMethods(Methods):
    """Matrices of time and symbol."""

    def panel(
        self,
        field: str,
        symbols: str | Sequence[str] | None = None,
        interval: str = "1d",
        *,
        exchange: str = "binance",
        market: str | None = None,
        offset: str = "0m",
        start: Time | None = None,
        end: Time | None = None,
        last: Length | None = None,
        fill: Fill | None = None,
        format: PanelFormat = "pandas",
        time_unit: TimeUnit = "us",
    ) -> pd.DataFrame | pl.DataFrame | Panel | Any:
        """Return one column of bars as a matrix: a row for each window, a column for each symbol.

        Parameters
        ----------
        field
            A column of numbers of gold.bars_1h, such as ``close`` or ``quote_volume``; of gold.continuous_1m if the
            interval is ``1m``.
        symbols
            One symbol or several, or patterns, as in ``scan``; None means all with bars in the range.
        interval
            ``1m``, or an interval that ``bars`` takes.
        exchange, market, offset, start, end, last
            As in ``bars``.
        fill
            None: a price of a window in which nothing was traded is empty. ``forward``: it is the last price before,
            and windows that are missing between two bars of a segment take the last value, too. Nothing is filled
            before the first bar, across a gap (another segment), or after the end of a series.
        format
            ``pandas`` (index ``open_time``, one column per symbol), ``polars`` (column ``open_time`` first), or
            ``numpy``: a named tuple of ``values`` (times x symbols), ``times`` and ``symbols``.
        time_unit
            As in ``read``.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or Panel
            Floats; empty cells are NaN (null in Polars). The rows are all windows from the first to the last bar of
            any symbol, without holes. Columns are in the order of ``symbols`` if it has no pattern, and sorted
            otherwise; a named symbol without bars is an empty column. A window in which one segment ends and the next
            starts shows the later one. Row ``t`` is known when its window ends, at ``t`` plus the interval: shift the
            matrix by one row before you trade on it.

        Raises
        ------
        ValueError
            The field is not a number, or cannot be filled; otherwise as in ``bars``.
        KeyError
            The field, exchange or market is unknown.

        Warns
        -----
        LakeWarning
            As in ``bars``.

        Examples
        --------
        >>> lake.panel("close", market="um")
        symbol                     BTCUSDT  ETHUSDT
        open_time
        2024-12-30 00:00:00+00:00  96398.9  3390.38
        2024-12-31 00:00:00+00:00  96837.1  3380.92
        2025-01-01 00:00:00+00:00  96634.2  3317.09
        >>> values, times, symbols = lake.panel("quote_volume", "BTC*", "8h", market="um", format="numpy")
        >>> values.shape, times[0], symbols
        ((9, 1), np.datetime64('2024-12-30T00:00:00.000000'), ['BTCUSDT'])
        """
        return read_panel(
            self._store,
            field,
            symbols,
            interval,
            exchange,
            market,
            offset,
            time_range(start, end, last),
            fill,
            format,
            time_unit,
        )
