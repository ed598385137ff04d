"""Methods that list tables and columns; ``storage/describe.py`` lists them."""

from __future__ import annotations

import polars as pl

from crypto_lakehouse.lake.reader.methods.base import Methods
from crypto_lakehouse.lake.storage.describe import describe_frame, require_lake, split_table, tables_frame


class TableMethods(Methods):
    """What the lake holds."""

    def tables(self) -> pl.DataFrame:
        """List the tables of the lake, one row per layer, table, exchange and market.

        Returns
        -------
        polars.DataFrame
            layer, table, exchange, market, ``partitions`` (their number), ``first`` and ``last`` (UTC days or months of
            the oldest and newest partition, inclusive), ``bytes`` (size of the Parquet files).

        Raises
        ------
        MissingLakeError
            There is no lake at this location.

        Examples
        --------
        >>> lake.tables()
        """
        listed = tables_frame(self._store)
        if listed.is_empty():
            require_lake(self._store)
        return listed

    def describe(self, table: str) -> pl.DataFrame:
        """List the columns of ``layer.table``.

        Returns
        -------
        polars.DataFrame
            column, type (Arrow), unit, key (true for columns of the primary key), nullable, doc.

        Raises
        ------
        KeyError
            The table is unknown.

        Examples
        --------
        >>> lake.describe("gold.bars_1h")
        """
        layer, name, _ = split_table(table)
        return describe_frame(layer, name)
