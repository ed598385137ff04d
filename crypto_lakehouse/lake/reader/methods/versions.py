"""Methods about the history of the lake itself; ``reader/versions.py`` finds what it held."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import polars as pl

from crypto_lakehouse.lake.reader.listing import Listing
from crypto_lakehouse.lake.reader.methods.base import Methods
from crypto_lakehouse.lake.reader.versions import AsOf, diff_frame, open_as_of, take_snapshot


class VersionMethods(Methods):
    """The lake as it was, and what has changed since."""

    def at(self, as_of: AsOf) -> Self:
        """Return the lake as it was at a time: all of its methods read what was stored then.

        Parameters
        ----------
        as_of
            A time (UTC) as for ``start`` in ``scan``, or the text of ``snapshot``.

        Returns
        -------
        Lakehouse
            A reader of the same lake. Nothing is read yet.

        Raises
        ------
        ValueError
            ``as_of`` is not a time or snapshot, or is in the future.

        Notes
        -----
        A read raises NoVersion if its table was first stored later, PurgedVersion if its rows of that time were purged,
        and ChangedSnapshot if files of a snapshot are missing.

        Examples
        --------
        >>> then = lake.at(lake.snapshot())
        >>> len(then.read("gold.bars_1h", market="um", symbols="BTCUSDT"))
        72
        """
        earlier = object.__new__(type(self))
        earlier._store = open_as_of(self._store, as_of)
        return earlier

    def snapshot(self) -> str:
        """Name what the lake holds now, to read the same rows later: put the text into a notebook or a paper.

        Nothing is written. The text consists of the time and of a digest of the versions of all partitions. Reading by
        it gives the same rows, or an error that names what was purged or removed.

        Returns
        -------
        str
            A time (UTC) and a digest. Pass it as ``as_of``.

        Raises
        ------
        MissingLakeError
            There is no lake at this location.

        Notes
        -----
        All partitions of the lake are listed, here and when the text is used. Open the lake once, with ``at``, for
        several reads. On S3 this method waits two seconds, because S3 states times in whole seconds.

        Examples
        --------
        >>> paper = lake.snapshot()
        >>> lake.read("gold.bars_1h", market="um", last="1h", columns=["symbol", "close"], as_of=paper)
            symbol     close
        0  BTCUSDT  96634.20
        1  ETHUSDT   3317.09
        """
        return take_snapshot(self._store)

    def diff(
        self,
        a: AsOf,
        b: AsOf | None = None,
        *,
        table: str | None = None,
        exchange: str = "binance",
        market: str | Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """List the partitions whose rows differ between two times of the lake.

        Parameters
        ----------
        a, b
            Times or snapshots, as in ``at``. Without ``b``: the present.
        table
            ``layer.table``. Default: all tables of silver and gold.
        exchange
            Name of the exchange.
        market
            One market or several; None means all.

        Returns
        -------
        polars.DataFrame
            One row per partition: layer, table, exchange, market, partition, ``from`` and ``to`` (since when the lake
            held the versions of ``a`` and ``b``; null: it had none), ``added``, ``removed`` and ``changed`` (rows), and
            ``largest_price_move`` (of a changed price, relative to the old one). Partitions that were written again
            with the same rows are not listed.

        Raises
        ------
        PurgedVersion
            The rows of one of the times were purged.
        KeyError, ValueError
            The table, exchange or market is unknown; ``a`` or ``b`` is not a time.

        Notes
        -----
        Both versions of each listed partition are read completely. ``ledger.revisions`` has the differences of silver
        by symbol, as they were recorded when partitions were replaced.

        Examples
        --------
        Nothing has changed since a moment ago:

        >>> lake.diff(lake.snapshot()).height
        0
        """
        return Listing(diff_frame(self._store, a, b, table, exchange, market))
