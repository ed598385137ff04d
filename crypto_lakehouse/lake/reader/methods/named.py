"""Methods that read one kind of table by its name in the field; each is a ``read`` of one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from crypto_lakehouse.catalog import INTERVALS
from crypto_lakehouse.catalog.near import unknown_name
from crypto_lakehouse.lake.reader.arguments import Format, Output, TimeUnit, check_text
from crypto_lakehouse.lake.reader.gaps import read_gaps
from crypto_lakehouse.lake.reader.known import Mode
from crypto_lakehouse.lake.reader.methods.base import Methods
from crypto_lakehouse.lake.reader.request import RowRequest
from crypto_lakehouse.lake.reader.rows import read_rows
from crypto_lakehouse.lake.reader.times import Length, Time
from crypto_lakehouse.lake.reader.versions import AsOf

if TYPE_CHECKING:
    import pandas as pd


class NamedMethods(Methods):
    """Klines, funding, trades, open interest and gaps. Arguments, results and errors are those of ``read``."""

    def klines(
        self,
        symbols: str | Sequence[str] | None = None,
        interval: str = "1m",
        *,
        market: str | Sequence[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        last: Length | None = None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        known_by: Time | None = None,
        mode: Mode = "live",
        exchange: str = "binance",
        format: Format = "pandas",
        index: str | Sequence[str] | None = None,
        time_unit: TimeUnit = "us",
        as_of: AsOf | None = None,
    ) -> pd.DataFrame | pl.DataFrame | pa.Table | Any:
        """Return klines as the exchange published them: the rows of ``silver.klines_1m`` or of another interval.

        ``bars`` computes bars of any interval from continuous minutes, which have a row for each minute.

        Parameters
        ----------
        symbols, market, start, end, last, columns, limit, known_by, mode, exchange, format, index, time_unit
            As in ``read``.
        interval
            ``1m``, or another interval of the archive whose table the lake holds, such as ``1h``.
        as_of
            As in ``scan``.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            The rows of the table, sorted by market, symbol and open_time.

        Raises
        ------
        ValueError
            The interval is unknown; otherwise as in ``read``.

        Examples
        --------
        >>> klines = lake.klines("BTCUSDT", market="um", start="2025-01-01", limit=2)
        >>> klines[["open_time", "close", "trade_count"]]
                          open_time    close  trade_count
        0 2025-01-01 00:00:00+00:00  96810.4          357
        1 2025-01-01 00:01:00+00:00  96771.6         1012
        """
        check_text("interval", interval, "'1m' or '1h'")
        if interval not in INTERVALS:
            raise ValueError(f"{unknown_name('interval', interval, INTERVALS)}. lake.bars computes other intervals")
        table, output = f"silver.klines_{interval}", Output.parse(format, index, time_unit)
        request = RowRequest.parse(
            table,
            exchange,
            market,
            symbols,
            start,
            end,
            last,
            columns,
            limit,
            output.index,
            known_by=known_by,
            mode=mode,
        )
        return read_rows(self._at(as_of), request, output)

    def funding(
        self,
        symbols: str | Sequence[str] | None = None,
        *,
        market: str | Sequence[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        last: Length | None = None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        known_by: Time | None = None,
        mode: Mode = "live",
        exchange: str = "binance",
        format: Format = "pandas",
        index: str | Sequence[str] | None = None,
        time_unit: TimeUnit = "us",
        as_of: AsOf | None = None,
    ) -> pd.DataFrame | pl.DataFrame | pa.Table | Any:
        """Return funding events of perpetual contracts: the rows of ``silver.funding_rates``.

        Parameters
        ----------
        symbols, market, start, end, last, columns, limit, known_by, mode, exchange, format, index, time_unit
            As in ``read``. The range selects by ``funding_time``, the exact time of the event.
        as_of
            As in ``scan``.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            One row per symbol and event, sorted by market, symbol and funding_hour. The archive continues with events
            of settled contracts; add the column ``is_after_end`` to recognize them.

        Examples
        --------
        >>> lake.funding("ETHUSDT", market="um", start="2025-01", limit=2, columns=["funding_hour", "funding_rate"])
                       funding_hour  funding_rate
        0 2025-01-01 00:00:00+00:00      0.000035
        1 2025-01-01 04:00:00+00:00      0.000083
        """
        output = Output.parse(format, index, time_unit)
        request = RowRequest.parse(
            "silver.funding_rates",
            exchange,
            market,
            symbols,
            start,
            end,
            last,
            columns,
            limit,
            output.index,
            known_by=known_by,
            mode=mode,
        )
        return read_rows(self._at(as_of), request, output)

    def trades(
        self,
        symbols: str | Sequence[str] | None = None,
        *,
        aggregated: bool = False,
        market: str | Sequence[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        last: Length | None = None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        known_by: Time | None = None,
        mode: Mode = "live",
        exchange: str = "binance",
        format: Format = "pandas",
        index: str | Sequence[str] | None = None,
        time_unit: TimeUnit = "us",
        as_of: AsOf | None = None,
    ) -> pd.DataFrame | pl.DataFrame | pa.Table | Any:
        """Return trades: the rows of ``silver.trades`` or, with ``aggregated``, of ``silver.agg_trades``.

        A day of trades of one symbol may have millions of rows; ``scan`` does not load them.

        Parameters
        ----------
        symbols, market, start, end, last, columns, limit, known_by, mode, exchange, format, index, time_unit
            As in ``read``.
        aggregated
            Whether to return aggregated trades: fills of one order at one price.
        as_of
            As in ``scan``.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            The rows of the table, sorted by market, symbol and id.

        Examples
        --------
        This lake has no trades. A warning says so, with the command that builds them:

        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     rows = lake.trades("BTCUSDT", market="um", start="2025-01-01", end="2025-01-02")
        >>> command = str(caught[0].message).partition("Build them with: ")[2].partition(". ")[0]
        >>> len(rows), command.partition(" crypto-lakehouse ")[0]
        (0, 'LAKEHOUSE_TABLES=klines_1m,funding_rates,trades')
        >>> command.partition(" crypto-lakehouse ")[2]
        'backfill --market um --table trades --from 2025-01-01 --to 2025-01-01'
        """
        table, output = "silver.agg_trades" if aggregated else "silver.trades", Output.parse(format, index, time_unit)
        request = RowRequest.parse(
            table,
            exchange,
            market,
            symbols,
            start,
            end,
            last,
            columns,
            limit,
            output.index,
            known_by=known_by,
            mode=mode,
        )
        return read_rows(self._at(as_of), request, output)

    def open_interest(
        self,
        symbols: str | Sequence[str] | None = None,
        *,
        market: str | Sequence[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        last: Length | None = None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        known_by: Time | None = None,
        mode: Mode = "live",
        exchange: str = "binance",
        format: Format = "pandas",
        index: str | Sequence[str] | None = None,
        time_unit: TimeUnit = "us",
        as_of: AsOf | None = None,
    ) -> pd.DataFrame | pl.DataFrame | pa.Table | Any:
        """Return open interest and long/short ratios of every five minutes: the rows of ``silver.open_interest``.

        Parameters
        ----------
        symbols, market, start, end, last, columns, limit, known_by, mode, exchange, format, index, time_unit
            As in ``read``. The range selects by ``label_time``.
        as_of
            As in ``scan``.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            One row per symbol and five minutes. Use a row only from its ``known_time`` on: ``label_time`` may be the
            start of the five minutes.

        Examples
        --------
        >>> columns = ["known_time", "open_interest"]
        >>> lake.open_interest("BTCUSDT", market="um", last="1d", limit=2, columns=columns)
                         known_time  open_interest
        0 2025-01-01 00:00:00+00:00       1364.704
        1 2025-01-01 00:05:00+00:00       1376.507
        """
        output = Output.parse(format, index, time_unit)
        request = RowRequest.parse(
            "silver.open_interest",
            exchange,
            market,
            symbols,
            start,
            end,
            last,
            columns,
            limit,
            output.index,
            known_by=known_by,
            mode=mode,
        )
        return read_rows(self._at(as_of), request, output)

    def gaps(
        self,
        symbols: str | Sequence[str] | None = None,
        *,
        market: str | Sequence[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        last: Length | None = None,
        limit: int | None = None,
        exchange: str = "binance",
        format: Format = "pandas",
        index: str | Sequence[str] | None = None,
        time_unit: TimeUnit = "us",
        as_of: AsOf | None = None,
    ) -> pd.DataFrame | pl.DataFrame | pa.Table | Any:
        """Return the pauses that cut series into segments, and why their minutes are missing.

        Parameters
        ----------
        symbols, market, start, end, last, limit, exchange, format, index, time_unit, as_of
            As in ``read``. The range selects by ``gap_end``.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            The rows of ``gold.gaps``, and two more columns. ``evidence`` is JSON with the minutes of the gap by their
            reason in ``gold.missing_minutes``; minutes with a candle without volume count as ``no_trades``. ``cause``
            is the reason with the most minutes. Both are null if ``gold.missing_minutes`` does not have all days of the
            gap.

        Examples
        --------
        This sample has no gap:

        >>> gaps = lake.gaps("BTCUSDT", market="um")
        >>> len(gaps), gaps.columns[-2:].tolist()
        (0, ['cause', 'evidence'])
        """
        output = Output.parse(format, index, time_unit)
        request = RowRequest.parse("gold.gaps", exchange, market, symbols, start, end, last, None, limit, ())
        return output.convert(read_gaps(self._at(as_of), request))
