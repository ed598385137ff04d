"""CSV text from integers: equal to Python's text for any numbers."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crypto_lakehouse.sample.text import clock, constant, decimal, integer, lines, word

pytestmark = pytest.mark.requirement("F2.5")

INTS = st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=20)


@given(INTS)
@example([0, 9, 10, 9999, 10_000, 10_001, 99_999_999, 100_000_000, -1, -10_000])
def test_integers_are_written_as_python_does(values: list[int]) -> None:
    assert lines(integer(np.array(values))) == "".join(f"{v}\n" for v in values).encode()


@given(INTS, st.integers(0, 9), st.integers(0, 12))
@example([0, -5, 5, 12345, 10_000, -100_000_000], 8, 0)
@example([0, 7], 0, 8)
def test_decimals_are_exact_and_as_long_as_asked(values: list[int], decimals: int, places: int) -> None:
    text = lines(decimal(np.array(values), decimals, places)).decode().splitlines()
    assert [Decimal(line) for line in text] == [Decimal(v).scaleb(-decimals) for v in values]
    digits = max(decimals, places)
    assert all(len(line.partition(".")[2]) == digits and not line.startswith((".", "-.")) for line in text)


def test_columns_stand_side_by_side() -> None:
    rows = lines(
        integer(np.array([1, 20_000])),
        constant("x"),
        word(np.array([1, 0]), ("sell", "buy")),
        word(np.array([0, 1]), ("", "é")),
        (*constant("d "), *clock(np.array([3_599, 86_399]))),
    )
    assert rows.decode() == "1,x,buy,,d 00:59:59\n20000,x,sell,é,d 23:59:59\n"
    assert lines(integer(np.array([], dtype=np.int64)), constant("x")) == b""
