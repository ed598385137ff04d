"""Small tables joined to larger ones: the same rows in fewer tables, in time proportional to the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from crypto_lakehouse.lake.storage import compaction
from crypto_lakehouse.pipeline.bronze import partitions as bronze

Join = Callable[[Iterable[pa.Table]], Iterator[pa.Table]]


def of_month(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    return compaction._frames(("BTCUSDT", table) for table in tables)


def of_day(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    return bronze._joined(iter(tables))


JOINS = pytest.mark.parametrize("join", [of_month, of_day])


class CountedTable:
    """Stands for a table of one row, and counts how often its rows are."""

    schema = pa.schema([])

    def __init__(self) -> None:
        self.counted = 0

    @property
    def num_rows(self) -> int:
        self.counted += 1
        return 1


@JOINS
@pytest.mark.requirement("P3")
def test_the_rows_of_each_table_are_counted_once(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    def put_together(held: list[Any], **_: str) -> list[Any]:
        return list(held)

    monkeypatch.setattr(pa, "concat_tables", put_together)
    tables = [CountedTable() for _ in range(500)]
    assert [table for joined in join(tables) for table in joined] == tables
    assert max(table.counted for table in tables) == 1


@JOINS
@pytest.mark.requirement("P3")
def test_joined_tables_hold_the_same_rows_in_order(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "_FRAME_ROWS", 10)
    monkeypatch.setattr(bronze, "_JOINED_ROWS", 10)
    tables = [pa.table({"n": pa.array([number] * (number % 4), pa.int64())}) for number in range(1, 400)]
    joined = list(join(tables))
    assert pa.concat_tables(joined).equals(pa.concat_tables(tables))
    assert all(10 <= table.num_rows < 14 for table in joined[:-1])
