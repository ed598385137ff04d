"""Which symbols a lake has for Binance's ``exchangeInfo``, and the decimals of their prices and quantities.

Everything is read once for each state of the files. Rows are in ``binance_rows.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from crypto_lakehouse.exchange_api.rows import Listed
from crypto_lakehouse.lake.reader.lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.building import ways_to_build
from crypto_lakehouse.lake.storage.describe import StoredFile, remembered_slice_files
from crypto_lakehouse.lake.storage.partitions import MissingPartition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice

EXCHANGE = "binance"

_PRICES = ("open", "high", "low", "close")
_MOST_DECIMALS = 8
# Any bars do; those of a minute have the most rows.
_BARS = ("klines_1m", "klines_1h", "klines_1d")
# A lake that has none of these has nothing of a market.
_OF_MARKET = (("gold", "instruments"), ("gold", "continuous_1m"), *(("silver", name) for name in _BARS))
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Decimals:
    """Decimals of a symbol's prices and quantities."""

    price: int = _MOST_DECIMALS
    quantity: int = _MOST_DECIMALS


class LakeListing:
    """The symbols of a lake; with ``universe`` those that were listed on that UTC day."""

    def __init__(self, lake: Lakehouse, store: LakeStore, universe: date | None = None) -> None:
        self.lake, self.store, self.universe = lake, store, universe
        self._lock = threading.Lock()
        self._instruments: dict[str, tuple[StoredFile, pl.DataFrame]] = {}
        self._decimals: dict[str, tuple[StoredFile | None, dict[str, Decimals]]] = {}

    def files(self, layer: str, table: str, market: str) -> list[StoredFile]:
        """The files of a table in a market, in order of partition."""
        return remembered_slice_files(self.store, TableSlice(layer, EXCHANGE, market, table))

    def missing(self, layer: str, table: str, market: str) -> MissingPartition:
        """The error of a table that the lake does not have in a market, with the commands that build it."""
        table_slice = TableSlice(layer, EXCHANGE, market, table)
        how = ways_to_build(self.store, [(table_slice, None, None)])
        return MissingPartition(f"{layer}.{table} of {EXCHANGE}/{market} is not in this lake{how}")

    def instruments(self, market: str) -> pl.DataFrame:
        """The newest partition of gold.instruments. Raises MissingPartition if there is none."""
        files = self.files("gold", "instruments", market)
        if not files:
            raise self.missing("gold", "instruments", market)
        newest = files[-1]
        with self._lock:
            if market not in self._instruments or self._instruments[market][0] != newest:
                rows = self.lake.read(
                    "gold.instruments", market=market, start=newest.start, end=newest.end, format="polars"
                )
                self._instruments[market] = newest, pl.DataFrame(rows)
            return self._instruments[market][1]

    def first_days(self, market: str) -> Mapping[str, date]:
        """The first day of each symbol."""
        rows = self.instruments(market).group_by("symbol").agg(pl.col("first_day").min())
        return dict(rows.select("symbol", "first_day").iter_rows())

    def listed(self, market: str) -> dict[str, Listed]:
        """The symbols of a market, with decimals; none if the lake does not have the market.

        Clients list the symbols of all markets when they start.
        """
        if not any(self.files(layer, table, market) for layer, table in _OF_MARKET):
            return {}
        instruments = self.instruments(market)
        if self.universe is not None:
            rows = pl.DataFrame(self.lake.universe(market, on=self.universe, leveraged=True, format="polars"))
        else:
            rows = instruments.filter(~pl.col("is_settled"))
        days = {symbol: (first, last) for symbol, first, last in _days(rows)}
        decimals = self.decimals(market, {symbol: last for symbol, (_, last) in days.items()})
        return {
            symbol: Listed(_midnight(first), _midnight(last + _DAY), decimals[symbol].price, decimals[symbol].quantity)
            for symbol, (first, last) in sorted(days.items())
        }

    def decimals(self, market: str, last_days: Mapping[str, date]) -> dict[str, Decimals]:
        """The decimals of symbols, from the newest day on which one of them was traded: ``last_days``, or an earlier
        one. A symbol of which the lake has no bars gets the most decimals.
        """
        table = next((name for name in _BARS if self.files("silver", name, market)), None)
        files = [] if table is None else self.files("silver", table, market)
        with self._lock:
            newest, known = self._decimals.get(market, (None, {}))
            if files and newest != files[-1]:
                known = {}
            for file in _needed(files, {symbol: day for symbol, day in last_days.items() if symbol not in known}):
                known |= self._of_file(f"silver.{table}", market, file)
            known |= {symbol: Decimals() for symbol in last_days if symbol not in known}
            self._decimals[market] = files[-1] if files else None, known
            return {symbol: known[symbol] for symbol in last_days}

    def _of_file(self, table: str, market: str, file: StoredFile) -> dict[str, Decimals]:
        quantity = "contracts" if market == "cm" else "base_volume"
        columns = ["symbol", *_PRICES, quantity]
        rows = pl.DataFrame(
            self.lake.read(
                table, market=market, start=file.start, end=file.end, columns=columns, format="polars", index=None
            )
        )
        found = rows.group_by("symbol").agg(
            pl.max_horizontal(_places(name).max() for name in _PRICES).alias("price"),
            _places(quantity).max().alias("quantity"),
        )
        return {symbol: Decimals(price, lot) for symbol, price, lot in found.iter_rows()}


def _places(name: str) -> pl.Expr:
    """The decimals of each value of a column."""
    value, places = pl.col(name).cast(pl.Float64), pl.lit(_MOST_DECIMALS)
    for count in reversed(range(_MOST_DECIMALS)):
        # Not by a division: Polars multiplies by the reciprocal, which is not exact.
        places = pl.when(value.round(count) == value).then(count).otherwise(places)
    return places


def _needed(files: list[StoredFile], last_days: Mapping[str, date]) -> list[StoredFile]:
    """The files with the last days of symbols, the newest last; the newest one of all for later days."""
    chosen = {
        next((file for file in reversed(files) if file.start <= day), None) for day in set(last_days.values())
    } - {None}
    return sorted((file for file in chosen if file is not None), key=lambda file: file.key)


def _days(rows: pl.DataFrame) -> list[tuple[str, date, date]]:
    """Symbol, first and last day of its last listing."""
    last = rows.sort("symbol", "first_day").group_by("symbol").last()
    return [*last.select("symbol", "first_day", "last_day").iter_rows()]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)
