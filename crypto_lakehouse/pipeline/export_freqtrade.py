"""Export bars to the folders and files that freqtrade reads: one Feather file per pair and timeframe.

This module decides on pairs, names and columns; rows come from the reader. The command line owns messages to the user.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import date

import polars as pl

from crypto_lakehouse.catalog import find_market
from crypto_lakehouse.catalog.instruments import parse_symbol
from crypto_lakehouse.catalog.symbol_facts import ContractType
from crypto_lakehouse.lake.reader.lakehouse import Lakehouse
from crypto_lakehouse.pipeline.export_bars import EXCHANGE, finished_bars


@dataclass(frozen=True, slots=True)
class Pair:
    """A symbol that freqtrade can trade, and its pair: ``BTC/USDT`` on spot, ``BTC/USDT:USDT`` of a perpetual."""

    symbol: str
    name: str

    def path(self, timeframe: str) -> str:
        """The path of its file below freqtrade's folder of data of the exchange.

        >>> Pair("BTCUSDT", "BTC/USDT:USDT").path("1h"), Pair("BTCUSDT", "BTC/USDT").path("1mo")
        ('futures/BTC_USDT_USDT-1h-futures.feather', 'BTC_USDT-1Mo.feather')
        """
        name = self.name.replace("/", "_").replace(":", "_")
        # freqtrade's name of a month, which differs from a minute also where case does not count.
        timeframe = timeframe.replace("mo", "Mo")
        return f"futures/{name}-{timeframe}-futures.feather" if ":" in self.name else f"{name}-{timeframe}.feather"


def find_pair(market: str, symbol: str) -> Pair | None:
    """The pair of a symbol; None for contracts that freqtrade does not trade: those with delivery, settled ones."""
    facts = parse_symbol(find_market(EXCHANGE, market), symbol)
    if facts.quote_asset is None or facts.is_settled:
        return None
    if facts.contract_type is ContractType.SPOT:
        return Pair(symbol, f"{facts.base_asset}/{facts.quote_asset}")
    if facts.contract_type is ContractType.PERPETUAL:
        return Pair(symbol, f"{facts.base_asset}/{facts.quote_asset}:{facts.quote_asset}")
    return None


def candles(
    lake: Lakehouse, market: str, symbol: str, timeframe: str, start: date | None, end: date | None
) -> pl.DataFrame:
    """The finished bars of a symbol with open_time in [start, end) in freqtrade's columns."""
    return finished_bars(lake, market, symbol, timeframe, start, end).select(
        pl.col("open_time").cast(pl.Datetime("ms", "UTC")).alias("date"),
        *("open", "high", "low", "close"),
        pl.col("base_volume").alias("volume"),
    )


def feather(rows: pl.DataFrame) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    rows.write_ipc(file, compression="lz4", compat_level=pl.CompatLevel.oldest())
    return file.getvalue()
