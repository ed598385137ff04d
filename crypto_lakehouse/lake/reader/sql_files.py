"""The files that a SQL query reads: month files where its text compares ``symbol`` with values, else day files.

The rows are the same either way, so this choice only decides how fast a query is, and a look at its text is enough. A
query without a symbol reads day files: it wants all symbols, and those of a day lie together only there. The same holds
for the days before and after those that a query names by conditions on ``date``: engines skip day files by their path,
but would open a month file. Views over the files are in ``sql_views.py``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from operator import attrgetter
from typing import Any

from crypto_lakehouse.lake.storage.describe import StoredFile, list_files
from crypto_lakehouse.lake.storage.months import is_month_file, month_of, with_months
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice

Parameters = Mapping[str, Any] | Sequence[Any]

_SYMBOL = re.compile(r"""\bsymbol"?\s*(?:==?|\bIN\b)[\s(]*['$?]|['?]\s*==?\s*(?:\w+\.)?"?symbol\b""", re.IGNORECASE)
_VALUE = r"(?:DATE\s*)?(?:'[^']*'|\$\w+|\?)"
_DATE = re.compile(
    rf"""\bdate"?\s*(?P<sign>==?|[<>]=?|\bIN\b|\bBETWEEN\b)[\s(]*(?P<values>{_VALUE}(?:\s*(?:,|\bAND\b)\s*{_VALUE})*)""",
    re.IGNORECASE,
)


def query_files(
    store: LakeStore, layer: str, table: str, query: str, params: Parameters | None = None
) -> list[StoredFile]:
    """Return the files of a table to read for a query; together they hold each row of the table once.

    Without month files they are in the order of ``list_files``, else in order of market and partition.
    """
    return choose_files(store, list_files(store, layer, table), query, params)


def choose_files(
    store: LakeStore, files: list[StoredFile], query: str, params: Parameters | None = None
) -> list[StoredFile]:
    """Return what ``query_files`` reads of the stored files of a table."""
    if not compares_symbol(query):
        return files
    first, last = named_days(query, params)
    by_slice: dict[TableSlice, list[StoredFile]] = defaultdict(list)
    for file in files:
        by_slice[file.slice].append(file)
    chosen: list[StoredFile] = []
    for table_slice, stored in by_slice.items():
        if not table_slice.is_compacted:
            chosen += stored
            continue
        named = [file for file in stored if first <= file.start <= last]
        replaced = {file.key: file for file in with_months(store, table_slice, stored, named) if is_month_file(file)}
        days = [file for file in stored if month_of(file.key) not in replaced]
        chosen += sorted([*replaced.values(), *days], key=attrgetter("key"))
    return chosen if any(map(is_month_file, chosen)) else files


def compares_symbol(query: str) -> bool:
    """Whether the text of a query compares ``symbol`` with texts or parameters.

    >>> compares_symbol("SELECT * FROM silver.klines_1m AS k WHERE k.symbol IN ('BTCUSDT', 'ETHUSDT')")
    True
    >>> compares_symbol("FROM silver.klines_1m JOIN gold.bars_1d USING (symbol)")
    False
    """
    return _SYMBOL.search(query) is not None


def named_days(query: str, params: Parameters | None = None) -> tuple[date, date]:
    """Return the first and the last day of the conditions on ``date`` in the text of a query, open where it has none.

    >>> named_days("FROM silver.klines_1m WHERE date >= '2024-01-05'")
    (datetime.date(2024, 1, 5), datetime.date(9999, 12, 31))
    """
    first, last = set[date](), set[date]()
    for condition in _DATE.finditer(query):
        days = set(_days(query, condition.start("values"), condition["values"], params))
        # A value that is not a day may be any day.
        if condition["sign"][0] != "<":
            first.add(min(days, default=date.min))
        if condition["sign"][0] != ">":
            last.add(max(days, default=date.max))
    return min(first, default=date.min), max(last, default=date.max)


def _days(query: str, start: int, values: str, params: Parameters | None) -> Iterator[date]:
    """Yield the days that the ``values`` at position ``start`` of a query stand for."""
    for value in re.finditer(r"'([^']*)'|\$(\w+)|\?", values):
        text, name = value.groups()
        if text is None:
            name = name or str(query[: start + value.start()].count("?") + 1)
            text = parameter(params, name)
        for one in text if isinstance(text, list | tuple) else [text]:
            if (day := _day(one)) is not None:
                yield day


def parameter(params: Parameters | None, name: str) -> Any:
    """The value of a parameter, by its name or number; None if there is none."""
    if isinstance(params, Mapping):
        return params.get(name)
    is_there = params is not None and name.isdigit() and 0 < int(name) <= len(params)
    return params[int(name) - 1] if is_there and params is not None else None


def _day(value: Any) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, str):
        try:
            return date.fromisoformat(value[: len("YYYY-MM-DD")])
        except ValueError:
            return None
    return value if isinstance(value, date) else None
