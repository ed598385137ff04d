"""The vocabulary of the catalogue: exchanges, markets, intervals, feeds, the format of their files and its epochs.

Contains plain, frozen classes. Their entries are in the modules of the exchanges (``binance.py``), which
``exchanges.py`` registers; I/O, Dagster and frames do not belong here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from enum import StrEnum
from itertools import product
from typing import Any

from crypto_lakehouse.catalog.symbol_facts import Asset, SymbolFacts


class Cadence(StrEnum):
    """Whether a feed's files, and so its partitions, are daily or monthly."""

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


class Container(StrEnum):
    """What an archive file is: a container of one CSV."""

    ZIP_CSV = "zip_csv"
    GZIP_CSV = "gzip_csv"


BRONZE_COLUMNS = frozenset({"symbol", "source_key", "source_sha256", "source_line"})
"""The columns that bronze adds to those of a file."""


@dataclass(frozen=True, slots=True)
class FileColumn:
    """One CSV column, by position.

    ``aliases`` are other spellings seen in header lines; the comparison ignores case, blanks and underscores, so
    ``Open time`` needs no entry. Fields with ``may_be_blank`` may be empty (``,,`` or ``""``), which is null.
    """

    name: str
    type: FieldType
    aliases: tuple[str, ...] = ()
    may_be_blank: bool = False


@dataclass(frozen=True, slots=True)
class FileFormat:
    """The CSV inside an archive file: columns in order; the parser detects header line and time unit per file.

    ``time_columns`` hold integers since the Unix epoch, in ms, us or ns (detected per row), or UTC text such as
    ``2023-05-01 00:05:00``. ``id_column`` numbers the rows of a symbol without holes. ``order_by`` is the column that
    orders the rows of a symbol, if that is neither the id nor the first time. ``large`` files may have tens of
    millions of rows and are never held in memory as a whole. Raises ValueError if one of these is not a column, or if a
    column has a name that bronze gives to one of its own.
    """

    name: str
    columns: tuple[FileColumn, ...]
    time_columns: tuple[str, ...]
    id_column: str | None = None
    order_by: str | None = None
    large: bool = False

    def __post_init__(self) -> None:
        names = self.column_names
        for name in (*self.time_columns, *filter(None, [self.id_column, self.order_by])):
            if name not in names:
                raise ValueError(f"files {self.name} have no column {name!r}; there are {', '.join(names)}")
        if taken := sorted(BRONZE_COLUMNS.intersection(names)):
            raise ValueError(
                f"files {self.name}: bronze adds a column {taken[0]}; call that of the file file_{taken[0]}, with the"
                f" alias {taken[0]}"
            )

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
    """A bar interval: its name as the archive spells it, and its length; None for calendar months."""

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

    ``archive_path`` is its folder in the archive. ``inverse`` markets (COIN-M) count volume in contracts of a fixed
    USD value: ``contract_sizes`` maps an underlying (``BTCUSD``) to USD per contract, ``contract_size_default``
    applies to the others. ``aliases`` are other common names of the market, which errors translate to its name.
    """

    exchange: str
    name: str
    title: str
    archive_path: str
    first_date: date
    inverse: bool = False
    contract_sizes: Mapping[str, float] = field(default_factory=dict)
    contract_size_default: float | None = None
    aliases: tuple[str, ...] = ()

    def since(self, day: date) -> Market:
        """The market without its days before a UTC day."""
        return replace(self, first_date=max(self.first_date, day))

    def contract_size(self, symbol: str) -> float:
        """USD value of one contract of ``symbol`` (``BTCUSD_PERP``). Raises ValueError on a linear market."""
        if self.contract_size_default is None:
            raise ValueError(f"{self.exchange}/{self.name} does not trade in contracts")
        return self.contract_sizes.get(symbol.split("_", 1)[0], self.contract_size_default)


@dataclass(frozen=True, slots=True)
class Feed:
    """One (exchange, market, table) slice: an archive folder and the table that it fills.

    ``table`` is the name in the lake (``klines_1m``); ``schema`` names the schema of its silver rows in
    ``crypto_lakehouse.schemas``. ``first_date`` is the first UTC day with data, ``last_date`` the last one of a feed
    that has ended (None: it continues). ``archived`` are all cadences in which the archive has this type; ``cadence``
    is the one that the lake reads. The silver rows of ``compacted`` feeds are also stored by month and symbol
    (``lake/storage/compaction.py``). ``container`` is what the files are;
    ``day_offset`` is the start of a file's day after midnight UTC, ``newest_first`` whether the newest row comes first.
    ``monthly_folder`` is how the keys of the archive's monthly files start, if the days of a daily feed may be cut from
    them because a month is small; otherwise it is empty.
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
    compacted: bool = False
    container: Container = Container.ZIP_CSV
    day_offset: timedelta = timedelta(0)
    newest_first: bool = False
    monthly_folder: str = ""

    @property
    def exchange(self) -> str:
        """Name of the exchange (``binance``)."""
        return self.market.exchange

    @property
    def name(self) -> str:
        """``exchange/market/table``, as logs and errors name a feed."""
        return f"{self.exchange}/{self.market.name}/{self.table}"

    def since(self, day: date) -> Feed:
        """The feed without its days before a UTC day; a monthly feed keeps the month of that day."""
        first = day.replace(day=1) if self.cadence is Cadence.MONTHLY else day
        return replace(self, market=self.market.since(day), first_date=max(self.first_date, first))

    def is_monthly_file(self, object_key: str) -> bool:
        """Whether a key of a daily feed is that of a monthly file."""
        return bool(self.monthly_folder) and object_key.startswith(self.monthly_folder)

    def covers(self, day: date) -> bool:
        """Whether the archive can have data for the UTC day (or for the month it lies in)."""
        first, last = self.first_date, self.last_date
        if self.cadence is Cadence.MONTHLY:
            first, day = first.replace(day=1), day.replace(day=1)
        return first <= day and (last is None or day <= last)

    def span(self, today: date) -> tuple[date, date]:
        """UTC days [first, end) for which the archive can have files: whole partitions, but none from ``today`` on."""
        first, end = self.first_date, today
        if self.last_date is not None:
            end = min(today, self.last_date + timedelta(days=1))
        if self.cadence is Cadence.MONTHLY:
            first = first.replace(day=1)
            if self.last_date is not None:
                end = min(today, (self.last_date.replace(day=1) + timedelta(days=31)).replace(day=1))
        return first, end


class Topic(StrEnum):
    """The topic of a fact about an archive; ``TOPIC_VALUES`` defines what ``Epoch.value`` means for it."""

    HEADER = "header"
    TIME_UNIT = "time_unit"
    LABEL = "label"
    BANDS = "bands"
    FROZEN = "frozen"
    ROWS = "rows"
    COLUMN_MEANING = "column_meaning"
    JITTER = "jitter"
    INTERVAL = "interval"
    ALIGNMENT = "alignment"
    CADENCE = "cadence"
    WITNESS = "witness"
    DUPLICATES = "duplicates"
    HOLES = "holes"
    SYMBOLS = "symbols"
    REPLACED = "replaced"
    BAD_DAYS = "bad_days"


TOPIC_VALUES: Mapping[Topic, str] = {
    Topic.HEADER: "Whether files start with a header line: never, always, or sniff (detect it in each file).",
    Topic.TIME_UNIT: "Unit of the times in the file: ms, us, or text.",
    Topic.LABEL: "Whether a row's label is the start or the end of its period: period_start or period_end.",
    Topic.BANDS: "Edges of the bands in percent of the mid price, on either side.",
    Topic.FROZEN: "Edges in percent, with their sign, of bands that do not change.",
    Topic.ROWS: "Rows of a symbol on a whole day.",
    Topic.COLUMN_MEANING: "Columns whose meaning differs from their names, as column=meaning.",
    Topic.JITTER: "Greatest delay of a time after the full hour, in milliseconds.",
    Topic.INTERVAL: "Hours between events that occur.",
    Topic.ALIGNMENT: "How times are aligned to the grid of the interval: off_grid, or monday.",
    Topic.CADENCE: "The only cadence in which files exist: monthly.",
    Topic.WITNESS: "Which files are correct where daily and monthly ones differ: daily.",
    Topic.DUPLICATES: "Rows that occur more than once: all_rows, some_rows, or ids (ids that occur twice).",
    Topic.HOLES: "What can be missing or out of order on any day: rows, ids, order, values, symbols, early_close.",
    Topic.SYMBOLS: "What a symbol may be: relisted, renamed, settled, delisted, pair, perpetual.",
    Topic.REPLACED: "How files change after publication: in_place, stale_checksum, late.",
    Topic.BAD_DAYS: "What is wrong on these days: halt, truncated, no_file, rows, ids, values, times, order, checksum.",
}

ALLOWED_VALUES: Mapping[Topic, frozenset[str]] = {
    Topic.HEADER: frozenset({"never", "sniff", "always"}),
    Topic.TIME_UNIT: frozenset({"ms", "us", "text"}),
    Topic.LABEL: frozenset({"period_start", "period_end"}),
    Topic.ALIGNMENT: frozenset({"off_grid", "monday"}),
    Topic.CADENCE: frozenset({"monthly"}),
    Topic.WITNESS: frozenset({"daily"}),
    Topic.DUPLICATES: frozenset({"all_rows", "some_rows", "ids"}),
    Topic.HOLES: frozenset({"rows", "ids", "order", "values", "symbols", "early_close"}),
    Topic.SYMBOLS: frozenset({"relisted", "renamed", "settled", "delisted", "pair", "perpetual"}),
    Topic.REPLACED: frozenset({"in_place", "stale_checksum", "late"}),
    Topic.BAD_DAYS: frozenset({"halt", "truncated", "no_file", "rows", "ids", "values", "times", "order", "checksum"}),
}
"""All values of the topics that have a closed list of them."""

# A day has at most one value of each of these topics.
EXCLUSIVE_TOPICS = frozenset({Topic.HEADER, Topic.TIME_UNIT, Topic.LABEL, Topic.BANDS, Topic.ROWS})


@dataclass(frozen=True, slots=True)
class Epoch:
    """One fact about the files of a type for the UTC days ``first`` to ``last``, both inclusive; None is unbounded.

    ``value`` is for programs (see ``TOPIC_VALUES``), ``text`` for people, ``source`` says where it was seen. A fact
    may be limited to files of one ``cadence``, some ``intervals`` (names) or some ``symbols``; None and empty mean
    all. Raises ValueError for a value that the topic does not have.
    """

    exchange: str
    market: str
    archive_type: str
    topic: Topic
    value: str
    first: date | None
    last: date | None
    text: str
    source: str
    cadence: Cadence | None = None
    intervals: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        allowed = ALLOWED_VALUES.get(self.topic)
        if allowed is not None and self.value not in allowed:
            raise ValueError(
                f"{self.exchange}/{self.market}/{self.archive_type}: {self.topic} is {self.value!r}, but must be"
                f" {', '.join(sorted(allowed))}"
            )

    @classmethod
    def each(cls, exchange: str, markets: Iterable[str], types: Iterable[str], *fact: Any, **only: Any) -> list[Epoch]:
        """The same fact (``topic`` and what follows it) about several types in several markets."""
        return [cls(exchange, market, name, *fact, **only) for market, name in product(markets, types)]

    def holds_on(self, day: date) -> bool:
        """Whether the fact holds for the file of this UTC day."""
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)

    def is_about(self, feed: Feed) -> bool:
        """Whether the fact is about the files of the feed."""
        return (
            (self.exchange, self.market, self.archive_type) == (feed.exchange, feed.market.name, feed.archive_type)
            and self.cadence in (None, feed.cadence)
            and (not self.intervals or (feed.interval is not None and feed.interval.name in self.intervals))
        )


@dataclass(frozen=True, slots=True)
class Relisting:
    """All pairs of ``base_asset``: ``last_day`` is the last UTC day on which the old instrument was traded,
    ``first_day`` the first one of the new instrument.
    """

    exchange: str
    market: str
    base_asset: str
    last_day: date
    first_day: date
    source: str


@dataclass(frozen=True, slots=True)
class Rename:
    """All pairs of ``old`` continue as pairs of ``new``, one coin for one coin."""

    exchange: str
    market: str
    old: str
    new: str
    source: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """All that the catalogue says about one exchange.

    ``archive_url`` and ``listing_url`` are where its files are, and where they are listed. ``folders`` describes the
    folders of a ``{market}`` to people. ``max_concurrency`` is the greatest number of parallel requests that its
    archive gets, whatever the settings say. ``assets`` are the quotes of its pairs and the stable coins;
    ``parse_symbol`` reads the facts in a name. Raises ValueError for an entry that is of another exchange, and for
    feeds that the pipeline would misread.
    """

    name: str
    archive_url: str
    listing_url: str
    folders: str
    markets: tuple[Market, ...]
    feeds: tuple[Feed, ...]
    assets: Mapping[str, Asset]
    parse_symbol: Callable[[Market, str], SymbolFacts]
    max_concurrency: int
    epochs: tuple[Epoch, ...] = ()
    relistings: tuple[Relisting, ...] = ()
    renames: tuple[Rename, ...] = ()

    def __post_init__(self) -> None:
        facts: tuple[Epoch | Relisting | Rename, ...] = (*self.epochs, *self.relistings, *self.renames)
        entries: tuple[Market | Feed | Epoch | Relisting | Rename, ...] = (*self.markets, *self.feeds, *facts)
        for entry in entries:
            if entry.exchange != self.name:
                raise ValueError(f"the catalogue of {self.name} has an entry of {entry.exchange}: {entry}")
        if unknown := [feed.name for feed in self.feeds if feed.market not in self.markets]:
            raise ValueError(f"the catalogue of {self.name} has feeds of a market that it does not list: {unknown}")
        # Silver takes the rows of a file as those of a UTC day; a cleaner may prefer the later of two lines.
        for feed in self.feeds:
            if feed.day_offset or feed.newest_first:
                raise ValueError(f"{feed.name}: files of other days than UTC's, or newest first, are not supported yet")
