"""The slice of a table that belongs to one market, and a partition of it, as values.

They know their schema, cadence, paths and asset key, and the commands that build them. Reading and writing belong to
``lake/storage``, Dagster's classes for keys and partitions to ``orchestration``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from crypto_lakehouse.catalog import FEEDS, Cadence, Feed, Market, parse_partition
from crypto_lakehouse.catalog.commands import command_line, table_options
from crypto_lakehouse.catalog.names import check_name
from crypto_lakehouse.schemas import LAYERS, Schema, bronze_schema, cadence_of, schema_of
from crypto_lakehouse.schemas.gold import find_gold_table
from crypto_lakehouse.schemas.rest import REST_SUFFIX, rest_schema, rest_table

FILE_NAME = "part-0.parquet"
"""Name of the one file of a partition."""


@dataclass(frozen=True, slots=True)
class TableSlice:
    """One market's part of a table: what an asset holds, and a folder of the lake.

    Raises ValueError on an unknown layer and on unsafe names, so a slice is always a safe path. Whether the table
    exists is only known once its schema, cadence or a partition is asked for: these raise KeyError if it does not.

    Examples
    --------
    >>> funding = TableSlice("silver", "binance", "um", "funding_rates")
    >>> funding.partition("2024-01").path
    'silver/funding_rates/exchange=binance/market=um/month=2024-01/part-0.parquet'
    """

    layer: str
    exchange: str
    market: str
    table: str

    def __post_init__(self) -> None:
        if self.layer not in LAYERS:
            raise ValueError(f"{self.layer!r} is not a layer; the layers are {', '.join(LAYERS)}")
        for name in (self.exchange, self.market, self.table):
            check_name(name)

    @classmethod
    def of_feed(cls, layer: str, feed: Feed) -> TableSlice:
        """The slice of a layer that a feed fills."""
        return cls(layer, feed.exchange, feed.market.name, feed.table)

    @classmethod
    def of_answers(cls, feed: Feed) -> TableSlice:
        """The bronze slice of the REST answers about a feed."""
        return cls("bronze", feed.exchange, feed.market.name, rest_table(feed.table))

    @classmethod
    def of_market(cls, layer: str, market: Market, table: str) -> TableSlice:
        """The slice of any table of a market."""
        return cls(layer, market.exchange, market.name, table)

    @classmethod
    def with_months(cls, exchange: str, market: str, table: str) -> TableSlice:
        """The slice that month files of a table of this name copy: of gold if it is a gold table, else of silver."""
        return cls("gold" if find_gold_table(table) else "silver", exchange, market, table)

    @property
    def name(self) -> str:
        """``layer/exchange/market/table``, as Dagster writes the asset key."""
        return "/".join(self.asset_key)

    @property
    def asset_key(self) -> tuple[str, str, str, str]:
        """The parts of the asset key."""
        return self.layer, self.exchange, self.market, self.table

    @property
    def place(self) -> str:
        """``exchange/market/table``, without the layer."""
        return f"{self.exchange}/{self.market}/{self.table}"

    @property
    def folder(self) -> str:
        """The folder below the root of the lake, as Hive columns."""
        return f"{self.layer}/{self.table}/exchange={self.exchange}/market={self.market}"

    @property
    def feed(self) -> Feed | None:
        """The feed of this exchange and market that fills or completes the table; None in gold and in the logs."""
        if self.layer not in ("bronze", "silver"):
            return None
        return FEEDS.get((self.exchange, self.market, self.completed_table))

    @property
    def is_of_answers(self) -> bool:
        """Whether the slice holds REST answers, not rows of files."""
        return self.layer == "bronze" and self.table.endswith(REST_SUFFIX)

    @property
    def completed_table(self) -> str:
        """The table that REST answers complete; for any other slice its own table."""
        return self.table.removesuffix(REST_SUFFIX) if self.is_of_answers else self.table

    @property
    def schema(self) -> Schema:
        """Schema of the partitions; in bronze, of this market's own files."""
        if self.layer != "bronze" or self.feed is None:
            return schema_of(self.layer, self.table)
        return rest_schema(self.feed) if self.is_of_answers else bronze_schema(self.feed)

    @property
    def cadence(self) -> Cadence:
        """Whether the partitions are days or months, by the feed of this exchange and market."""
        return self.feed.cadence if self.feed else cadence_of(self.layer, self.table)

    @property
    def is_compacted(self) -> bool:
        """Whether the slice can have month files, which hold the same rows sorted by symbol."""
        if self.layer == "silver":
            return self.feed is not None and self.feed.compacted
        entry = find_gold_table(self.table) if self.layer == "gold" else None
        return entry is not None and entry.compacted

    def partition(self, key: str) -> Partition:
        """The partition of a day (``YYYY-MM-DD``) or month (``YYYY-MM``). Raises ValueError on any other key."""
        return Partition(self, key)

    def backfill_command(
        self,
        first: str,
        last: str,
        symbols: str = "",
        force: bool = False,
        variables: Mapping[str, str] | None = None,
    ) -> str:
        """The command that builds the partitions ``first`` to ``last``, both inclusive: of all symbols, or of some.

        Environment ``variables`` come first.
        """
        options = table_options(self.exchange, self.market, self.completed_table, first, last)
        if symbols:
            options["symbols"] = symbols
        if force:
            options["force"] = None
        return command_line("backfill", options=options, variables=variables)

    def compact_command(self, month: str, variables: Mapping[str, str] | None = None) -> str:
        """The command that writes the month file of a month. Environment ``variables`` come first."""
        options = table_options(self.exchange, self.market, self.table, month, month)
        return command_line("compact", options=options, variables=variables)


@dataclass(frozen=True, slots=True)
class Partition:
    """A day or month of a slice: one file of the lake. Raises ValueError on a key that does not fit the cadence.

    Examples
    --------
    >>> january = TableSlice("silver", "binance", "um", "funding_rates").partition("2024-01")
    >>> january.start, january.end
    (datetime.date(2024, 1, 1), datetime.date(2024, 2, 1))
    >>> january.backfill_command()
    'crypto-lakehouse backfill --market um --table funding_rates --from 2024-01 --to 2024-01'
    """

    slice: TableSlice
    key: str

    def __post_init__(self) -> None:
        parse_partition(self.key, self.slice.cadence)

    @property
    def start(self) -> date:
        """First UTC day."""
        return parse_partition(self.key, self.slice.cadence)[0]

    @property
    def end(self) -> date:
        """The day after the last UTC day."""
        return parse_partition(self.key, self.slice.cadence)[1]

    @property
    def folder(self) -> str:
        """The folder below the root of the lake."""
        return f"{self.slice.folder}/{self.slice.cadence.partition_column}={self.key}"

    @property
    def path(self) -> str:
        """The path of the Parquet file below the root of the lake."""
        return f"{self.folder}/{FILE_NAME}"

    def backfill_command(self, force: bool = False) -> str:
        """The command that builds the partition."""
        return self.slice.backfill_command(self.key, self.key, force=force)
