"""Reused memory: never handed out while an array uses it, and bounded in size."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_lakehouse.transforms.gold.kernels.arrays import Array, Flags, Floats, Ints, Memory, allocate, unfilled

KIB = 1024


def address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


@pytest.mark.requirement("P3")
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 64 * KIB)), max_size=40))
def test_memory_in_use_is_not_handed_out_again(steps: list[tuple[int, int]]) -> None:
    memory, held = Memory(kept=100 * KIB, least=KIB), dict[int, Array]()
    for slot, count in steps:
        held.pop(slot, None)
        held[slot] = memory.take(count)
        assert len(held[slot]) == count
        held[slot][:] = slot
        for other, array in held.items():
            assert (array == other).all()


@pytest.mark.requirement("P3")
def test_memory_is_reused_after_its_last_array_is_gone() -> None:
    memory = Memory(least=KIB)
    taken = memory.take(64 * KIB)
    where = address(taken)
    column = taken.view(np.int64)[10:20]
    arrow = pa.array(column)
    del taken
    assert address(memory.take(64 * KIB)) != where
    del column
    assert address(memory.take(64 * KIB)) != where
    del arrow
    assert address(memory.take(60 * KIB)) == where
    # Half as much would waste the rest.
    again = memory.take(64 * KIB)
    del again
    assert address(memory.take(16 * KIB)) != where


@pytest.mark.requirement("P3")
def test_at_most_the_configured_memory_waits_for_reuse() -> None:
    memory = Memory(kept=150 * KIB, least=KIB)
    pieces = [memory.take(64 * KIB) for _ in range(4)]
    where = [address(piece) for piece in pieces]
    while pieces:
        del pieces[0]
    kept = [memory.take(64 * KIB) for _ in range(2)]
    # The last ones that were let go of; each is an eighth larger than asked for.
    assert {address(piece) for piece in kept} == set(where[2:])


@pytest.mark.requirement("P3")
def test_threads_take_and_release_memory() -> None:
    memory = Memory(least=KIB)

    def work(number: int) -> bool:
        ok = True
        for size in range(1, 60):
            taken = memory.take(size * KIB)
            taken[:] = number
            ok = ok and bool((taken == number).all())
        return ok

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(64)))


class Columns(NamedTuple):
    number: Ints
    price: Floats
    known: Flags


@pytest.mark.requirement("P3")
@given(st.integers(0, 100_000))
def test_columns_have_their_types_and_do_not_overlap(count: int) -> None:
    made = allocate(Columns, count)
    assert [column.dtype for column in made] == [np.int64, np.float64, np.bool_]
    for number, column in enumerate(made):
        column[:] = number
    assert [len(column) for column in made] == [count] * 3
    assert all(
        (column == bool(number) if column.dtype == bool else column == number).all()
        for number, column in enumerate(made)
    )
    assert unfilled(count, np.int32).dtype == np.int32
