"""Methods that say what the lake holds of a market or a symbol; ``reader/contents.py`` finds it."""

from __future__ import annotations

import polars as pl

from crypto_lakehouse.lake.reader.arguments import check_one_market
from crypto_lakehouse.lake.reader.contents import newest_partitions, symbol_coverage, symbols_of, traded_symbols
from crypto_lakehouse.lake.reader.listing import Listing
from crypto_lakehouse.lake.reader.methods.base import Methods
from crypto_lakehouse.lake.reader.request import RowRequest
from crypto_lakehouse.lake.reader.times import Length, Time, time_range
from crypto_lakehouse.lake.reader.versions import AsOf


class ContentMethods(Methods):
    """Symbols, coverage and freshness."""

    def symbols(
        self,
        market: str,
        *,
        table: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
        last: Length | None = None,
        exchange: str = "binance",
        as_of: AsOf | None = None,
    ) -> list[str]:
        """List the symbols of a market that the lake holds, sorted. ``universe`` lists those of the exchange.

        Parameters
        ----------
        market
            One market.
        table
            A table whose symbols to list: those with rows in the range or, without a range, in the newest partition.
            Default: the symbols with traded minutes, from the newest partition of gold.symbol_states, which is fast.
        start, end, last
            Range as in ``read``. Without ``table``: symbols whose first and last trade are around or within it.
        exchange
            Name of the exchange.
        as_of
            As in ``scan``.

        Returns
        -------
        list of str
            Symbols as the exchange writes them.

        Raises
        ------
        KeyError
            The table, exchange or market is unknown.
        MissingPartition
            No ``table`` is named, and the market has no gold.symbol_states; the error names the command to run.

        Examples
        --------
        >>> lake.symbols("um")
        ['BTCUSDT', 'ETHUSDT']
        >>> lake.symbols("um", table="silver.funding_rates", last="31d")
        ['BTCUSDT', 'ETHUSDT']
        """
        check_one_market("lake.symbols", exchange, market)
        if table is None:
            return traded_symbols(self._at(as_of), exchange, market, time_range(start, end, last))
        request = RowRequest.parse(table, exchange, market, start=start, end=end, last=last, columns=["symbol"])
        return symbols_of(self._at(as_of), request)

    def coverage(
        self, symbol: str, *, market: str | None = None, exchange: str = "binance", as_of: AsOf | None = None
    ) -> pl.DataFrame:
        """Show what silver and gold tables hold of one symbol, one row per table and market with rows of it.

        The column ``symbol`` of every partition is read, so this takes seconds on a lake of many years.

        Parameters
        ----------
        symbol
            One symbol, such as ``BTCUSDT``.
        market
            One market; None means all.
        exchange
            Name of the exchange.
        as_of
            As in ``scan``.

        Returns
        -------
        polars.DataFrame
            For pandas, add ``.to_pandas()``. Columns:
            layer, table, market; ``first`` and ``last`` partition (UTC day or month) with rows of the symbol;
            ``partitions``, the number of those with rows; between the first and the last, ``missing``, the number of
            partitions that the lake does not have, and ``without_rows``, of those that have no row of the symbol;
            ``rows``.

        Raises
        ------
        ValueError
            The symbol is malformed.

        Warns
        -----
        LakeWarning
            No table has rows of the symbol. A file is damaged: the warning names it and the command that rebuilds it,
            and its rows are not counted.

        Examples
        --------
        >>> lake.coverage("BTCUSDT").filter(layer="silver").drop("layer", "without_rows")
        shape: (4, 7)
        ┌────────────────┬────────┬────────────┬────────────┬────────────┬─────────┬──────┐
        │ table          ┆ market ┆ first      ┆ last       ┆ partitions ┆ missing ┆ rows │
        │ ---            ┆ ---    ┆ ---        ┆ ---        ┆ ---        ┆ ---     ┆ ---  │
        │ str            ┆ str    ┆ str        ┆ str        ┆ i64        ┆ i64     ┆ i64  │
        ╞════════════════╪════════╪════════════╪════════════╪════════════╪═════════╪══════╡
        │ funding_rates  ┆ um     ┆ 2024-12    ┆ 2025-01    ┆ 2          ┆ 0       ┆ 186  │
        │ klines_1m      ┆ um     ┆ 2024-12-30 ┆ 2025-01-01 ┆ 3          ┆ 0       ┆ 4320 │
        │ mark_klines_1m ┆ um     ┆ 2024-12-30 ┆ 2025-01-01 ┆ 3          ┆ 0       ┆ 4320 │
        │ open_interest  ┆ um     ┆ 2024-12-30 ┆ 2025-01-01 ┆ 3          ┆ 0       ┆ 863  │
        └────────────────┴────────┴────────────┴────────────┴────────────┴─────────┴──────┘
        """
        return Listing(symbol_coverage(self._at(as_of), symbol, exchange, market))

    def latest(self, *, as_of: AsOf | None = None) -> pl.DataFrame:
        """Show how new the data is: the newest partition of each silver and gold table and market.

        Parameters
        ----------
        as_of
            As in ``scan``.

        Returns
        -------
        polars.DataFrame
            For pandas, add ``.to_pandas()``. Columns:
            layer, table, exchange, market, ``last`` (UTC day or month), ``written`` (when it was stored, UTC).

        Raises
        ------
        MissingLakeError
            There is no lake at this location.

        Examples
        --------
        >>> lake.latest().filter(layer="silver").select("table", "market", "last")
        shape: (4, 3)
        ┌────────────────┬────────┬────────────┐
        │ table          ┆ market ┆ last       │
        │ ---            ┆ ---    ┆ ---        │
        │ str            ┆ str    ┆ str        │
        ╞════════════════╪════════╪════════════╡
        │ funding_rates  ┆ um     ┆ 2025-01    │
        │ klines_1m      ┆ um     ┆ 2025-01-01 │
        │ mark_klines_1m ┆ um     ┆ 2025-01-01 │
        │ open_interest  ┆ um     ┆ 2025-01-01 │
        └────────────────┴────────┴────────────┘
        """
        return Listing(newest_partitions(self._at(as_of)))
