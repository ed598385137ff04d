"""Symbols by the facts in their names: the rules of the legacy filters, and what partitions keep of them."""

from __future__ import annotations

from functools import reduce
from operator import or_

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_lakehouse.catalog import find_market
from crypto_lakehouse.catalog.symbol_rules import SymbolRules
from crypto_lakehouse.catalog.symbols import ChosenSymbols, SymbolFilter
from crypto_lakehouse.settings import Settings, SettingsError

SPOT = [
    *("BTCUSDT", "BTCFDUSD", "ETHBTC", "BTCTRY", "USDCUSDT", "USD1USDT", "EURUSDT"),
    *("BTCUPUSDT", "BTCDOWNUSDT", "ETHBULLUSDT", "JUPUSDT", "SYRUPUSDT", "SUPUSDT", "PUPUSDT", "BULLUSDT", "UPUSDT"),
]
UM = ["BTCUSDT", "BTCUSDC", "BTCUSDT_210326", "ICPUSDT_SETTLED", "BNXUSDTSETTLED", "USDCUSDT"]
CM = ["BTCUSD_PERP", "BTCUSD_210326", "BTCUSD_PERP_OLD"]


def built(market: str, listed: list[str], run: str = "", **settings: object) -> list[str]:
    return Settings.load(env="test", **settings).symbols_of(find_market("binance", market), run).select(listed)


@pytest.mark.requirement("F1.8")
@pytest.mark.parametrize(
    ("market", "settings", "expected"),
    [
        ("spot", {}, SPOT),
        # Rule 1: every quote is known, also BTC and FDUSD.
        ("spot", {"quotes": "FDUSD,BTC,TRY"}, ["BTCFDUSD", "ETHBTC", "BTCTRY"]),
        # Rule 2: SUP, PUP, BULL, UP, JUP and SYRUP are coins.
        (
            "spot",
            {"quotes": "USDT", "leveraged_tokens": False, "stable_pairs": False},
            ["BTCUSDT", "JUPUSDT", "SYRUPUSDT", "SUPUSDT", "PUPUSDT", "BULLUSDT", "UPUSDT"],
        ),
        # Rule 3: also the later stable coin USD1, and EUR.
        ("spot", {"stable_pairs": False}, [name for name in SPOT if name not in ("USDCUSDT", "USD1USDT", "EURUSDT")]),
        # Rule 4: settled contracts, with or without _, are perpetual.
        ("um", {"contract_types": "delivery"}, ["BTCUSDT_210326"]),
        (
            "um",
            {"contract_types": "perpetual", "quotes": "USDT", "stable_pairs": False},
            ["BTCUSDT", "ICPUSDT_SETTLED", "BNXUSDTSETTLED"],
        ),
        # A name with two underscores is read; quotes and stable pairs have no meaning on COIN-M.
        ("cm", {"contract_types": "perpetual", "quotes": "USDT"}, ["BTCUSD_PERP", "BTCUSD_PERP_OLD"]),
        ("cm", {"contract_types": "delivery"}, ["BTCUSD_210326"]),
        # Contract types are those of futures.
        ("spot", {"contract_types": "perpetual"}, SPOT),
    ],
)
def test_settings_choose_symbols_by_the_facts_in_their_names(
    market: str, settings: dict[str, object], expected: list[str]
) -> None:
    assert built(market, {"spot": SPOT, "um": UM, "cm": CM}[market], **settings) == sorted(expected)


@pytest.mark.requirement("F1.8")
def test_names_override_the_rules_and_patterns_do_not() -> None:
    rules = {"quotes": "USDT", "leveraged_tokens": False}
    assert built("spot", SPOT, symbols="BTCUPUSDT,ETH*,BTCTRY", **rules) == ["BTCTRY", "BTCUPUSDT"]
    assert built("spot", SPOT, run="BTCUPUSDT,BTC*", **rules) == ["BTCUPUSDT", "BTCUSDT"]


@pytest.mark.requirement("F1.8")
@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"quotes": "USDT,UDSC"}, r"LAKEHOUSE_QUOTES='USDT,UDSC': no pairs are quoted in UDSC.*USDC"),
        (
            {"contract_types": "spot"},
            "LAKEHOUSE_CONTRACT_TYPES='spot': no contract type 'spot'; there are perpetual, delivery",
        ),
        ({"stable_pairs": "perhaps"}, "LAKEHOUSE_STABLE_PAIRS='perhaps'"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_it(settings: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        Settings.load(env="test", **settings)


@pytest.mark.requirement("F1.8")
def test_without_rules_partitions_state_nothing_new() -> None:
    market = find_market("binance", "um")
    assert Settings.load(env="test").symbols_of(market) == SymbolFilter()
    # None of these can exclude a symbol of this market.
    usual = Settings.load(env="test", contract_types="delivery,perpetual", leveraged_tokens=False)
    assert usual.symbols_of(market) == SymbolFilter()
    assert usual.symbol_words == "LAKEHOUSE_CONTRACT_TYPES=delivery,perpetual LAKEHOUSE_LEVERAGED_TOKENS=False"


RULES = st.sampled_from(
    [
        None,
        SymbolRules("binance", "spot", quotes=("USDT",)),
        SymbolRules("binance", "spot", quotes=("BTC", "USDT"), stable_pairs=False),
        SymbolRules("binance", "spot", leveraged_tokens=False),
    ]
)
PATTERNS = st.sampled_from([*SPOT[:4], *SPOT[7:10], "*", "BTC*", "*USDT"])
FILTERS = st.builds(
    SymbolFilter, st.lists(PATTERNS, max_size=3).map(tuple), st.lists(PATTERNS, max_size=2).map(tuple), RULES
)


@pytest.mark.requirement("F1.8", "D9")
@given(data=st.data())
def test_a_partition_states_what_all_runs_have_chosen_in_any_order(data: st.DataObject) -> None:
    filters = data.draw(st.lists(FILTERS, min_size=1, max_size=4))
    chosen = reduce(or_, map(ChosenSymbols.of_filter, filters))
    assert chosen.select(SPOT) == {name for one in filters for name in one.select(SPOT)}
    assert reduce(or_, map(ChosenSymbols.of_filter, data.draw(st.permutations(filters)))) == chosen
    assert all(chosen | ChosenSymbols.of_filter(one) == chosen for one in filters)
    assert ChosenSymbols.of_facts(chosen.facts()) == chosen
