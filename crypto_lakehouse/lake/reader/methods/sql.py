"""Methods that run SQL; ``reader/sql.py`` runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from crypto_lakehouse.lake.reader.arguments import Format, as_format, check_format
from crypto_lakehouse.lake.reader.methods.base import Methods
from crypto_lakehouse.lake.reader.versions import AsOf
from crypto_lakehouse.lake.reader.warn import warn

if TYPE_CHECKING:
    import duckdb
    import pandas as pd


class SqlMethods(Methods):
    """Queries of DuckDB, which is imported on first use."""

    def sql(
        self,
        query: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        format: Format = "pandas",
        as_of: AsOf | None = None,
    ) -> pd.DataFrame | pl.DataFrame | pa.Table | Any:
        """Run a DuckDB query; tables are named ``layer.table``, the session's time zone is UTC.

        Parameters
        ----------
        query
            One statement that reads: SELECT, WITH, PIVOT, DESCRIBE, SUMMARIZE or EXPLAIN. It cannot write, and cannot
            read files outside the lake. It may use the functions ``vwap``, ``returns``, ``log_returns`` and
            ``resample`` (below).
        params
            Values of the query's parameters: a mapping for ``$name``, a sequence for ``?``. A value is never read as
            SQL. Text is converted to the type that it is compared with; a list fits ``symbol IN $symbols``.
        format
            ``pandas``, ``polars`` or ``arrow``.
        as_of
            As in ``scan``.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            The rows of the query. If it returns a column name twice (such as ``a.*, b.*`` of a join), the later
            columns are ``open_1``, ``open_2``.

        Raises
        ------
        ValueError
            The query is not one reading statement, it reads other files, or the parameters do not fit it.
        KeyError
            A table does not exist.
        DamagedFile
            A file cannot be read; the error names it.
        QueryLimit
            The query reached the limit of memory or time (a LakeError).
        duckdb.Error
            DuckDB refuses the query.

        Warns
        -----
        LakeWarning
            The query names a table that the lake does not hold yet, or of which partitions are missing between the
            oldest and the newest one, unless its conditions on days and times exclude them. The warning gives the
            command that builds them.

        Notes
        -----
        Every table has the columns ``exchange``, ``market`` and ``date`` (``month`` in monthly tables). Conditions on
        these columns skip files. In gold bars ``date`` is the day on which the bar closes; for long bars and offsets
        it may be after the day of open_time. A table that is not built yet has no rows. Rows filled after the end of a
        series are left out as in ``scan``. ``SHOW TABLES`` lists the tables of the lake; in ``SHOW ALL TABLES`` and
        ``information_schema``, entries in DuckDB's database ``temp`` are internal. If a run replaces files during a
        query, the query runs again.

        ``vwap(quote_volume, base_volume)`` is the volume-weighted average price of a group. ``returns(price, series,
        time)`` is the change since the row before in the same series, and ``log_returns`` its logarithm: the series is
        a column, or several as ``(market, symbol, segment)``. ``FROM resample('gold.bars_1h', INTERVAL '4 hours')``
        gives bars of a longer interval. Conditions on market and symbol skip files. For a range of days, name a WITH
        query instead of the table.

        A query stops at Ctrl-C, after LAKEHOUSE_SQL_TIMEOUT seconds, and at the limit LAKEHOUSE_SQL_MEMORY (such as
        ``4GB``). DuckDB may use that much memory, and sorts and groups on disk beyond it. The returned rows may use as
        much again.

        Examples
        --------
        >>> query = "SELECT symbol, max(high) AS highest FROM gold.bars_1h WHERE market = 'um' GROUP BY 1 ORDER BY 1"
        >>> lake.sql(query)
            symbol   highest
        0  BTCUSDT  98514.70
        1  ETHUSDT   3432.45
        >>> lake.sql("SELECT count(*) AS bars FROM gold.bars_1h WHERE symbol = $symbol", {"symbol": "BTCUSDT"})
           bars
        0    72
        """
        check_format(format)
        from crypto_lakehouse.lake.reader.sql import missing_tables_message, run_sql, to_polars
        from crypto_lakehouse.lake.reader.sql_missing import missing_days_message

        answer = run_sql(self._at(as_of), query, params)
        if answer.missing:
            warn(missing_tables_message(self._at(as_of), query, answer.missing))
        if answer.holes:
            warn(missing_days_message(self._at(as_of), answer.holes))
        return answer.rows if format == "arrow" else as_format(to_polars(answer.rows), format)

    def duckdb(self, *, as_of: AsOf | None = None) -> duckdb.DuckDBPyConnection:
        """Open a DuckDB connection with a view of each table of the lake, for longer work than one query.

        Parameters
        ----------
        as_of
            As in ``scan``.

        Returns
        -------
        duckdb.DuckDBPyConnection
            A database in memory; close it at the end, or use it in a ``with`` block. It has the views, functions and
            time zone of ``sql``. You can create tables in it and register frames (``connection.register``). It cannot
            read or write any file, so the lake cannot change.

        Raises
        ------
        MissingLakeError
            There is no lake at this location.

        Notes
        -----
        The views show the files that exist at the time of this call: open another connection after a run. They read
        through Arrow, which is slower than ``sql`` on a local lake. LAKEHOUSE_SQL_MEMORY limits the memory of DuckDB;
        LAKEHOUSE_SQL_TIMEOUT does not apply.

        Examples
        --------
        >>> with lake.duckdb() as connection:
        ...     days = connection.sql("SELECT date, count(*) AS bars FROM gold.bars_1h GROUP BY 1 ORDER BY 1")
        ...     days.limit(2).fetchall()
        [(datetime.date(2024, 12, 30), 48), (datetime.date(2024, 12, 31), 48)]
        """
        from crypto_lakehouse.lake.reader.sql import open_connection

        return open_connection(self._at(as_of))
