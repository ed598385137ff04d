"""The vocabulary of the catalogue: exchanges, markets, intervals, feeds and the format of their files.

Here belong the plain, frozen descriptions that the entries (``binance.py``) are made of. Entries,
I/O, Dagster and frames do not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum


class Cadence(StrEnum):
    """How the archive cuts a feed into files, which is also how its partitions are cut."""

    DAILY = "daily"
    MONTHLY = "monthly"

    @property
    def partition_column(self) -> str:
        """Name of the Hive column in the path of a partition: ``date`` or ``month``."""
        return "date" if self is Cadence.DAILY else "month"


class FieldType(StrEnum):
    """Type of a CSV field as the archive writes it."""

    INT64 = "int64"
    FLOAT64 = "float64"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class FileColumn:
    """One CSV column, by position.

    ``aliases`` are other spellings seen in header lines; they are compared without case, blanks and
    underscores, so ``Open time`` needs no entry. ``may_be_blank`` fields may be empty (``,,`` or ``""``),
    which is null.
    """

    name: str
    type: FieldType
    aliases: tuple[str, ...] = ()
    may_be_blank: bool = False


@dataclass(frozen=True, slots=True)
class FileFormat:
    """The CSV inside an archive file: columns in order; header line and time unit are sniffed per file.

    ``time_columns`` hold integers since the Unix epoch, whose unit (ms, us or ns) is decided per row, or
    text such as ``2023-05-01 00:05:00``, UTC. ``id_column`` numbers the rows of a symbol without holes.
    ``order_by`` is the column that orders the rows of a symbol, where that is neither the id nor the first
    time. ``large`` files may hold tens of millions of rows: they are never held in memory as a whole.
    """

    name: str
    columns: tuple[FileColumn, ...]
    time_columns: tuple[str, ...]
    id_column: str | None = None
    order_by: str | None = None
    large: bool = False

    @property
    def column_names(self) -> tuple[str, ...]:
        """Column names in file order."""
        return tuple(column.name for column in self.columns)

    @property
    def order_column(self) -> str:
        """The column that orders the rows of one symbol."""
        return self.order_by or self.id_column or self.time_columns[0]


@dataclass(frozen=True, slots=True)
class Interval:
    """A bar interval: its name as the archive spells it and, where it is fixed, its length."""

    name: str
    length: timedelta | None

    @property
    def microseconds(self) -> int:
        """Length in microseconds. Raises ValueError for calendar intervals (``1mo``)."""
        if self.length is None:
            raise ValueError(f"{self.name} has no fixed length")
        return self.length // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Market:
    """One market of an exchange.

    ``archive_path`` is its folder in the archive. ``inverse`` markets (COIN-M) count volume in
    contracts of a fixed USD value: ``contract_sizes`` maps an underlying (``BTCUSD``) to USD a
    contract, ``contract_size_default`` serves the others.
    """

    exchange: str
    name: str
    title: str
    archive_path: str
    first_date: date
    inverse: bool = False
    contract_sizes: Mapping[str, float] = field(default_factory=dict)
    contract_size_default: float | None = None

    def contract_size(self, symbol: str) -> float:
        """USD value of one contract of ``symbol`` (``BTCUSD_PERP``). Raises ValueError on a linear market."""
        if self.contract_size_default is None:
            raise ValueError(f"{self.exchange}/{self.name} does not trade in contracts")
        return self.contract_sizes.get(symbol.split("_", 1)[0], self.contract_size_default)


@dataclass(frozen=True, slots=True)
class Feed:
    """One (exchange, market, table) slice: what one archive folder is and what it becomes.

    ``table`` is the name in the lake (``klines_1m``); ``schema`` names the entry in
    ``crypto_lakehouse.schemas`` of its silver rows. ``first_date`` is the first UTC day with data,
    ``last_date`` the last one of a feed that has ended (None: it goes on). ``archived`` are all cadences
    in which the archive has this type; ``cadence`` is the one that is read.
    """

    market: Market
    table: str
    schema: str
    archive_type: str
    interval: Interval | None
    cadence: Cadence
    file_format: FileFormat
    first_date: date
    last_date: date | None = None
    description: str = ""
    archived: tuple[Cadence, ...] = ()

    @property
    def exchange(self) -> str:
        """Name of the exchange (``binance``)."""
        return self.market.exchange

    @property
    def name(self) -> str:
        """``exchange/market/table``, as logs and errors name a feed."""
        return f"{self.exchange}/{self.market.name}/{self.table}"

    def covers(self, day: date) -> bool:
        """Whether the archive can have data for the UTC day (or for the month it lies in)."""
        first, last = self.first_date, self.last_date
        if self.cadence is Cadence.MONTHLY:
            first, day = first.replace(day=1), day.replace(day=1)
        return first <= day and (last is None or day <= last)
