"""Methods that return the instruments of a day; ``reader/universe.py`` finds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from crypto_lakehouse.lake.reader.arguments import Format
from crypto_lakehouse.lake.reader.methods.base import Methods
from crypto_lakehouse.lake.reader.times import Time
from crypto_lakehouse.lake.reader.universe import read_universe

if TYPE_CHECKING:
    import pandas as pd


class UniverseMethods(Methods):
    """Instruments of a day."""

    def universe(
        self,
        market: str,
        *,
        on: Time,
        quote: str | Sequence[str] | None = None,
        contract_type: str | Sequence[str] | None = None,
        stable_pairs: bool = True,
        leveraged: bool = False,
        settled: bool = False,
        exchange: str = "binance",
        format: Format = "pandas",
    ) -> pd.DataFrame | pl.DataFrame | pa.Table | Any:
        """Return the instruments that were listed on the UTC day ``on``, including those delisted since.

        Parameters
        ----------
        market
            One market.
        on
            UTC day.
        quote
            One quote asset or several (``USDT``); None means all.
        contract_type
            ``spot``, ``perpetual`` or ``delivery``, one or several; None means all.
        stable_pairs, leveraged, settled
            Whether to include pairs of stablecoins, leveraged tokens and settled contracts. The archive publishes the
            history of a settled contract under a new name (``ICPUSDT_SETTLED``), often next to the old one. The new
            name did not exist while the contract was traded, so it is returned only with ``settled=True``.
        exchange
            Name of the exchange.
        format
            ``pandas``, ``polars`` or ``arrow``.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            The columns of gold.instruments, one row per instrument, sorted by symbol. The rows show what was known on
            that day: ``last_day`` is ``on``, and later delistings and renames do not show.

        Raises
        ------
        KeyError
            The exchange or market is unknown.
        ValueError
            The day, quote or contract type is malformed.
        MissingPartition
            gold.instruments has no partition for this day or a later one. Or its newest partition was built before
            the archive listed files of these days. The error names the command that builds it.

        Warns
        -----
        LakeWarning
            A settled contract is left out, because the archive has it only under its new name.

        Examples
        --------
        >>> listed = lake.universe("um", on="2024-12-31", quote="USDT", contract_type="perpetual")
        >>> listed[["symbol", "contract_type", "first_day"]]
            symbol contract_type  first_day
        0  BTCUSDT     perpetual 2024-12-30
        1  ETHUSDT     perpetual 2024-12-30
        """
        return read_universe(
            self._store, market, on, quote, contract_type, stable_pairs, leveraged, settled, exchange, format
        )
