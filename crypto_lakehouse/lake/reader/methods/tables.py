"""Methods that list tables and columns; ``storage/describe.py`` lists them."""

from __future__ import annotations

import polars as pl

from crypto_lakehouse.lake.reader.listing import Listing
from crypto_lakehouse.lake.reader.methods.base import Methods
from crypto_lakehouse.lake.reader.versions import AsOf
from crypto_lakehouse.lake.storage.describe import describe_frame, require_lake, split_table, tables_frame


class TableMethods(Methods):
    """What the lake holds."""

    def tables(self, *, as_of: AsOf | None = None) -> pl.DataFrame:
        """List the tables of the lake, one row per layer, table, exchange and market. All rows show when printed.

        Parameters
        ----------
        as_of
            As in ``scan``.

        Returns
        -------
        polars.DataFrame
            For pandas, add ``.to_pandas()``. Columns:
            layer, table, exchange, market, ``partitions`` (their number), ``first`` and ``last`` (UTC days or months of
            the oldest and newest partition, inclusive), ``bytes`` (size of the Parquet files).

        Raises
        ------
        MissingLakeError
            There is no lake at this location.

        Examples
        --------
        >>> lake.tables().filter(layer="silver").select("table", "market", "partitions", "first", "last")
        shape: (4, 5)
        ┌────────────────┬────────┬────────────┬────────────┬────────────┐
        │ table          ┆ market ┆ partitions ┆ first      ┆ last       │
        │ ---            ┆ ---    ┆ ---        ┆ ---        ┆ ---        │
        │ str            ┆ str    ┆ i64        ┆ str        ┆ str        │
        ╞════════════════╪════════╪════════════╪════════════╪════════════╡
        │ funding_rates  ┆ um     ┆ 2          ┆ 2024-12    ┆ 2025-01    │
        │ klines_1m      ┆ um     ┆ 3          ┆ 2024-12-30 ┆ 2025-01-01 │
        │ mark_klines_1m ┆ um     ┆ 3          ┆ 2024-12-30 ┆ 2025-01-01 │
        │ open_interest  ┆ um     ┆ 3          ┆ 2024-12-30 ┆ 2025-01-01 │
        └────────────────┴────────┴────────────┴────────────┴────────────┘
        """
        listed = Listing(tables_frame(self._at(as_of)))
        if listed.is_empty():
            require_lake(self._at(as_of))
        return listed

    def describe(self, table: str) -> pl.DataFrame:
        """List the columns of ``layer.table`` and their meaning. All rows show when printed.

        The lake need not hold the table.

        Returns
        -------
        polars.DataFrame
            For pandas, add ``.to_pandas()``. Columns:
            column, type (Arrow), unit, key (true for columns of the primary key), nullable, doc.

        Raises
        ------
        KeyError
            The table is unknown.

        Examples
        --------
        >>> lake.describe("gold.bars_1h").filter("key").select("column", "type", "unit")
        shape: (4, 3)
        ┌───────────┬───────────────────────┬─────────┐
        │ column    ┆ type                  ┆ unit    │
        │ ---       ┆ ---                   ┆ ---     │
        │ str       ┆ str                   ┆ str     │
        ╞═══════════╪═══════════════════════╪═════════╡
        │ symbol    ┆ string                ┆ name    │
        │ segment   ┆ int64                 ┆ 1       │
        │ offset    ┆ int64                 ┆ minutes │
        │ open_time ┆ timestamp[us, tz=UTC] ┆ UTC     │
        └───────────┴───────────────────────┴─────────┘
        """
        layer, name, _ = split_table(table)
        return Listing(describe_frame(layer, name))
