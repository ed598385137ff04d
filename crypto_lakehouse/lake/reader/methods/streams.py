"""Methods that return rows piece by piece; ``reader/stream.py`` reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import pyarrow as pa

from crypto_lakehouse.lake.reader.arguments import Format, Output, TimeUnit, check_limit
from crypto_lakehouse.lake.reader.known import Mode
from crypto_lakehouse.lake.reader.methods.base import Methods
from crypto_lakehouse.lake.reader.request import RowRequest
from crypto_lakehouse.lake.reader.stream import partitions, record_batches
from crypto_lakehouse.lake.reader.times import Length, Time
from crypto_lakehouse.lake.reader.versions import AsOf


class StreamMethods(Methods):
    """Rows of a table that need not fit in memory together."""

    def iter_days(
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
    ) -> Iterator[tuple[date, Any]]:
        """Return an iterator over the stored days of a table, oldest first; one day is in memory at a time.

        Parameters
        ----------
        table, exchange, market, symbols, start, end, last, columns, limit, format, index, time_unit
            As in ``read``; so are ``known_by``, ``mode`` and ``available_at``. Name a market, or a list of markets,
            if several have rows in the range.
        as_of
            As in ``scan``.

        Returns
        -------
        Iterator of (datetime.date, frame)
            The UTC day and its rows as ``read`` returns them, also for a day without rows of the symbols. A monthly
            table has one item per month, with its first day. The day of a gold bar is that on which it closes.

        Raises
        ------
        DamagedFile
            When the iterator reaches a file that cannot be read.
        ValueError
            Several markets have rows, and none is named; otherwise as in ``read``.
        KeyError, MissingLakeError
            As in ``read``.

        Warns
        -----
        LakeWarning
            Before the first day: partitions are missing, or the range is outside the stored ones.

        Examples
        --------
        >>> for day, rows in lake.iter_days("silver.klines_1m", market="um", symbols="BTCUSDT", start="2024-12-31"):
        ...     print(day, len(rows))
        2024-12-31 1440
        2025-01-01 1440
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
        return partitions(self._at(as_of), request, output, "lake.iter_days")

    def record_batches(
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
        time_unit: TimeUnit = "us",
        batch_rows: int = 100_000,
        as_of: AsOf | None = None,
    ) -> pa.RecordBatchReader:
        """Return the rows of a table as an Arrow RecordBatchReader, which reads files as batches are taken.

        DuckDB, Polars, pandas and Arrow's writers accept the reader as a source.

        Parameters
        ----------
        table, exchange, market, symbols, start, end, last, columns, limit, known_by, mode, available_at, time_unit
            As in ``read``. Name a market, or a list of markets, if several have rows in the range.
        batch_rows
            The most rows in a batch.
        as_of
            As in ``scan``.

        Returns
        -------
        pyarrow.RecordBatchReader
            Rows in order of partition, market, then row of the file, as in ``scan``. Memory holds some batches, also
            if one day has many millions of trades.

        Raises
        ------
        DamagedFile, FilesChanged
            When a batch of a damaged file is taken, or of one that a run has replaced since the call.
        ValueError
            As in ``iter_days``.
        KeyError, MissingLakeError
            As in ``read``.

        Warns
        -----
        LakeWarning
            As in ``iter_days``.

        Examples
        --------
        >>> reader = lake.record_batches("silver.klines_1m", market="um", columns=["symbol", "close"], batch_rows=1000)
        >>> reader.schema.names, sum(batch.num_rows for batch in reader)
        (['symbol', 'close'], 8640)
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
        most = check_limit(batch_rows, "batch_rows")
        return record_batches(
            self._at(as_of), request, Output.parse("arrow", time_unit=time_unit), most or 1, "lake.record_batches"
        )
