"""Methods that say where rows come from and where files went; ``lake/lineage`` finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from crypto_lakehouse.lake.reader.methods.base import Methods
from crypto_lakehouse.lake.reader.times import Time
from crypto_lakehouse.lake.reader.versions import AsOf

if TYPE_CHECKING:
    from crypto_lakehouse.lake.lineage.model import Explanation


class LineageMethods(Methods):
    """Where rows come from, and where files went."""

    def explain(
        self,
        table: str,
        symbol: str,
        time: Time,
        *,
        market: str | None = None,
        exchange: str = "binance",
        as_of: AsOf | None = None,
    ) -> Explanation:
        """Return where a row comes from: the rows that it was made of, down to lines of files of the archive.

        Parameters
        ----------
        table
            ``layer.table`` of bronze, silver or gold. Bars that no table holds are explained as ``bars`` computes them.
        symbol
            One symbol.
        time
            The time of the row, UTC, or a time within its window. Of gold.instruments and gold.symbol_states it selects
            the partition, and of other gold tables a day selects all rows of the day. Forms of a time as in ``scan``.
        market
            One market; it may be left out if the table has only one.
        exchange
            Name of the exchange.
        as_of
            As in ``scan``.

        Returns
        -------
        Explanation
            Printed, it is the chain: the row, the minutes and candles that it was made of, their lines in the files,
            and what the ledger and the quarantine say of these files. Filled minutes name the minute whose close they
            repeat. ``frame()`` has a row for each row of the chain, ``files`` the files, and ``row`` the chain as
            values.

        Raises
        ------
        KeyError
            The table, exchange or market is unknown.
        ValueError
            There is no row of the symbol at this time; the error names the rows before and after. Or no market is
            given and several have the table.
        MissingPartition
            The partition of this time is not stored; the error names the command that builds it.

        Examples
        --------
        >>> chain = lake.explain("gold.bars_1h", "BTCUSDT", "2024-12-31T03:00", market="um")
        >>> [(step.table, step.summary) for step in chain.steps()][1:]
        [('gold.continuous_1m', '60 minutes'), ('silver.klines_1m', '60 rows, 60 from archive_daily'), \
('bronze.klines_1m', '60 rows')]
        >>> file = chain.files[0]
        >>> file.key
        'data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-12-31.zip'
        >>> file.lines[0], file.lines[-1]
        (182, 241)
        """
        from crypto_lakehouse.lake.lineage.explain import explain_row

        return explain_row(self._at(as_of), table, symbol, time, exchange, market)

    def uses(self, file: str, *, exchange: str = "binance", as_of: AsOf | None = None) -> pl.DataFrame:
        """List the stored partitions that used a file of the archive, by the inputs that tables declare.

        Parameters
        ----------
        file
            The key of the file in the archive (``data/futures/um/daily/...``), the request of a REST answer as in
            ledger.answers, or the sha256 of either.
        exchange
            Name of the exchange.
        as_of
            As in ``scan``.

        Returns
        -------
        polars.DataFrame
            layer, table, exchange, market, ``first`` and ``last`` partition, number of ``partitions``, symbol, and
            ``use``: how the partitions used the file. Later days of gold.continuous_1m use only the state that the
            day of the file passes on, which is said there. ``compacted`` are month files.

        Raises
        ------
        ValueError
            The ledger does not know the file, or no stored partition used it.

        Examples
        --------
        >>> used = lake.uses("data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-12-31.zip")
        >>> used.filter(table="continuous_1m").select("first", "last", "use").rows()
        [('2024-12-31', '2024-12-31', 'rows of the day'), \
('2025-01-01', '2025-01-01', 'only the state: last trade, last close and segment of earlier days')]
        """
        from crypto_lakehouse.lake.lineage.uses import partitions_using

        return partitions_using(self._at(as_of), file, exchange)
