"""The plan of a day during the listing equals the plan from the whole listing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_lakehouse.archive.model import ArchiveFile
from crypto_lakehouse.catalog import feed
from crypto_lakehouse.catalog.symbols import ChosenSymbols
from crypto_lakehouse.lake.storage.provenance import PartitionInfo, Provenance, StoredPartition
from crypto_lakehouse.pipeline.bronze.days import FileTask, table_order, tasks

KEY = "2024-03-05"
WHEN = datetime(2024, 3, 6, tzinfo=UTC)
STORED = StoredPartition(PartitionInfo(1, 1, 1, None, None, "here"), Provenance("made"), WHEN)
SYMBOLS = ("A", "B", "C", "D")
UM = feed("binance", "um", "klines_1m")
ALL, SOME = ChosenSymbols(), ChosenSymbols(("A", "B"))


def file(symbol: str, number: int, etag: str = "e") -> ArchiveFile:
    return ArchiveFile(f"{symbol}/{symbol}-{number}.zip", symbol, KEY, 10, etag, WHEN)


def row(of: ArchiveFile, status: str) -> dict[str, Any]:
    facts = {name: getattr(of, name) for name in ("symbol", "period", "size", "etag", "last_modified")}
    facts["key"] = of.object_key
    return {**facts, "status": status, "sha256": "0" * 64}


def whole(
    state: Mapping[str, Any], stored: StoredPartition | None, is_made: bool, listed: list[ArchiveFile]
) -> tuple[bool, list[tuple[str, str]]]:
    """Whether nothing is new, and the state of each file, from the whole listing."""
    kinds = {}
    for one in listed:
        known = state.get(one.object_key)
        same = known is not None and known["etag"] == one.etag
        lasting = known is not None and known["status"] in ("ingested", "quarantined")
        kinds[one.object_key] = "unchanged" if is_made and same and lasting else "new"
    gone = {key for key, known in state.items() if known["status"] == "ingested" and key not in kinds}
    kinds |= dict.fromkeys(gone, "gone")
    is_recorded = bool(kinds) or any(known["status"] == "no_file" for known in state.values())
    unchanged = stored is not None and is_made and is_recorded and set(kinds.values()) <= {"unchanged"}
    return unchanged, sorted(kinds.items())


def kind(task: FileTask) -> str:
    if task.vanished:
        assert task.vanished.file == task.file
        assert task.vanished.reason == "no_longer_listed"
        return "gone"
    return "unchanged" if task.is_up_to_date else "new"


@pytest.mark.requirement("D6", "P3")
@given(data=st.data())
def test_tasks_by_symbol_equal_the_tasks_of_the_whole_listing(data: st.DataObject) -> None:
    files = [file(symbol, number) for symbol in SYMBOLS for number in range(2)]
    statuses = st.sampled_from([None, "ingested", "quarantined", "failed"])
    known = {one.object_key: row(one, status) for one in files if (status := data.draw(statuses, one.object_key))}
    if not known and data.draw(st.booleans(), "no file"):
        known = {"none": row(ArchiveFile("none", "", KEY, 0, "", WHEN), "no_file")}
    versions = st.sampled_from([None, "e", "e", "other"])
    listed = [
        file(one.symbol, int(one.object_key[-5]), etag)
        for one in files
        if (etag := data.draw(versions, f"listed {one.object_key}"))
    ]
    asked = sorted({one.symbol for one in listed} | set(data.draw(st.sets(st.sampled_from(SYMBOLS)), "asked")))
    is_made = data.draw(st.booleans(), "is made")
    stored = STORED if is_made else data.draw(st.sampled_from([None, STORED]), "stored")
    chosen = data.draw(st.sampled_from([ALL, ALL, SOME]), "chosen")
    by_symbol = [(symbol, [one for one in listed if one.symbol == symbol]) for symbol in asked]

    begin, *found = tasks(KEY, known, stored, is_made, chosen, iter(by_symbol), UM)
    unchanged, kinds = whole(known, stored, is_made, listed)
    assert begin.file is None
    assert all(task.day is begin.day for task in found)
    assert (begin.day.key, begin.day.unchanged) == (KEY, STORED if unchanged and chosen == ALL else None)
    assert [(task.file.object_key, kind(task)) for task in found if task.file] == kinds
    assert kinds == sorted(kinds, key=lambda one: table_order(next(f for f in files if f.object_key == one[0])))


@pytest.mark.requirement("P3")
def test_a_new_file_is_known_before_later_symbols_are_listed() -> None:
    asked: list[str] = []

    def listed() -> Iterator[tuple[str, list[ArchiveFile]]]:
        for symbol in SYMBOLS:
            asked.append(symbol)
            yield symbol, [file(symbol, 0)]

    settled = row(file("A", 0), "ingested")
    coming = tasks(KEY, {settled["key"]: settled}, STORED, True, ALL, listed(), UM)
    assert next(coming).day.unchanged is None
    assert [kind(next(coming)) for _ in range(2)] == ["unchanged", "new"]
    assert asked == ["A", "B"]
