"""The registry of gold tables: each entry has the name, schema, inputs and description of a table.

Everything that has to know gold tables asks it: definitions, ``backfill``, sensors, readers and the documentation. To
add a table, follow the checklist in ``docs/contributing.md``. How rows are computed belongs to ``transforms``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from crypto_lakehouse.catalog import FEEDS, Cadence
from crypto_lakehouse.catalog.bars import Bars, TimeBars, bars_of_table
from crypto_lakehouse.catalog.near import unknown_name
from crypto_lakehouse.schemas.bars import ACTIVITY_BARS, BARS
from crypto_lakehouse.schemas.continuous import CONTINUOUS, GAPS, SYMBOL_STATES
from crypto_lakehouse.schemas.instruments import INSTRUMENTS
from crypto_lakehouse.schemas.missing_minutes import MISSING_MINUTES
from crypto_lakehouse.schemas.model import Schema
from crypto_lakehouse.schemas.trade_ids import ID_CONTINUITY, MISSING_IDS
from crypto_lakehouse.schemas.trades import AGG_TRADES, TRADES
from crypto_lakehouse.schemas.witnesses import WITNESSES

LISTING = "archive"
"""The layer of an input that is the archive's listing of a table, not its rows."""


@dataclass(frozen=True, slots=True)
class GoldTable:
    """A gold table with daily partitions.

    Parameters
    ----------
    name
        Name of the table, and of its module in ``transforms/gold/tables`` unless it has a ``maker``.
    schema
        Columns with types, units and meaning, and the primary key.
    description
        What the rows are, for people who look at the asset; ``{market}`` stands for the market's title.
    inputs
        Tables of the same market, as ``layer.table``, whose partition of the day (or of its month) must be stored. The
        market has the table if it has the inputs. The first input decides which days it covers.
    optional
        Tables of the same market that are used if they are stored, by tables with a ``maker`` of their own.
    version
        Raise it when the rows change for the same inputs: the next run then rebuilds the table, and no other.
    maker
        The code that builds the table: ``days`` calls its function for each day, others are for tables that carry
        something from day to day.
    asset
        Name of the asset that builds several tables together; empty for a table of its own.
    bars
        The kind of bars that it holds; None for other tables.
    compacted
        Whether its rows are also stored by month and symbol (``lake/storage/compaction.py``).
    job
        Start of the name of its own job, which alone builds it. Empty: the update jobs build it, and so do ``update``
        and runs of its inputs.
    """

    name: str
    schema: Schema
    description: str
    inputs: tuple[str, ...]
    optional: tuple[str, ...] = ()
    version: int = 1
    maker: str = "days"
    asset: str = ""
    bars: Bars | None = None
    compacted: bool = False
    job: str = ""

    @property
    def sources(self) -> tuple[str, ...]:
        """The tables with archive files that it is computed from, without the optional ones."""
        names: list[str] = []
        for layer, table in map(split_name, self.inputs):
            entry = find_gold_table(table) if layer == "gold" else None
            names += entry.sources if entry else [table]
        return tuple(dict.fromkeys(names))

    @property
    def is_of_listing(self) -> bool:
        """Whether it is built from the archive's listing, and from no rows."""
        return all(layer == LISTING for layer, _ in map(split_name, self.inputs))


def split_name(name: str) -> tuple[str, str]:
    """Layer and table of ``layer.table``."""
    layer, _, table = name.partition(".")
    return layer, table


def _minutes(name: str, schema: Schema, description: str, compacted: bool = False) -> GoldTable:
    inputs, optional = ("silver.klines_1m",), ("silver.funding_rates",)
    maker = asset = "continuous"
    return GoldTable(name, schema, description, inputs, optional, maker=maker, asset=asset, compacted=compacted)


def _bars(bars: Bars) -> GoldTable:
    return GoldTable(
        bars.table,
        BARS if isinstance(bars, TimeBars) else ACTIVITY_BARS,
        f"Bars {bars.name} of {{market}} with VWAP and a flag that is true if the archive has every minute.",
        ("gold.continuous_1m",),
        maker="bars",
        bars=bars,
    )


def _ids(trades: str) -> list[GoldTable]:
    """Continuity and missing ids of a silver table whose ids have no holes."""
    continuity = f"Ids of {trades} of {{market}} per symbol and day: first, last, missing, repeated."
    tables = (
        ("continuity", ID_CONTINUITY, continuity),
        ("missing_ids", MISSING_IDS, f"Every range of ids that is missing in {trades} of {{market}}."),
    )
    return [
        GoldTable(f"{trades}_{name}", schema, text, (f"silver.{trades}",), maker="trade_ids", asset=f"{trades}_ids")
        for name, schema, text in tables
    ]


GOLD_TABLES: tuple[GoldTable, ...] = (
    _minutes(
        "continuous_1m",
        CONTINUOUS,
        "Every minute of every symbol from its first trade on; minutes without trades are filled and marked.",
        compacted=True,
    ),
    _minutes("gaps", GAPS, "Pauses in trading that cut a symbol's series into segments."),
    _minutes(
        "symbol_states",
        SYMBOL_STATES,
        "State at the end of a day for the next one: last trade, its close and the segment, per symbol.",
    ),
    *_ids(AGG_TRADES.name),
    *_ids(TRADES.name),
    GoldTable(
        "instruments",
        INSTRUMENTS,
        "All instruments of {market} up to each day, as known on that day, delisted ones included.",
        (f"{LISTING}.klines_1m",),
        maker="instruments",
    ),
    GoldTable(
        "witnesses",
        WITNESSES,
        "Whether the daily and monthly files of klines of {market} agree, and the bars rebuilt from trades.",
        (f"{LISTING}.klines_1m",),
        maker="witnesses",
        job="compare",
    ),
    GoldTable(
        "missing_minutes",
        MISSING_MINUTES,
        "Minutes of {market} that the archive does not have, each stretch with a reason and its evidence.",
        ("silver.klines_1m",),
        maker="missing_minutes",
        job="missing_minutes",
    ),
)
"""All gold tables except bars, whose number has no limit. Add an entry for a new table at the end."""


def check_entries(tables: Sequence[GoldTable]) -> None:
    """Raise ValueError for an entry that names an unknown input, or that cannot be built; the text says what to change.

    Without it, such a table would be missing in every market.
    """
    with_files = list(dict.fromkeys(table for _, _, table in FEEDS))
    names = [table.name for table in tables]
    known = {LISTING: with_files, "bronze": with_files, "silver": with_files, "gold": names}
    for table in tables:
        if names.count(table.name) > 1:
            raise ValueError(f"gold table {table.name} has several entries")
        if table.optional and table.maker == "days":
            raise ValueError(f"gold table {table.name}: optional inputs need a maker, so make them inputs")
        if set(re.findall(r"{.*?}", table.description)) - {"{market}"}:
            raise ValueError(f"gold table {table.name}: its description may have {{market}}, and no other braces")
        for name in (*table.inputs, *table.optional):
            layer, source = split_name(name)
            if layer not in known or not source:
                raise ValueError(
                    f"gold table {table.name}: input {name!r} is not of the form layer.table, such as silver.klines_1m"
                )
            if source not in known[layer] and not (layer == "gold" and bars_of_table(source)):
                fault = unknown_name("table", source, known[layer], scope=f"layer {layer}")
                raise ValueError(f"gold table {table.name} has an unknown input {name}: {fault}")


check_entries(GOLD_TABLES)


def gold_tables(bars: Iterable[Bars]) -> list[GoldTable]:
    """All gold tables, with these kinds of bars."""
    return [*GOLD_TABLES, *map(_bars, bars)]


@lru_cache(maxsize=256)
def find_gold_table(name: str) -> GoldTable | None:
    """The gold table of a name, bars of any kind included; None if there is none.

    >>> find_gold_table("bars_1h").sources
    ('klines_1m',)
    """
    if bars := bars_of_table(name):
        return _bars(bars)
    return next((table for table in GOLD_TABLES if table.name == name), None)


def bars_in(layer: str, table: str) -> Bars | None:
    """The kind of bars in a table of the lake; None if it holds no bars.

    >>> bars_in("gold", "bars_1h_by_5m").name
    '1h:5m'
    """
    entry = find_gold_table(table) if layer == "gold" else None
    return entry.bars if entry else None


def tables_after(source: str, bars: Iterable[Bars]) -> list[GoldTable]:
    """The gold tables that a run of a table's archive files also builds: those that need no other files.

    A table that needs several archive types is built by its own backfill, the daily schedule, and the automation
    sensor; a table of the listing by the first two; a table with a ``job`` by its own backfill and that job. A table of
    days from monthly files is not built either, because a run has partitions of one cadence.
    """
    if all(feed.cadence is Cadence.MONTHLY for feed in FEEDS.values() if feed.table == source):
        return []
    return [
        table for table in gold_tables(bars) if table.sources == (source,) and not (table.is_of_listing or table.job)
    ]
