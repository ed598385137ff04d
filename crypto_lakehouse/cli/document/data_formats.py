"""The page of data formats, generated from the catalogue, the epoch registry and the schemas.

This module turns data about the archive into text. It holds no fact about the archive itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from crypto_lakehouse.catalog import DEFAULT_EXCHANGE, EXCHANGES, FEEDS, MARKETS, Cadence, Feed, FileFormat, Market
from crypto_lakehouse.catalog.bars import parse_bars_list
from crypto_lakehouse.catalog.epochs import EPOCHS, TOPIC_VALUES, Epoch, Topic
from crypto_lakehouse.cli.document.markdown import markdown_table, prose
from crypto_lakehouse.schemas import Schema, silver_schema
from crypto_lakehouse.schemas.gold import LISTING, GoldTable, gold_tables

_ISSUES = "https://github.com/binance/binance-public-data/issues/"
_BARS = "1h,dollar:1000000"
_HEAD = """\
Types, files, tables and known faults of the archives. `make docs` generates this page from the catalogue, the epoch
registry and the schemas: change those, not this page. Times and days are UTC.
"""


def data_formats() -> str:
    """The whole page as markdown."""
    parts = [
        "# Data formats\n",
        _HEAD,
        *_overview(),
        *_types(),
        *_files(),
        *_silver(),
        *_gold(),
        *_epochs(),
        _references(),
    ]
    return "\n".join(parts) + "\n"


def _overview() -> list[str]:
    rows = []
    for market in MARKETS.values():
        lists = [
            " ".join(dict.fromkeys(f.archive_type for f in _feeds_of(market) if cadence in f.archived)) or "none"
            for cadence in Cadence
        ]
        rows.append([_name(market), *lists])
    return [
        "## What exists\n",
        "The types of each market, by whether the archive has files of a day or of a month:\n",
        markdown_table(["market", *(cadence.value for cadence in Cadence)], rows),
    ]


def _name(market: Market) -> str:
    return market.name if market.exchange == DEFAULT_EXCHANGE else f"{market.exchange}/{market.name}"


def _types() -> list[str]:
    parts = [
        "## Types, tables, dates\n",
        prose(
            "One row per type. 'partition' says whether the lake reads daily files (date) or monthly ones (month), and"
            " its tables have such partitions; 'archived' says which of the two the archive has. If a type has a last"
            " date, it has ended, and no later file is requested. 'key' is the primary key of the silver rows."
        ),
    ]
    head = ["type", "tables", "partition", "archived", "first", "last", "columns", "silver", "key"]
    for market in MARKETS.values():
        by_type: dict[str, list[Feed]] = defaultdict(list)
        for feed in _feeds_of(market):
            by_type[feed.archive_type].append(feed)
        parts += [
            f"### Market {_name(market)}\n",
            f"{market.title}: `{EXCHANGES[market.exchange].folders.replace('{market}', market.archive_path)}`\n",
            markdown_table(head, [_type_row(name, feeds) for name, feeds in by_type.items()]),
        ]
    return parts


def _type_row(archive_type: str, feeds: Sequence[Feed]) -> list[str]:
    feed = feeds[0]
    schema = silver_schema(feed)
    table = feed.table
    if feed.interval is not None:
        table = f"{table.removesuffix(feed.interval.name)}{{interval}}"
    return [
        archive_type,
        f"`{table}`",
        _by_interval(feeds, [f.cadence.partition_column for f in feeds]),
        _by_interval(feeds, [", ".join(f.archived) for f in feeds]),
        str(feed.first_date),
        str(feed.last_date or ""),
        f"[{len(feed.file_format.columns)}]({_anchor('Files', feed.file_format.name)})",
        f"[{schema.name}]({_anchor('Silver', schema.name)})",
        ", ".join(schema.primary_key),
    ]


def _by_interval(feeds: Sequence[Feed], values: Sequence[str]) -> str:
    """The value of most intervals, then each other value with the intervals that have it."""
    usual = max(dict.fromkeys(values), key=values.count)
    others: dict[str, list[str]] = defaultdict(list)
    for feed, value in zip(feeds, values, strict=True):
        if value != usual and feed.interval is not None:
            others[value].append(feed.interval.name)
    return "; ".join([usual, *(f"{' '.join(names)}: {value}" for value, names in others.items())])


def _files() -> list[str]:
    parts = [
        "## Columns of the files\n",
        prose(
            "The columns in file order; fields are read by position. Other spellings are names that header lines have"
            " used; they are compared without case, blanks and underscores. If a field may be blank, a blank is null;"
            " otherwise the row is rejected. Bronze tables have these columns, then symbol, source_key, source_sha256"
            " and source_line."
        ),
    ]
    users: dict[str, list[Feed]] = defaultdict(list)
    formats: dict[str, FileFormat] = {}
    for feed in FEEDS.values():
        formats[feed.file_format.name] = feed.file_format
        users[feed.file_format.name].append(feed)
    for name, file_format in formats.items():
        types = dict.fromkeys(f"{_name(f.market)} {f.archive_type}" for f in users[name])
        parts += [f"### Files {name}\n", prose(f"Of {', '.join(types)}.{_traits(file_format)}")]
        rows = [
            [
                str(number),
                column.name,
                column.type.value,
                "yes" if column.may_be_blank else "",
                ", ".join(column.aliases),
            ]
            for number, column in enumerate(file_format.columns, start=1)
        ]
        parts.append(markdown_table(["no.", "column", "type", "may be blank", "other spellings"], rows))
    return parts


def _traits(file_format: FileFormat) -> str:
    numbered = f" Numbered without gaps by {file_format.id_column}." if file_format.id_column else ""
    large = " Files may hold tens of millions of rows." if file_format.large else ""
    return f" Times: {', '.join(file_format.time_columns)}.{numbered}{large}"


def _silver() -> list[str]:
    parts = ["## Silver tables\n"]
    tables: dict[str, list[str]] = defaultdict(list)
    schemas: dict[str, Schema] = {}
    for feed in FEEDS.values():
        schema = silver_schema(feed)
        schemas[schema.name] = schema
        tables[schema.name].append(feed.table)
    for name, schema in schemas.items():
        names = ", ".join(f"`{table}`" for table in dict.fromkeys(tables[name]))
        parts += [f"### Silver {name}\n", prose(f"{schema.doc} Tables: {names}."), _columns(schema)]
    return parts


def _gold() -> list[str]:
    parts = [
        "## Gold tables\n",
        prose(
            "Gold is computed from other tables of the same market. Inputs in brackets are used if the lake has them."
            " Bars exist for every interval and threshold in LAKEHOUSE_BARS; two of them stand for all."
        ),
    ]
    tables: dict[str, list[GoldTable]] = defaultdict(list)
    for table in gold_tables(parse_bars_list(_BARS)):
        tables[table.schema.name].append(table)
    for name, group in tables.items():
        schema = group[0].schema
        rows = [[f"`{table.name}`", table.description.format(market="the market"), _inputs(table)] for table in group]
        parts += [
            f"### Gold {name}\n",
            prose(schema.doc),
            markdown_table(["table", "rows", "inputs"], rows),
            _columns(schema),
        ]
    return parts


def _inputs(table: GoldTable) -> str:
    names = [*table.inputs, *(f"({name})" for name in table.optional)]
    return ", ".join(name.replace(f"{LISTING}.", "the archive's listing of ") for name in names)


def _columns(schema: Schema) -> str:
    rows = [
        [
            column.name,
            str(column.type),
            column.unit,
            "key" if column.name in schema.primary_key else "null" if column.nullable else "",
            column.doc,
        ]
        for column in schema.columns
    ]
    return markdown_table(["column", "type", "unit", "key, or may be null", "meaning"], rows)


def _epochs() -> list[str]:
    parts = [
        "## Epochs\n",
        prose(
            "Facts that changed over time, and known faults, each with its source. Days are those of the data, first"
            " and last inclusive. Numbers with # are issues of binance/binance-public-data."
        ),
    ]
    for topic in Topic:
        grouped: dict[tuple[object, ...], list[Epoch]] = defaultdict(list)
        for epoch in EPOCHS:
            if epoch.topic is topic:
                fact = (epoch.value, epoch.first, epoch.last, epoch.text, epoch.source, epoch.cadence)
                grouped[*fact, epoch.intervals, epoch.symbols].append(epoch)
        parts += [
            f"### Epochs {topic.value}\n",
            prose(TOPIC_VALUES[topic]),
            markdown_table(
                ["markets", "types", "days", "only", "value", "what", "source"],
                [_epoch_row(group) for group in grouped.values()],
            ),
        ]
    return parts


def _epoch_row(group: Sequence[Epoch]) -> list[str]:
    epoch = group[0]
    only = [epoch.cadence.value] if epoch.cadence else []
    return [
        " ".join(dict.fromkeys(each.market for each in group)),
        " ".join(dict.fromkeys(each.archive_type for each in group)),
        _days(epoch),
        " ".join([*only, *epoch.intervals, *epoch.symbols]),
        epoch.value.replace(",", ", "),
        epoch.text,
        ", ".join(_link(source) for source in epoch.source.split(", ")),
    ]


def _days(epoch: Epoch) -> str:
    if epoch.first is None and epoch.last is None:
        return "all"
    if epoch.first is None:
        return f"to {epoch.last}"
    if epoch.last is None:
        return f"from {epoch.first}"
    return str(epoch.first) if epoch.first == epoch.last else f"{epoch.first} to {epoch.last}"


def _link(source: str) -> str:
    """The source as a link by reference, which keeps lines short; plain text if it is no URL."""
    return f"[{_label(source)}]" if source.startswith("https://") else source


def _label(source: str) -> str:
    if source.startswith(_ISSUES):
        return f"#{source.removeprefix(_ISSUES)}"
    parts = source.split("/")
    return f"{parts[4]} {parts[-1]}"


def _references() -> str:
    sources = {source for epoch in EPOCHS for source in epoch.source.split(", ") if source.startswith("https://")}
    return "\n".join(
        sorted((f"[{_label(source)}]: {source}" for source in sources), key=lambda line: (len(line), line))
    )


def _feeds_of(market: Market) -> list[Feed]:
    return [feed for feed in FEEDS.values() if feed.market is market]


def _anchor(*heading: str) -> str:
    """The anchor of a heading, by the convention of GitHub."""
    return "#" + "-".join(heading).lower().replace(" ", "-")
