"""Methods that return rows of a table; ``reader/rows.py`` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from crypto_lakehouse.lake.reader.arguments import Format, Output, TimeUnit
from crypto_lakehouse.lake.reader.known import Mode
from crypto_lakehouse.lake.reader.methods.base import Methods
from crypto_lakehouse.lake.reader.request import RowRequest
from crypto_lakehouse.lake.reader.rows import read_rows, scan_with_warnings
from crypto_lakehouse.lake.reader.times import Length, Time
from crypto_lakehouse.lake.reader.versions import AsOf

if TYPE_CHECKING:
    import pandas as pd


class RowMethods(Methods):
    """Rows of any table."""

    def scan(
        self,
        table: str,
        *,
        exchange: str = "binance",
        market: str | Sequence[str] | None = None,
        symbols: str | Sequence[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        last: Length | None = None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        as_of: AsOf | None = None,
        known_by: Time | None = None,
        mode: Mode = "live",
        available_at: bool = False,
    ) -> pl.LazyFrame:
        """Return rows of ``layer.table`` as a lazy Polars frame; only files of the range are opened.

        Parameters
        ----------
        table
            ``layer.table``, such as ``gold.bars_1h``; ``tables`` lists those that the lake holds.
        exchange
            Name of the exchange.
        market
            One market or several; None means all. It is required if one of the ``symbols`` has rows in several
            markets. A read with ``market`` is faster, because it does not search for such symbols.
        symbols
            One symbol or several; None means all. Patterns and exclusions as in LAKEHOUSE_SYMBOLS:
            ``BTC*,!BTCDOMUSDT``.
        start, end
            Range of the table's time column, UTC: ``start`` inclusive, ``end`` exclusive. A date, a datetime, a time
            of NumPy or pandas, or ISO 8601 text; a month (``2024-12``) is its first instant. Times without a time zone
            are UTC. In bronze, ledger, quarantine, gold.instruments and gold.symbol_states the
            range selects whole partitions, all that overlap it. A gold bar is in the partition of the day on which it
            closes, but the range selects it by its open_time.
        last
            Length of the range instead of ``start``: ``30d``, ``12h``, ``90m``, ``4w`` or a timedelta. It ends at
            ``end`` or, without it, at the end of the newest stored partition.
        columns
            Names of the columns to return. Default: the columns of the schema, then ``exchange`` and ``market``.
            ``date`` (``month`` in monthly tables) and ``is_after_end`` are returned only if named here.
        limit
            The most rows to return: the first ones.
        as_of
            A time (UTC), or the text of ``snapshot``: each partition is read as this lake held it then. Default: the
            ``as_of`` of the lake, or the present.
        known_by
            Return only rows that were known at this time, UTC: whose ``available_at`` is not later. A series counts as
            ended only if that was known then.
        mode
            What counts as known. ``live``: the end of the row's window or its event, and the delay with which an
            exchange publishes it. ``archive``: when this lake first saw the archive's files that the row was made of.
        available_at
            Whether to return the column ``available_at``. It may also be named in ``columns``.

        Returns
        -------
        polars.LazyFrame
            Rows in order of partition, market, then row of the file. A table without data gives an empty frame with
            the same columns. The frame reads the files that exist at the time of this call.

        Raises
        ------
        KeyError
            The table, exchange, market or column is unknown.
        ValueError
            A symbol, time or limit is malformed, ``end`` is before ``start``, ``start`` and ``last`` are both given,
            ``start`` is not before ``known_by``, or rows of several markets would be mixed.
        MissingLakeError
            There is no lake at this location.

        Notes
        -----
        gold.continuous_1m and gold bars store forward-filled rows for up to two gap thresholds after a delisting or
        before a gap. The newest partition of gold.symbol_states says which series are over (``has_ended``). Filled rows
        after the last trade of such a series are left out.

        In silver no row is left out. The archive continues to publish funding, open interest, and mark, index and
        premium prices of settled contracts. The column ``is_after_end`` of these tables is true if the symbol was not
        traded at that time, by the newest partition of gold.symbol_states. It is null if the market has no such
        partition.

        With ``symbols``, a month of which many days are read comes from its month file, if that is up to date. The rows
        are the same. If a file is damaged, ``collect`` raises Polars' ``ComputeError``, which does not name the file;
        ``read`` and ``crypto-lakehouse verify`` name it.

        Examples
        --------
        >>> rows = lake.scan("silver.klines_1m", market="um", symbols=["BTCUSDT"], start="2024-12-31", end="2025-01-01")
        >>> rows.select("open_time", "close").head(2).collect()
        shape: (2, 2)
        ┌─────────────────────────┬─────────┐
        │ open_time               ┆ close   │
        │ ---                     ┆ ---     │
        │ datetime[μs, UTC]       ┆ f64     │
        ╞═════════════════════════╪═════════╡
        │ 2024-12-31 00:00:00 UTC ┆ 96433.9 │
        │ 2024-12-31 00:01:00 UTC ┆ 96374.9 │
        └─────────────────────────┴─────────┘
        """
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
            known_by=known_by,
            mode=mode,
            available_at=available_at,
        )
        return scan_with_warnings(self._at(as_of), request)

    def read(
        self,
        table: str,
        *,
        exchange: str = "binance",
        market: str | Sequence[str] | None = None,
        symbols: str | Sequence[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        last: Length | None = None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        known_by: Time | None = None,
        mode: Mode = "live",
        available_at: bool = False,
        format: Format = "pandas",
        index: str | Sequence[str] | None = None,
        time_unit: TimeUnit = "us",
        as_of: AsOf | None = None,
    ) -> pd.DataFrame | pl.DataFrame | pa.Table | Any:
        """Return rows of ``layer.table`` in memory, sorted by market and primary key.

        Parameters
        ----------
        table, exchange, market, symbols, start, end, last, columns, known_by, mode, available_at
            As in ``scan``.
        limit
            The most rows to return: the first ones of ``scan``, then sorted.
        format
            ``pandas`` (times are tz-aware, UTC), ``polars`` or ``arrow``.
        index
            One column or several that become the index of the pandas frame, such as ``open_time``. They need not be in
            ``columns``.
        time_unit
            ``us``, or ``ns`` for libraries that count nanoseconds.
        as_of
            As in ``scan``.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            The rows. If a run replaces files during the read, the files are listed and read again.

        Raises
        ------
        DamagedFile
            A file cannot be read. The error names the file and the command that rebuilds it.
        KeyError, ValueError, MissingLakeError
            As in ``scan``.

        Warns
        -----
        LakeWarning
            A symbol has no rows in the range: the warning says whether it was listed then, if the lake has
            gold.instruments. The range is outside the stored partitions. A market that you name has no partitions, or
            no market has any. In the range, partitions are missing between the oldest and the newest one of a market.
            Partitions that an older version built have no values in newer columns. If ``limit`` is reached, only the
            last of these is checked.

        Examples
        --------
        >>> rates = lake.read("silver.funding_rates", market="um", symbols="BTCUSDT", start="2025-01-01")
        >>> rates[["funding_hour", "interval_hours", "funding_rate"]].head(3)
                       funding_hour  interval_hours  funding_rate
        0 2025-01-01 00:00:00+00:00               8      0.000232
        1 2025-01-01 08:00:00+00:00               8      0.000202
        2 2025-01-01 16:00:00+00:00               8     -0.000036

        What was known at 02:00: a bar that closes then is published some seconds later.

        >>> bars = {"market": "um", "symbols": "BTCUSDT", "start": "2025-01-01"}
        >>> lake.read("gold.bars_1h", limit=2, columns=["open_time", "available_at"], **bars)
                          open_time              available_at
        0 2025-01-01 00:00:00+00:00 2025-01-01 01:00:05+00:00
        1 2025-01-01 01:00:00+00:00 2025-01-01 02:00:05+00:00
        >>> len(lake.read("gold.bars_1h", known_by="2025-01-01T02:00", **bars))
        1

        The last two hours of symbols that start with BTC, by time:

        >>> lake.read("gold.bars_1h", market="um", symbols="BTC*", last="2h", columns=["close"], index="open_time")
                                     close
        open_time
        2025-01-01 22:00:00+00:00  97023.2
        2025-01-01 23:00:00+00:00  96634.2
        """
        output = Output.parse(format, index, time_unit)
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
            index=output.index,
            known_by=known_by,
            mode=mode,
            available_at=available_at,
        )
        return read_rows(self._at(as_of), request, output)
