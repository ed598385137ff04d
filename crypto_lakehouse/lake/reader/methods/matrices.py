"""Methods that arrange bars for research: ``reader/panel.py`` builds matrices, ``reader/align.py`` joins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from crypto_lakehouse.lake.reader.align import aligned
from crypto_lakehouse.lake.reader.arguments import Format, Output, TimeUnit
from crypto_lakehouse.lake.reader.known import Known, Mode
from crypto_lakehouse.lake.reader.methods.base import Methods
from crypto_lakehouse.lake.reader.panel import Fill, Panel, PanelFormat, read_panel
from crypto_lakehouse.lake.reader.times import Length, Time, time_range
from crypto_lakehouse.lake.reader.versions import AsOf

if TYPE_CHECKING:
    import pandas as pd


class MatrixMethods(Methods):
    """Matrices of time and symbol, and bars with what was known when they closed."""

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
        known_by: Time | None = None,
        mode: Mode = "live",
        format: PanelFormat = "pandas",
        time_unit: TimeUnit = "us",
        as_of: AsOf | None = None,
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
        known_by, mode
            As in ``scan``: windows that were known at a time.
        format
            ``pandas`` (index ``open_time``, one column per symbol), ``polars`` (column ``open_time`` first), or
            ``numpy``: a named tuple of ``values`` (times x symbols), ``times`` and ``symbols``.
        time_unit
            As in ``read``.
        as_of
            As in ``scan``.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or Panel
            Floats; empty cells are NaN (null in Polars). The rows are all windows from the first to the last bar of
            any symbol, without holes. Columns are in the order of ``symbols`` if it has no pattern, and sorted
            otherwise; a named symbol without bars is an empty column. A window in which one segment ends and the next
            starts shows the later one. Matrices of different fields have the same rows and columns, and that of
            ``segment`` shows where prices cannot be compared with those before. Row ``t`` is known when its window
            ends, at ``t`` plus the interval: shift the matrix by one row before you trade on it.

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
            self._at(as_of),
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
            Known.parse(known_by, mode),
        )

    def align(
        self,
        symbols: str | Sequence[str] | None = None,
        bars: str = "1h",
        *,
        exchange: str = "binance",
        market: str | None = None,
        offset: str = "0m",
        start: Time | None = None,
        end: Time | None = None,
        last: Length | None = None,
        include: str | Sequence[str] | None = None,
        max_age: Length = "1d",
        columns: Sequence[str] | None = None,
        format: Format = "pandas",
        index: str | Sequence[str] | None = None,
        time_unit: TimeUnit = "us",
        as_of: AsOf | None = None,
    ) -> pd.DataFrame | pl.DataFrame | pa.Table | Any:
        """Return bars with the funding rate, open interest and mark price that were known when each bar closed.

        Each row says in ``known_time`` when its bar had closed. A value is never joined if it became known later:

        - funding: the last event before ``known_time``. ``funding_time`` is the exact time of the event, on the hour or
          some milliseconds after it. In both cases the event at the close of a bar joins the next bar, so with bars
          as long as the time between two events each event joins one bar.
        - open interest: the last value with ``known_time`` of silver.open_interest at or before that of the bar. Its
          five minutes had certainly ended then, so a value of exactly the close is known.
        - mark price: the close of the last mark kline that ended at or before ``known_time``.

        Parameters
        ----------
        symbols, bars, exchange, market, offset, start, end, last
            As in ``bars``. Activity bars are joined in the same way.
        include
            ``funding``, ``open_interest`` or ``mark_price``, one or several. Default: those that the archive of the
            market has. The mark price is that of the shortest mark klines that the lake holds.
        max_age
            A value that was known longer than this before ``known_time`` is not joined.
        columns
            Columns of the bars to return. Default: all but those of funding within a bar.
        format, index, time_unit
            As in ``read``.
        as_of
            As in ``scan``.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            Rows of ``bars`` in the same order: their columns, ``known_time``, then ``funding_rate`` and
            ``funding_time`` of the last event; ``open_interest``, ``open_interest_value`` and ``open_interest_time``;
            ``mark_price`` and ``mark_price_time``. Each of these times says when the value became known. Values are
            null where nothing was known.

        Raises
        ------
        ValueError
            The market does not have a source that ``include`` names; otherwise as in ``bars``.
        KeyError
            As in ``bars``.

        Warns
        -----
        LakeWarning
            As in ``bars`` for the bars, and as in ``read`` for each table that is joined.

        Examples
        --------
        >>> rows = lake.align("BTCUSDT", "8h", market="um", start="2024-12-31", columns=["open_time", "close"])
        >>> rows[["close", "known_time", "funding_rate", "funding_time"]].head(2)
             close                known_time  funding_rate                  funding_time
        0  96342.9 2024-12-31 08:00:00+00:00      0.000002 2024-12-31 00:00:00.006+00:00
        1  96434.4 2024-12-31 16:00:00+00:00     -0.000016 2024-12-31 08:00:00.004+00:00
        """
        output = Output.parse(format, index, time_unit)
        rows = aligned(
            self._at(as_of),
            symbols,
            bars,
            exchange,
            market,
            offset,
            time_range(start, end, last),
            include,
            max_age,
            columns,
            output.index,
        )
        return output.convert(rows)
