"""Methods that run SQL; ``reader/sql.py`` runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from crypto_lakehouse.lake.reader.arguments import Format, as_format, check_format
from crypto_lakehouse.lake.reader.methods.base import Methods

if TYPE_CHECKING:
    import pandas as pd


class SqlMethods(Methods):
    """Queries of DuckDB, which is imported on first use."""

    def sql(self, query: str, *, format: Format = "pandas") -> pd.DataFrame | pl.DataFrame | pa.Table | Any:
        """Run a DuckDB query; tables are named ``layer.table``, the session's time zone is UTC.

        Parameters
        ----------
        query
            One statement that reads: SELECT, WITH, PIVOT, DESCRIBE, SUMMARIZE or EXPLAIN. It cannot write, and cannot
            read files outside the lake.
        format
            ``pandas``, ``polars`` or ``arrow``.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            The rows of the query. If it returns a column name twice (such as ``a.*, b.*`` of a join), the later
            columns are ``open_1``, ``open_2``.

        Raises
        ------
        ValueError
            The query is not one reading statement, or it reads other files.
        KeyError
            A table does not exist.
        DamagedFile
            A file cannot be read; the error names it.
        QueryLimit
            The query reached the limit of memory or time (a LakeError).
        duckdb.Error
            DuckDB refuses the query.

        Notes
        -----
        Every table has the columns ``exchange``, ``market`` and ``date`` (``month`` in monthly tables). Conditions on
        these columns skip files. In gold bars ``date`` is the day on which the bar closes; for long bars and offsets
        it may be after the day of open_time. A table that is not built yet has no rows. Rows filled after the end of a
        series are left out as in ``scan``. ``SHOW ALL TABLES`` and ``information_schema`` list the tables of the lake
        by layer; entries in DuckDB's database ``temp`` are internal. If a run replaces files during a query, the query
        runs again.

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
        """
        check_format(format)
        from crypto_lakehouse.lake.reader.sql import run_sql, to_polars

        result = run_sql(self._store, query)
        return result if format == "arrow" else as_format(to_polars(result), format)
