"""Methods that return the instruments of days; ``reader/universe.py`` finds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from crypto_lakehouse.lake.reader.arguments import Format
from crypto_lakehouse.lake.reader.known import Known, Mode
from crypto_lakehouse.lake.reader.methods.base import Methods
from crypto_lakehouse.lake.reader.times import Length, Time, time_range
from crypto_lakehouse.lake.reader.universe import instrument_filter, read_universe
from crypto_lakehouse.lake.reader.versions import AsOf

if TYPE_CHECKING:
    import pandas as pd


class UniverseMethods(Methods):
    """Instruments of days."""

    def universe(
        self,
        market: str,
        *,
        on: Time | None = None,
        start: Time | None = None,
        end: Time | None = None,
        last: Length | None = None,
        quote: str | Sequence[str] | None = None,
        contract_type: str | Sequence[str] | None = None,
        stable_pairs: bool = True,
        leveraged: bool = False,
        settled: bool = False,
        known_by: Time | None = None,
        mode: Mode = "live",
        exchange: str = "binance",
        format: Format = "pandas",
        as_of: AsOf | None = None,
    ) -> pd.DataFrame | pl.DataFrame | pa.Table | Any:
        """Return the instruments that were listed on a UTC day or on each day of a range, also those delisted since.

        Parameters
        ----------
        market
            One market.
        on
            One UTC day.
        start, end, last
            A range instead of a day: the UTC days that overlap [start, end), or ``last`` days (``30d``) up to ``end``.
            Without ``end`` it ends with the newest day that the instruments list.
        quote
            One quote asset or several (``USDT``); None means all.
        contract_type
            ``spot``, ``perpetual`` or ``delivery``, one or several; None means all.
        stable_pairs, leveraged, settled
            Whether to include pairs of stablecoins, leveraged tokens and settled contracts. The archive publishes the
            history of a settled contract under a new name (``ICPUSDT_SETTLED``), often next to the old one. The new
            name did not exist while the contract was traded, so it is returned only with ``settled=True``.
        known_by
            Only what was known at this time, UTC. What was listed on a day is known when the day is over. Without a day
            and a range, the last day that was over then is returned.
        mode
            As in ``scan``. With ``archive``, a day counts from when this lake had seen the files of its minutes.
        exchange
            Name of the exchange.
        format
            ``pandas``, ``polars`` or ``arrow``.
        as_of
            As in ``scan``.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            The columns of gold.instruments, one row per instrument, sorted by symbol. The rows show what was known on
            that day: ``last_day`` is ``on``, and later delistings and renames do not show. For a range, there are such
            rows for each day, after a first column ``date``.

        Raises
        ------
        KeyError
            The exchange or market is unknown.
        ValueError
            A time, quote or contract type is malformed, or neither a day nor a range is given, or both. Or the day was
            not known by ``known_by``.
        MissingPartition
            gold.instruments has no partition for this day or a later one. Or its newest partition was built before
            the archive listed files of these days. The error names the command that builds it.

        Warns
        -----
        LakeWarning
            A settled contract is left out, because the archive has it only under its new name. Or the result is empty:
            nothing was listed on these days, or nothing of it passes the filter.

        Examples
        --------
        >>> listed = lake.universe("um", on="2024-12-31", quote="USDT", contract_type="perpetual")
        >>> listed[["symbol", "contract_type", "first_day"]]
            symbol contract_type  first_day
        0  BTCUSDT     perpetual 2024-12-30
        1  ETHUSDT     perpetual 2024-12-30

        The members of each day, as a matrix that fits ``panel``:

        >>> days = lake.universe("um", start="2024-12-31", quote="USDT")
        >>> days.assign(listed=True).pivot(index="date", columns="symbol", values="listed").fillna(False)
        symbol      BTCUSDT  ETHUSDT
        date
        2024-12-31     True     True
        2025-01-01     True     True
        """
        wanted = instrument_filter(quote, contract_type, stable_pairs, leveraged, settled)
        known = Known.parse(known_by, mode)
        times = time_range(start, end, last)
        return read_universe(self._at(as_of), market, on, times, wanted, exchange, format, known)
