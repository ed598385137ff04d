"""Facts parsed from the archive's symbol names, and filters by these facts; any valid name parses."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_lakehouse.catalog import MARKETS, Market, check_symbol
from crypto_lakehouse.catalog.binance import CM, OPTION, SPOT, UM
from crypto_lakehouse.catalog.binance_names import (
    ASSETS,
    LEVERAGED_SUFFIXES,
    QUOTE_ASSETS,
    QUOTE_EXCEPTIONS,
    STABLE_ASSETS,
)
from crypto_lakehouse.catalog.instruments import (
    ContractType,
    InstrumentFilter,
    SymbolFacts,
    parse_symbol,
)
from crypto_lakehouse.catalog.symbols import SymbolFilter

pytestmark = pytest.mark.requirement("F4.7")

PERPETUAL, DELIVERY = ContractType.PERPETUAL, ContractType.DELIVERY


@pytest.mark.parametrize(
    ("symbol", "base", "quote"),
    [
        ("BTCUSDT", "BTC", "USDT"),
        ("BTCFDUSD", "BTC", "FDUSD"),
        ("FDUSDUSDT", "FDUSD", "USDT"),
        ("BTTTUSD", "BTT", "TUSD"),
        ("BTTUSDT", "BTT", "USDT"),
        ("BTCBUSD", "BTC", "BUSD"),
        ("BNBUSD1", "BNB", "USD1"),
        ("USDTTRY", "USDT", "TRY"),
        ("USDTBRL", "USDT", "BRL"),
        ("EURUSDT", "EUR", "USDT"),
        ("BTCEUR", "BTC", "EUR"),
        ("BTCAEUR", "BTC", "AEUR"),
        ("ADAEUR", "ADA", "EUR"),
        ("BNBBIDR", "BNB", "BIDR"),
        ("BNBIDR", "BNB", "IDR"),
        ("BNBIDRT", "BNB", "IDRT"),
        ("WBETHETH", "WBETH", "ETH"),
        ("ETHBTC", "ETH", "BTC"),
        ("XRPRLUSD", "XRP", "RLUSD"),
        ("BNSOLSOL", "BNSOL", "SOL"),
        ("币安人生USDT", "币安人生", "USDT"),
        ("USDT", None, None),
        ("ABCXYZ", None, None),
    ],
)
def test_the_longest_known_quote_is_split_off(symbol: str, base: str | None, quote: str | None) -> None:
    facts = parse_symbol(SPOT, symbol)
    assert (facts.base_asset, facts.quote_asset) == (base, quote)
    assert facts.contract_type is ContractType.SPOT


@pytest.mark.parametrize("symbol", ["BTCUPUSDT", "1INCHDOWNUSDT", "ETHBULLBUSD", "XRPBEARUSDT", "SUSHIUPUSDT"])
def test_leveraged_tokens(symbol: str) -> None:
    assert parse_symbol(SPOT, symbol).is_leveraged
    assert not parse_symbol(UM, symbol).is_leveraged


@pytest.mark.parametrize(
    "symbol", ["JUPUSDT", "SYRUPUSDT", "SUPUSDT", "PUPUSDT", "UPUSDT", "BULLUSDT", "BEARUSDT", "BTCUSDT", "UPBTC"]
)
def test_coins_that_only_end_like_leveraged_tokens(symbol: str) -> None:
    assert not parse_symbol(SPOT, symbol).is_leveraged


@pytest.mark.parametrize(
    "symbol",
    [
        *("USDCUSDT", "EURUSDT", "USD1USDT", "USDEUSDT", "XUSDUSDT", "PAXGUSDT", "FDUSDUSDT"),
        *("UUSDT", "RLUSDUSDT", "EURIUSDT", "BFUSDUSDT", "USDTUSD", "RLUSDU"),
    ],
)
def test_stable_pairs(symbol: str) -> None:
    assert parse_symbol(SPOT, symbol).is_stable_pair


def test_pairs_of_two_stable_assets_are_stable_whether_both_are_quotes_or_not() -> None:
    """One table defines assets: every stable quote is known as stable, and the other way round."""
    for base in STABLE_ASSETS:
        for quote in STABLE_ASSETS & QUOTE_ASSETS - {base}:
            facts = parse_symbol(SPOT, base + quote)
            assert facts.is_stable_pair or facts.base_asset not in STABLE_ASSETS, base + quote
    assert set(QUOTE_EXCEPTIONS.values()) <= QUOTE_ASSETS
    assert ASSETS.keys() == STABLE_ASSETS | QUOTE_ASSETS


@pytest.mark.parametrize("symbol", ["BTCUSDT", "USDTTRY", "USTUSDT", "XRPRLUSD", "ETHBTC", "ABCXYZ"])
def test_pairs_that_are_not_stable(symbol: str) -> None:
    assert not parse_symbol(SPOT, symbol).is_stable_pair


FUTURES = [
    (UM, "BTCUSDT", "BTC", "USDT", PERPETUAL, None, None, None),
    (UM, "BTCUSDT_210326", "BTC", "USDT", DELIVERY, date(2021, 3, 26), None, None),
    (UM, "ETHBTC", "ETH", "BTC", PERPETUAL, None, None, None),
    (UM, "ICPUSDT_SETTLED", "ICP", "USDT", PERPETUAL, None, "ICPUSDT", None),
    (UM, "BNXUSDTSETTLED", "BNX", "USDT", PERPETUAL, None, "BNXUSDT", None),
    (UM, "AERGOUSDTSETTLEDSETTLED", "AERGO", "USDT", PERPETUAL, None, "AERGOUSDT", None),
    (UM, "BNXUSDTSETTLED1", "BNX", "USDT", PERPETUAL, None, "BNXUSDT", None),
    (UM, "BTCUSDT_210326_SETTLED", "BTC", "USDT", DELIVERY, date(2021, 3, 26), "BTCUSDT_210326", None),
    (UM, "BTCUSDT_210326SETTLED", "BTC", "USDT", DELIVERY, date(2021, 3, 26), "BTCUSDT_210326", None),
    (UM, "BTCUSDTSETTLED_210326", "BTC", "USDT", DELIVERY, date(2021, 3, 26), "BTCUSDT_210326", None),
    (UM, "SETTLEDUSDT", "SETTLED", "USDT", PERPETUAL, None, None, None),
    # No such day: not a date.
    (UM, "BTCUSDT_210231", "BTC", "USDT", PERPETUAL, None, None, None),
    (CM, "BTCUSD_PERP", "BTC", "USD", PERPETUAL, None, None, 100.0),
    (CM, "ADAUSD_PERP", "ADA", "USD", PERPETUAL, None, None, 10.0),
    (CM, "BTCUSD_240927", "BTC", "USD", DELIVERY, date(2024, 9, 27), None, 100.0),
    (CM, "ETHUSD_240927_X", "ETH", "USD", DELIVERY, date(2024, 9, 27), None, 10.0),
    (CM, "ETHUSD_PERP_SETTLED", "ETH", "USD", PERPETUAL, None, "ETHUSD_PERP", 10.0),
    (CM, "BTCUSD", "BTC", "USD", PERPETUAL, None, None, 100.0),
    (CM, "USD", None, None, PERPETUAL, None, None, 10.0),
    (OPTION, "BTCBVOLUSDT", "BTCBVOL", "USDT", ContractType.OPTION, None, None, None),
]


@pytest.mark.parametrize(
    ("market", "symbol", "base", "quote", "kind", "delivery", "settled_of", "size"), FUTURES, ids=lambda v: str(v)[:24]
)
def test_contracts(
    market: Market,
    symbol: str,
    base: str | None,
    quote: str | None,
    kind: ContractType,
    delivery: date | None,
    settled_of: str | None,
    size: float | None,
) -> None:
    expected = SymbolFacts(
        symbol=symbol,
        base_asset=base,
        quote_asset=quote,
        contract_type=kind,
        delivery_date=delivery,
        is_settled=settled_of is not None,
        settled_of=settled_of,
        contract_size=size,
    )
    assert parse_symbol(market, symbol) == expected


def _valid(name: str) -> bool:
    try:
        check_symbol(name)
    except ValueError:
        return False
    return True


ENDINGS = st.sampled_from(["USDT", "USD", "U", "SETTLED", "_SETTLED", "_PERP", "_210326", "_999999", "UP", "_", "٣"])
NAMES = st.one_of(
    st.from_regex(r"\w{1,12}([-_]\w{1,8}){0,3}", fullmatch=True),
    st.tuples(st.text("ABTCU19_-", max_size=6), st.lists(ENDINGS, max_size=4)).map(lambda t: t[0] + "".join(t[1])),
).filter(_valid)


@settings(deadline=None)
@given(st.sampled_from(sorted(MARKETS.values(), key=lambda m: m.name)), NAMES)
def test_every_valid_name_is_read(market: Market, name: str) -> None:
    facts = parse_symbol(market, name)
    assert facts.symbol == name
    assert (facts.base_asset is None) == (facts.quote_asset is None)
    if facts.base_asset is not None and market.exchange == "binance":
        assert name.startswith(f"{facts.base_asset}{facts.quote_asset}")
    assert (facts.contract_type is DELIVERY) == (facts.delivery_date is not None)
    assert facts.is_settled == (facts.settled_of is not None)
    if facts.settled_of is not None:
        assert "SETTLED" in name
        assert name.startswith(facts.settled_of[:1])
        assert len(facts.settled_of) <= len(name) - len("SETTLED")


def test_tables_agree_with_each_other() -> None:
    assert all(symbol.endswith(quote) for symbol, quote in QUOTE_EXCEPTIONS.items())
    assert all(
        parse_symbol(SPOT, f"{asset}{suffix}USDT").is_leveraged
        for suffix, assets in LEVERAGED_SUFFIXES.items()
        for asset in assets
    )


LISTED = ["BTCUSDT", "ETHBTC", "BTCUPUSDT", "JUPUSDT", "USDCUSDT", "BTCTRY", "ABCXYZ"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (InstrumentFilter(), ["ABCXYZ", "BTCTRY", "BTCUSDT", "ETHBTC", "JUPUSDT", "USDCUSDT"]),
        (InstrumentFilter(quotes=("USDT",)), ["BTCUSDT", "JUPUSDT", "USDCUSDT"]),
        (InstrumentFilter(quotes=("USDT", "TRY"), stable_pairs=False), ["BTCTRY", "BTCUSDT", "JUPUSDT"]),
        (InstrumentFilter(quotes=("USDT",), leveraged=True), ["BTCUPUSDT", "BTCUSDT", "JUPUSDT", "USDCUSDT"]),
        (InstrumentFilter(contract_types=(PERPETUAL,)), []),
        # A plain name overrides the filter, a pattern does not, an exclusion always holds.
        (InstrumentFilter(quotes=("TRY",), symbols=SymbolFilter.parse("BTCUPUSDT,NONE")), ["BTCUPUSDT"]),
        (InstrumentFilter(symbols=SymbolFilter.parse("BTC*")), ["BTCTRY", "BTCUSDT"]),
        (InstrumentFilter(quotes=("USDT",), symbols=SymbolFilter.parse("!JUP*")), ["BTCUSDT", "USDCUSDT"]),
    ],
)
def test_filters_of_a_spot_market(wanted: InstrumentFilter, expected: list[str]) -> None:
    assert wanted.select(SPOT, LISTED) == expected


def test_filters_of_a_futures_market() -> None:
    listed = ["BTCUSDT", "BTCUSDT_210326", "ICPUSDT_SETTLED", "BTCUSDC"]
    assert InstrumentFilter(contract_types=(DELIVERY,)).select(UM, listed) == ["BTCUSDT_210326"]
    assert InstrumentFilter(settled=False, quotes=("USDT",)).select(UM, listed) == ["BTCUSDT", "BTCUSDT_210326"]


def test_unknown_names_and_quotes_are_reported() -> None:
    wanted = InstrumentFilter(symbols=SymbolFilter.parse("BTCUSDT,NONE,X*"))
    assert wanted.unknown(LISTED) == ["NONE", "X*"]
    with pytest.raises(ValueError, match=r"quoted in USDTT \(did you mean USDT, USD or UST\?\); .* such as USDT"):
        InstrumentFilter(quotes=("USDTT",))
