"""The symbols that runs have chosen: a union that does not depend on the order of the runs."""

from __future__ import annotations

from functools import reduce
from operator import or_

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_lakehouse.catalog.symbols import ChosenSymbols, SymbolFilter

NAMES = ("A", "AB", "ABC", "B", "BC", "C", "CAB")
PATTERNS = st.sampled_from([*NAMES, "*", "A*", "*B", "A**B", "*B*", "AB*"])
FILTERS = st.builds(SymbolFilter, st.lists(PATTERNS, max_size=3).map(tuple), st.lists(PATTERNS, max_size=2).map(tuple))


def together(filters: list[SymbolFilter]) -> ChosenSymbols:
    return reduce(or_, (ChosenSymbols.of_filter(one) for one in filters))


@pytest.mark.requirement("F4.3", "D9")
@given(data=st.data())
def test_a_union_selects_what_its_filters_select_in_any_order(data: st.DataObject) -> None:
    filters = data.draw(st.lists(FILTERS, min_size=1, max_size=4))
    chosen = together(filters)
    assert chosen.select(NAMES) == {name for one in filters for name in one.select(NAMES)}
    assert together(data.draw(st.permutations(filters))) == chosen
    assert all(chosen | ChosenSymbols.of_filter(one) == chosen for one in filters)
    assert ChosenSymbols.of_facts(chosen.facts()) == chosen


@pytest.mark.requirement("F4.3")
def test_what_another_entry_includes_is_left_out() -> None:
    def entries(*texts: str) -> tuple[str, ...]:
        return together([SymbolFilter.parse(text) for text in texts]).entries

    assert entries("BTCUSDT", "ETHUSDT", "BTCUSDT,SOLUSDT") == ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    assert entries("BTCUSDT", "*USDT,!ETH*", "ETHUSDT") == ("*USDT,!ETH*", "ETHUSDT")
    assert entries("BTC*,!BTCDOM*,!BTCDOMUSDT", "BTCUSDT", "*,!BTCDOM*") == ("*,!BTCDOM*",)
    assert entries("BTC*", "") == entries("*") == ("*",)
    assert entries("BTCUSDT,!BTC*") == ()
    assert ChosenSymbols.of_filter(SymbolFilter()).facts() == {}
    assert ChosenSymbols.of_facts({}) == ChosenSymbols()
