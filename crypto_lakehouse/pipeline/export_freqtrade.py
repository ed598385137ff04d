"""Export bars to the folders and files that freqtrade reads: one Feather file per pair and timeframe.

Of futures, freqtrade also reads funding rates and hours of the mark price, and its backtests need both. This module
decides on pairs, names and columns; rows come from the reader. The command line owns messages to the user.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from datetime import date, datetime
from typing import cast

import polars as pl

from crypto_lakehouse.catalog import find_market
from crypto_lakehouse.catalog.commands import command_line, table_options
from crypto_lakehouse.catalog.instruments import parse_symbol
from crypto_lakehouse.catalog.symbol_facts import ContractType
from crypto_lakehouse.lake.reader.lakehouse import Lakehouse
from crypto_lakehouse.pipeline.export_bars import EXCHANGE, finished_bars, stored_symbols

FUTURES = "um"
RATES = "silver.funding_rates"
MARKS = ("silver.mark_klines_1m", "silver.mark_klines_1h")
"""The later one is preferred."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A symbol that freqtrade can trade, and its pair: ``BTC/USDT`` on spot, ``BTC/USDT:USDT`` of a perpetual."""

    symbol: str
    name: str

    def path(self, timeframe: str, kind: str = "futures") -> str:
        """The path of its file below freqtrade's folder of data of the exchange; ``kind`` counts for perpetuals only.

        >>> Pair("BTCUSDT", "BTC/USDT:USDT").path("1h"), Pair("BTCUSDT", "BTC/USDT").path("1mo")
        ('futures/BTC_USDT_USDT-1h-futures.feather', 'BTC_USDT-1Mo.feather')
        """
        name = self.name.replace("/", "_").replace(":", "_")
        # freqtrade's name of a month, which differs from a minute also where case does not count.
        timeframe = timeframe.replace("mo", "Mo")
        return f"futures/{name}-{timeframe}-{kind}.feather" if ":" in self.name else f"{name}-{timeframe}.feather"


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


class FreqtradeExport:
    """An export of candles of one market and timeframe with open_time in [start, end).

    ``without_rates`` and ``without_marks`` are the symbols so far whose backtests will miss funding.
    """

    def __init__(self, lake: Lakehouse, market: str, timeframe: str, start: date | None, end: date | None) -> None:
        self._lake, self._market, self._timeframe, self._range = lake, market, timeframe, (start, end)
        self._rates: set[str] = set()
        self._marks: dict[str, str] = {}
        if market == FUTURES:
            with warnings.catch_warnings():
                # A table without rows is reported at the end, with the command that builds it.
                warnings.simplefilter("ignore", UserWarning)
                self._rates = set(self._symbols(RATES))
                self._marks = {symbol: table for table in MARKS for symbol in self._symbols(table)}
        self.without_rates: list[str] = []
        self.without_marks: list[str] = []
        self._days: list[date] = []

    def _symbols(self, table: str) -> list[str]:
        return stored_symbols(self._lake, table, self._market, *self._range)

    def files(self, pair: Pair) -> dict[str, pl.DataFrame]:
        """The rows of each file of a pair, by path: candles and, of futures, what the lake has of funding.

        Without a finished candle there is no file.
        """
        rows = candles(self._lake, self._market, pair.symbol, self._timeframe, *self._range)
        if rows.is_empty():
            return {}
        files = {pair.path(self._timeframe): rows}
        if self._market != FUTURES:
            return files
        self._days += [time.date() for time in (rows["date"].min(), rows["date"].max()) if isinstance(time, datetime)]
        if pair.symbol in self._rates:
            files[pair.path("1h", "funding_rate")] = funding_rates(self._lake, pair.symbol, *self._range)
        else:
            self.without_rates.append(pair.symbol)
        if pair.symbol in self._marks:
            table = self._marks[pair.symbol]
            files[pair.path("1h", "mark")] = mark_prices(self._lake, table, pair.symbol, *self._range)
        else:
            self.without_marks.append(pair.symbol)
        return files

    def build(self, table: str) -> str:
        """The command that builds a table for the days of the candles so far."""
        _, _, name = table.partition(".")
        form = "%Y-%m" if table == RATES else "%Y-%m-%d"
        first, last = (f"{day:{form}}" for day in (min(self._days), max(self._days)))
        return command_line("backfill", options=table_options(EXCHANGE, self._market, name, first, last))


def funding_rates(lake: Lakehouse, symbol: str, start: date | None, end: date | None) -> pl.DataFrame:
    """The funding rates of a symbol, in the column of freqtrade and also in ``open``, which its older versions read."""
    rows = lake.read(RATES, market=FUTURES, symbols=symbol, start=start, end=end, format="polars")
    return cast("pl.DataFrame", rows).select(
        pl.col("funding_hour").cast(pl.Datetime("ms", "UTC")).alias("date"),
        pl.col("funding_rate").alias("open"),
        *(pl.lit(0.0).alias(name) for name in ("high", "low", "close", "volume")),
        "funding_rate",
    )


def mark_prices(lake: Lakehouse, table: str, symbol: str, start: date | None, end: date | None) -> pl.DataFrame:
    """The hours of the mark price of a symbol, without volume; an hour whose first row is missing is left out."""
    rows = lake.read(table, market=FUTURES, symbols=symbol, start=start, end=end, format="polars")
    hours = cast("pl.DataFrame", rows).group_by(
        pl.col("open_time").dt.truncate("1h").alias("date"), maintain_order=True
    )
    return (
        hours.agg(
            pl.col("open_time").first(),
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.lit(0.0).alias("volume"),
        )
        .filter(pl.col("open_time") == pl.col("date"))
        .select(pl.col("date").cast(pl.Datetime("ms", "UTC")), "open", "high", "low", "close", "volume")
    )


def feather(rows: pl.DataFrame) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    rows.write_ipc(file, compression="lz4", compat_level=pl.CompatLevel.oldest())
    return file.getvalue()
