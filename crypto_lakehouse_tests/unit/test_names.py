"""Names from outside: an accepted name is never a path trick, and periods are real days."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_lakehouse.catalog import Cadence, check_symbol, parse_date, parse_partition, partition_key, partition_keys
from crypto_lakehouse.catalog.symbols import SymbolFilter

pytestmark = pytest.mark.requirement("T7")

BAD = ["", ".", "..", "A/B", "A\\B", "A\0B", "A B", "A'B", 'A"B', "A;B", "A%2fB", "A.B", "A\n", "A" * 200, "-A", "A-"]


@pytest.mark.parametrize(
    "name", ["BTCUSDT", "BTCUSD_PERP", "BTCUSD_240927", "1000SHIBUSDT", "币安人生USDT", "BTC-240628"]
)
def test_symbols_of_the_exchange_pass(name: str) -> None:
    assert check_symbol(name) == name


@pytest.mark.parametrize("name", BAD)
def test_other_names_are_refused_with_what_is_allowed(name: str) -> None:
    with pytest.raises(ValueError, match="use letters, digits, '_' and '-'"):
        check_symbol(name)


@given(st.text(max_size=60) | st.text("AB./\\ \0'\"%_-\n", max_size=12))
def test_no_symbol_is_a_path_trick(name: str) -> None:
    try:
        check_symbol(name)
    except ValueError:
        return
    assert name
    assert len(name) <= 120
    assert all(c.isalnum() or c in "_-" or c.isidentifier() or ("a" + c).isidentifier() for c in name)
    assert not set(name) & set("./\\\0 '\"%\n\r\t;:*?")


@given(st.dates(max_value=date(9999, 11, 30)), st.sampled_from(Cadence))
def test_a_partition_key_is_read_back_as_the_days_it_holds(day: date, cadence: Cadence) -> None:
    key = partition_key(day, cadence)
    first, end = parse_partition(key, cadence)
    assert first <= day < end
    assert partition_keys(first, end, cadence) == [key]
    assert partition_key(first, cadence) == partition_key(end - timedelta(days=1), cadence)


@given(st.text(max_size=12) | st.text("0123456789-", min_size=7, max_size=10), st.sampled_from(Cadence))
def test_any_other_key_is_a_value_error(key: str, cadence: Cadence) -> None:
    try:
        first, _ = parse_partition(key, cadence)
    except ValueError:
        return
    assert partition_key(first, cadence) == key


@pytest.mark.parametrize(
    ("key", "cadence"),
    [
        ("2024-02-30", Cadence.DAILY),
        ("2024-2-3", Cadence.DAILY),
        ("20240203", Cadence.DAILY),
        ("2024-02", Cadence.DAILY),
        ("2024-02-03", Cadence.MONTHLY),
        ("2024-13", Cadence.MONTHLY),
        ("0000-01", Cadence.MONTHLY),
        ("2024-02\n", Cadence.MONTHLY),
        ("２０２４-02", Cadence.MONTHLY),
        ("9999-12", Cadence.MONTHLY),
        ("9999-12-31", Cadence.DAILY),
    ],
)
def test_bad_keys(key: str, cadence: Cadence) -> None:
    with pytest.raises(ValueError):
        parse_partition(key, cadence)


def test_leap_days() -> None:
    assert parse_date("2024-02-29") == date(2024, 2, 29)
    with pytest.raises(ValueError):
        parse_date("2023-02-29")
    assert parse_partition("2024-02", Cadence.MONTHLY) == (date(2024, 2, 1), date(2024, 3, 1))
    assert parse_partition("2023-12", Cadence.MONTHLY) == (date(2023, 12, 1), date(2024, 1, 1))


AVAILABLE = ["BTCUSDT", "BTCUSDC", "ETHUSDT", "ETHDOWNUSDT", "BTCUSD_PERP"]


@pytest.mark.requirement("F1.1")
@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", sorted(AVAILABLE)),
        ("*", sorted(AVAILABLE)),
        ("BTCUSDT", ["BTCUSDT"]),
        (" ETHUSDT , BTCUSDT,", ["BTCUSDT", "ETHUSDT"]),
        ("*USDT,!*DOWNUSDT", ["BTCUSDT", "ETHUSDT"]),
        ("!*USDT", ["BTCUSDC", "BTCUSD_PERP"]),
        ("BTCUSD_*", ["BTCUSD_PERP"]),
        ("btcusdt", []),
    ],
)
def test_symbol_filter_selects(text: str, selected: list[str]) -> None:
    assert SymbolFilter.parse(text).select(AVAILABLE) == selected


@pytest.mark.requirement("F1.1")
def test_symbol_filter_names_what_matches_nothing() -> None:
    assert SymbolFilter.parse("BTCUSDT,XRP*,DOGE,!NONE").unknown(AVAILABLE) == ["XRP*", "DOGE"]


@pytest.mark.requirement("F1.1")
def test_symbol_filter_patterns_may_end_at_a_dash() -> None:
    assert SymbolFilter.parse("BTC-*").select(["BTC-240628", "BTCUSDT"]) == ["BTC-240628"]


@pytest.mark.requirement("F1.1")
@pytest.mark.parametrize("entry", ["A/B", "!", "..", "BTC[A-Z]", "BTC?", "A B", "!!BTC"])
def test_symbol_filter_refuses_malformed_entries(entry: str) -> None:
    with pytest.raises(ValueError, match="is not a symbol"):
        SymbolFilter.parse(f"ETHUSDT,{entry}")
