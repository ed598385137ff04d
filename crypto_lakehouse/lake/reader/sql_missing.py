"""Missing partitions of the tables that a SQL query names, between the stored ones.

The text of a query is not parsed here: a look at its conditions on days, times and markets is enough for a warning.
What cannot be understood may exclude the missing days, so nothing is reported then. Which files a query reads is
decided in ``sql_files.py``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeAlias

from crypto_lakehouse.lake.reader.reasons import STATES
from crypto_lakehouse.lake.reader.sql_files import Parameters, parameter
from crypto_lakehouse.lake.storage.building import build_command
from crypto_lakehouse.lake.storage.describe import StoredFile, holes
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.slices import TableSlice

Missing: TypeAlias = list[tuple[TableSlice, list[str]]]
"""Slices, each with the keys of its missing partitions."""

_NAMED = 10
_DAY, _MICROSECOND = timedelta(days=1), timedelta(microseconds=1)
_NO_ROWS = re.compile(r"\s*(?:DESCRIBE|EXPLAIN|SHOW)\b", re.IGNORECASE)
_VALUE = r"(?:(?:DATE|TIMESTAMPTZ|TIMESTAMP)\s*)?(?:'[^']*'|\$\w+\b|\?)(?:\s*::\s*\w+\b)?(?!\s*[-+*:'])"
_SIGN = r"==?|[<>]=?(?![>=])|\bIN\b|\bBETWEEN\b"


def query_holes(
    files: Sequence[StoredFile], layer: str, table: str, query: str, params: Parameters | None = None
) -> Missing:
    """Return the missing partitions of a table, of which ``files`` are stored, that a query may want rows of."""
    if layer in ("ledger", "quarantine") or f"{layer}.{table}" in STATES or _NO_ROWS.match(query):
        return []
    keys: dict[TableSlice, set[str]] = defaultdict(set)
    for file in files:
        keys[file.slice].add(file.key)
    given = [*(params.values() if isinstance(params, Mapping) else params or ())]
    named = {each for each in keys if re.search(rf"['\"]{each.market}['\"]", query) or each.market in given}
    found = [(each, holes(each, stored)) for each, stored in keys.items() if each in named or not named]
    if not any(missing for _, missing in found):
        return []
    time_column = schema_of(layer, table).time_column
    wanted = wanted_days(query, ("date", "month", time_column), params)
    if wanted is None:
        return []
    found = [(each, holes(each, keys[each], wanted[0], wanted[1])) for each, _ in found]
    return [(each, missing) for each, missing in found if missing]


def missing_days_message(store: LakeStore, missing: Missing) -> str:
    """Say which partitions are missing, and which commands build them."""
    texts = []
    for table_slice, keys in missing:
        more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
        texts.append(
            f"{table_slice.layer}.{table_slice.table} of {table_slice.exchange}/{table_slice.market} in {store.uri}"
            f" has no partition for {', '.join(keys[:_NAMED])}{more}: the query reads no rows of them. Build them with:"
            f" {build_command(store, table_slice, keys[0], keys[-1])}"
        )
    return ". ".join(texts)


def wanted_days(query: str, columns: Sequence[str], params: Parameters | None = None) -> tuple[date, date] | None:
    """Return the days [first, end) of a query's conditions on columns; None if one cannot be understood.

    >>> wanted_days("FROM gold.bars_1h WHERE date >= '2024-01-05' AND open_time < '2024-01-08'", ["date", "open_time"])
    (datetime.date(2024, 1, 5), datetime.date(2024, 1, 8))
    >>> wanted_days("FROM gold.bars_1h WHERE date > current_date - 7", ["date"])
    """
    first, end = date.min, date.max
    for column in dict.fromkeys(columns):
        firsts, ends = list[date](), list[date]()
        for sign, values in _conditions(query, column):
            known = _moments(query, values, params)
            times = [moment for moment in known if moment is not None]
            if not times or len(times) < len(known):
                return None
            if sign[0] != "<":
                firsts.append(min(times).date() + (_DAY if sign == ">" and column == "date" else timedelta(0)))
            if sign == "<":
                ends.append((max(times) - _MICROSECOND).date() + _DAY)
            elif sign[0] != ">":
                ends.append(max(times).date() + _DAY)
        if _has_other_conditions(query, column):
            return None
        first, end = max(first, min(firsts, default=date.min)), min(end, max(ends, default=date.max))
    return first, end


def _conditions(query: str, column: str) -> Iterator[tuple[str, tuple[int, str]]]:
    """Yield sign, and position and text of the values, of comparisons of a column with values."""
    for match in re.finditer(_compared(column), query, re.IGNORECASE):
        yield match["sign"], (match.start("values"), match["values"])


def _compared(column: str) -> str:
    return rf"""\b{column}"?\s*(?P<sign>{_SIGN})[\s(]*(?P<values>{_VALUE}(?:\s*(?:,|\bAND\b)\s*{_VALUE})*)"""


def _has_other_conditions(query: str, column: str) -> bool:
    """Whether a query compares a column in another way than ``_conditions``, and not just with a column of a join."""
    rest = re.sub(_compared(column), " ", query, flags=re.IGNORECASE)
    of_join = r"\s*\(?\w+\.\"?\w+\"?(?!\s*[-+(.\w])"
    ways = (
        rf"""\b{column}"?\s*(?:{_SIGN})(?!{of_join})""",
        # An expression of the column.
        rf"""\b{column}"?(?:\s+AS\s+\w+)?(?:\s*(?:\)|::\s*\w+))+\s*(?:{_SIGN})""",
        rf"""\b{column}"?\s*[-+*]""",
        # A value on the left.
        rf"""(?:['?)]|\$\w+|::\s*\w+)\s*(?:==?|[<>]=?)\s*(?:\w+\.)?"?{column}\b""",
    )
    return any(re.search(way, rest, re.IGNORECASE) for way in ways)


def _moments(query: str, values: tuple[int, str], params: Parameters | None) -> list[datetime | None]:
    """The times that values of a query stand for; None for one that is not a time."""
    start, texts = values
    moments = []
    for value in re.finditer(r"'([^']*)'|\$(\w+)|\?", texts):
        given: Any
        given, name = value.groups()
        if given is None:
            given = parameter(params, name or str(query[: start + value.start()].count("?") + 1))
        moments += [_utc(each) for each in (given if isinstance(given, list | tuple) else [given])]
    return moments


def _utc(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(f"{value}-01" if re.fullmatch(r"\d{4}-\d{2}", value) else value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return datetime.combine(value, time(), UTC) if isinstance(value, date) else None
