"""The shape of Binance's ``exchangeInfo``: symbols with their contracts, filters and precision.

A source knows which symbols there are and the decimals of their prices and quantities. Other rules of trading have the
value of most symbols (``PLACEHOLDERS``), so that clients find the fields that they read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any

from crypto_lakehouse.catalog import Market
from crypto_lakehouse.catalog.instruments import parse_symbol
from crypto_lakehouse.catalog.rest import RestPool
from crypto_lakehouse.catalog.symbol_facts import ContractType, SymbolFacts
from crypto_lakehouse.exchange_api.rows import Listed

DERIVED = ("tickSize", "stepSize", "minPrice", "minQty", "pricePrecision", "quantityPrecision")
"""Fields that come from the decimals of stored values."""

PLACEHOLDERS = (
    *("maxPrice", "maxQty", "minNotional", "notional", "maintMarginPercent", "requiredMarginPercent", "liquidationFee"),
    *("orderTypes", "timeInForce", "permissions"),
)
"""Fields that are the same for all symbols here, and not on the exchange."""

_NO_DELIVERY = 4133404800000
_SPOT_ORDERS = ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"]
_FUTURES_ORDERS = [
    *("LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"),
]
_DELIVERY_HOUR = time(8, tzinfo=UTC)


def exchange_info(market: Market, listed: Mapping[str, Listed], time: int, pool: RestPool) -> dict[str, Any]:
    """The symbols of a market, by the times that the source covers: one that ends early is not traded.

    ``time`` is what the answer says the server's time is: that of futures is hours old.
    """
    newest = max((each.end for each in listed.values()), default=None)
    limit = {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": max(1, round(pool.window.total_seconds() / 60)),
        "limit": pool.limit,
    }
    traded = {symbol for symbol, each in listed.items() if each.end == newest}
    facts = {symbol: parse_symbol(market, symbol) for symbol in listed}
    later = _later_deliveries([facts[symbol] for symbol in traded])
    shape = _spot if market.name == "spot" else _futures
    symbols = [shape(market, facts[symbol], each, symbol in traded, symbol in later) for symbol, each in listed.items()]
    futures = {"futuresType": "U_MARGINED"} if market.name == "um" else {}
    assets = {"assets": _assets(facts.values())} if market.name == "um" else {}
    return {
        "timezone": "UTC",
        "serverTime": time,
        **futures,
        "rateLimits": [limit],
        "exchangeFilters": [],
        **assets,
        "symbols": symbols,
    }


def _spot(_: Market, facts: SymbolFacts, listed: Listed, is_traded: bool, __: bool) -> dict[str, Any]:
    return {
        "symbol": facts.symbol,
        "status": "TRADING" if is_traded else "BREAK",
        "baseAsset": facts.base_asset or facts.symbol,
        "baseAssetPrecision": 8,
        "quoteAsset": facts.quote_asset or "",
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": _SPOT_ORDERS,
        "icebergAllowed": True,
        "ocoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "isSpotTradingAllowed": is_traded,
        "isMarginTradingAllowed": False,
        "filters": _filters(listed, 8, {"minNotional": "5.00000000", "applyToMarket": True, "avgPriceMins": 5}),
        "permissions": ["SPOT"],
    }


def _futures(market: Market, facts: SymbolFacts, listed: Listed, is_traded: bool, is_later: bool) -> dict[str, Any]:
    is_perpetual = facts.contract_type is ContractType.PERPETUAL
    pair = facts.symbol.split("_", 1)[0]
    kind = "PERPETUAL" if is_perpetual else "NEXT_QUARTER" if is_later else "CURRENT_QUARTER"
    status = "TRADING" if is_traded else "SETTLING"
    state: dict[str, Any] = {"status": status}
    if market.inverse:
        state = {"contractStatus": status, "contractSize": round(market.contract_size(facts.symbol))}
    precision = {}
    if listed.price_decimals is not None and listed.quantity_decimals is not None:
        precision = {"pricePrecision": listed.price_decimals, "quantityPrecision": listed.quantity_decimals}
    return {
        "symbol": facts.symbol,
        "pair": pair,
        "contractType": kind,
        "deliveryDate": _NO_DELIVERY if facts.delivery_date is None else _delivery(facts.delivery_date),
        "onboardDate": _ms(listed.start),
        **state,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": facts.base_asset or facts.symbol,
        "quoteAsset": facts.quote_asset or "",
        "marginAsset": facts.base_asset if market.inverse else facts.quote_asset,
        **precision,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "filters": _filters(listed, None, None if market.inverse else {"notional": "5"}),
        "orderTypes": _FUTURES_ORDERS,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }


def _filters(listed: Listed, places: int | None, notional: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The filters of a symbol; numbers have ``places`` decimals, or as many as they need."""
    if listed.price_decimals is None or listed.quantity_decimals is None:
        return []
    tick, step = (_step(decimals, places) for decimals in (listed.price_decimals, listed.quantity_decimals))
    most_price, most_quantity = (_whole(number, places) for number in (1_000_000, 9_000_000))
    lot = {"minQty": step, "maxQty": most_quantity, "stepSize": step}
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": most_price, "tickSize": tick},
        {"filterType": "LOT_SIZE", **lot},
        {"filterType": "MARKET_LOT_SIZE", **lot},
        *([] if notional is None else [{"filterType": "MIN_NOTIONAL", **notional}]),
    ]


def _step(decimals: int, places: int | None) -> str:
    """The smallest number with so many decimals, as text.

    >>> _step(2, None), _step(2, 8), _step(0, None)
    ('0.01', '0.01000000', '1')
    """
    return f"{10.0**-decimals:.{decimals if places is None else max(places, decimals)}f}"


def _whole(number: int, places: int | None) -> str:
    return f"{number:.{places or 0}f}"


def _later_deliveries(facts: list[SymbolFacts]) -> set[str]:
    """The contracts that deliver after another one of their pair."""
    first: dict[str, date] = {}
    deliveries = [(each.symbol, each.delivery_date) for each in facts if each.delivery_date is not None]
    for symbol, day in deliveries:
        pair = symbol.split("_", 1)[0]
        first[pair] = min(day, first.get(pair, day))
    return {symbol for symbol, day in deliveries if day > first[symbol.split("_", 1)[0]]}


def _assets(facts: Any) -> list[dict[str, Any]]:
    names = sorted({each.quote_asset for each in facts if each.quote_asset is not None})
    return [{"asset": name, "marginAvailable": True, "autoAssetExchange": "0"} for name in names]


def _delivery(day: date) -> int:
    return _ms(datetime.combine(day, _DELIVERY_HOUR))


def _ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)
