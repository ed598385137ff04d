"""Schemas of every table in the lake: ``schema_of(layer, table)`` and the list of all tables.

Schemas are in a module for each kind of table, gold tables in the registry ``gold.py``. A table is named
``layer.table`` everywhere: ``silver.klines_1m``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from crypto_lakehouse.catalog import FEEDS, Cadence, Feed, FieldType, feeds
from crypto_lakehouse.catalog.bars import BAR_INTERVALS
from crypto_lakehouse.catalog.near import unknown_name
from crypto_lakehouse.schemas.answers import ANSWERS
from crypto_lakehouse.schemas.book import BOOK_DEPTH, BOOK_TICKER
from crypto_lakehouse.schemas.funding_rates import FUNDING_RATES
from crypto_lakehouse.schemas.futures import LIQUIDATIONS, OPEN_INTEREST
from crypto_lakehouse.schemas.gold import GOLD_TABLES, find_gold_table
from crypto_lakehouse.schemas.klines import KLINES
from crypto_lakehouse.schemas.ledger import FILES, REVISIONS
from crypto_lakehouse.schemas.model import BAR_CODEC, BAR_ROWS, EVENT_CODEC, EVENT_ROWS, INT, TEXT, Column, Schema
from crypto_lakehouse.schemas.options import OPTION_SUMMARIES, VOLATILITY_INDEX
from crypto_lakehouse.schemas.price_klines import PRICE_KLINES
from crypto_lakehouse.schemas.quarantine import REJECTED
from crypto_lakehouse.schemas.rest import REST_SUFFIX, has_answers, rest_schema, rest_table
from crypto_lakehouse.schemas.trades import AGG_TRADES, TRADES

LAYERS = ("bronze", "silver", "gold", "ledger", "quarantine")

_SILVER_SCHEMAS = (
    KLINES,
    AGG_TRADES,
    TRADES,
    FUNDING_RATES,
    PRICE_KLINES,
    OPEN_INTEREST,
    BOOK_DEPTH,
    BOOK_TICKER,
    LIQUIDATIONS,
    VOLATILITY_INDEX,
    OPTION_SUMMARIES,
)
_SILVER = {schema.name: schema for schema in _SILVER_SCHEMAS}
_BRONZE_TYPES = {FieldType.INT64: INT, FieldType.FLOAT64: pa.float64(), FieldType.STRING: TEXT}
_PROVENANCE = (
    Column("symbol", TEXT, "name", "Symbol as the exchange writes it."),
    Column("source_key", TEXT, "archive key", "Archive file that contains the row."),
    Column("source_sha256", TEXT, "hex", "sha256 of that file."),
    Column("source_line", INT, "1", "Line of the row in the CSV, from 1; a header line counts."),
)


def bronze_schema(feed: Feed) -> Schema:
    """Schema of a feed's bronze rows: the file's columns in file order, then the provenance of each row."""
    columns = tuple(
        Column(c.name, _BRONZE_TYPES[c.type], "as in the file", "As the archive writes it.", nullable=True)
        for c in feed.file_format.columns
    )
    return Schema(
        name=f"bronze_{feed.file_format.name}",
        doc=f"Rows of {feed.archive_type} files, typed, one to one; duplicates stay.",
        columns=(*columns, *_PROVENANCE),
        primary_key=("symbol", "source_key", "source_line"),
        time_column=feed.file_format.time_columns[0],
        row_group_rows=EVENT_ROWS if feed.file_format.large else BAR_ROWS,
        codec=EVENT_CODEC if feed.file_format.large else BAR_CODEC,
        id_column=feed.file_format.order_column if feed.file_format.large else None,
    )


def _bronze_of_all(feeds: Sequence[Feed]) -> Schema:
    """The columns of a table over all markets: null where a market's files do not have one."""
    schemas = [bronze_schema(feed) for feed in feeds]
    columns = {column.name: column for schema in schemas for column in schema.columns if column not in _PROVENANCE}
    return replace(schemas[0], columns=(*columns.values(), *_PROVENANCE))


def silver_schema(feed: Feed) -> Schema:
    """Schema of a feed's silver rows. Raises KeyError, which says where schemas are listed."""
    try:
        return _SILVER[feed.schema]
    except KeyError:
        raise KeyError(
            f"{feed.name}: {unknown_name('silver schema', feed.schema, _SILVER)}. Correct the name, or add the schema"
            " to _SILVER_SCHEMAS in schemas/__init__.py"
        ) from None


def schema_of(layer: str, table: str) -> Schema:
    """Schema of ``layer.table`` over all markets. Raises KeyError, which lists the layer's tables."""
    if layer in ("bronze", "silver") and (matching := feeds([table])):
        return _bronze_of_all(matching) if layer == "bronze" else silver_schema(matching[0])
    if layer == "gold" and (entry := find_gold_table(table)):
        return entry.schema
    if layer == "bronze" and (completed := _completed(table)):
        return rest_schema(*completed)
    if (layer, table) == ("ledger", "files"):
        return FILES
    if (layer, table) == ("ledger", "revisions"):
        return REVISIONS
    if (layer, table) == ("ledger", "answers"):
        return ANSWERS
    if (layer, table) == ("quarantine", "rejected"):
        return REJECTED
    if layer not in LAYERS:
        raise KeyError(f"no table {layer}.{table}: {unknown_name('layer', layer, LAYERS)}")
    raise KeyError(unknown_name("table", table, [b for a, b in table_names() if a == layer], scope=f"layer {layer}"))


def _completed(table: str) -> list[Feed]:
    """The feeds whose answers a bronze table holds; none if it is no table of answers."""
    name = table.removesuffix(REST_SUFFIX)
    return [feed for feed in feeds([name]) if has_answers(feed)] if name != table else []


def table_names() -> list[tuple[str, str]]:
    """(layer, table) of every table that the lake can hold, except bars on offset grids and activity bars.

    The number of those has no limit; ``schemas.gold.find_gold_table`` knows their names.
    """
    tables = list(dict.fromkeys(feed.table for feed in FEEDS.values()))
    return [
        *(("bronze", table) for table in tables),
        *(("bronze", rest_table(table)) for table in tables if _completed(rest_table(table))),
        *(("silver", table) for table in tables),
        *(("gold", table.name) for table in GOLD_TABLES),
        *(("gold", f"bars_{interval}") for interval in BAR_INTERVALS),
        ("ledger", "files"),
        ("ledger", "revisions"),
        ("ledger", "answers"),
        ("quarantine", "rejected"),
    ]


def cadence_of(layer: str, table: str) -> Cadence:
    """Whether the table has ``date=`` or ``month=`` partitions: the same in all markets, for readers of several.

    That of one market is ``TableSlice.cadence``. Raises KeyError like ``schema_of``.
    """
    schema_of(layer, table)
    base = table.removesuffix(REST_SUFFIX) if layer == "bronze" else table
    for feed in FEEDS.values() if layer in ("bronze", "silver") else ():
        if feed.table == base:
            return feed.cadence
    return Cadence.DAILY


__all__ = [
    "LAYERS",
    "Column",
    "Schema",
    "bronze_schema",
    "cadence_of",
    "schema_of",
    "silver_schema",
    "table_names",
]
