"""The shapes of the exchange's answers: rows of files in, what JSON holds out. Pure, without a source and HTTP.

Numbers stay the text that the file has, as in the exchange's own answers; times are integers in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from crypto_lakehouse.catalog import Market
from crypto_lakehouse.catalog.instruments import parse_symbol
from crypto_lakehouse.catalog.rest import RestPool
from crypto_lakehouse.catalog.symbol_facts import ContractType

_NO_DELIVERY = 4133404800000
# Before this time the exchange answers an empty text.
_FIRST_MARK_PRICE = int(datetime(2023, 10, 31, 8, tzinfo=UTC).timestamp() * 1000)


def kline(row: Mapping[str, Any]) -> list[Any]:
    """A kline: twelve elements."""
    text = [str(row[name]) for name in ("open", "high", "low", "close", "volume")]
    taker = [str(row["taker_buy_volume"]), str(row["taker_buy_quote_volume"])]
    return [row["open_time"], *text, row["close_time"], str(row["quote_volume"]), int(row["count"]), *taker, "0"]


def price_kline(row: Mapping[str, Any]) -> list[Any]:
    """A kline of an index, mark price or premium: only prices and the number of samples carry meaning."""
    prices = [str(row[name]) for name in ("open", "high", "low", "close")]
    return [row["open_time"], *prices, "0", row["close_time"], "0", int(row["count"]), "0", "0", "0"]


def forming(row: Mapping[str, Any], now: int) -> dict[str, Any]:
    """A bar that ends after ``now``, as it is until then: its counts and volumes are those of the time that passed."""
    passed = (now - row["open_time"] + 1) / (row["close_time"] - row["open_time"] + 1)
    volumes = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
    so_far = {name: f"{float(row[name]) * passed:.8f}" for name in volumes}
    return {**row, **so_far, "count": int(int(row["count"]) * passed), "close": row["open"]}


def agg_trade(row: Mapping[str, Any], market: str) -> dict[str, Any]:
    """An aggregate trade; spot has a flag of its own, USD-M a quantity without retail price improvement."""
    answer = {
        "a": int(row["agg_trade_id"]),
        "p": str(row["price"]),
        "q": str(row["quantity"]),
        "f": int(row["first_trade_id"]),
        "l": int(row["last_trade_id"]),
        "T": row["transact_time"],
        "m": _is_true(row["is_buyer_maker"]),
    }
    if market == "spot":
        answer["M"] = _is_true(row["is_best_match"])
    if market == "um":
        answer["nq"] = answer["q"]
    return answer


def funding_rate(row: Mapping[str, Any], symbol: str, mark_price: str) -> dict[str, Any]:
    """A funding event. Mark prices begin on 2023-10-31."""
    time = row["calc_time"]
    return {
        "symbol": symbol,
        "fundingTime": time,
        "fundingRate": f"{float(row['last_funding_rate']):.8f}",
        "markPrice": mark_price if time >= _FIRST_MARK_PRICE else "",
        "rateType": "Regular",
    }


def funding_info(row: Mapping[str, Any], symbol: str) -> dict[str, Any]:
    """The present interval of funding."""
    return {
        "symbol": symbol,
        "adjustedFundingRateCap": "0.02000000",
        "adjustedFundingRateFloor": "-0.02000000",
        "fundingIntervalHours": int(row["funding_interval_hours"]),
        "disclaimer": False,
        "updateTime": None,
    }


def statistic(row: Mapping[str, Any], name: str, owner: Mapping[str, str]) -> dict[str, Any] | None:
    """A row of ``/futures/data/{name}``; None where the archive has a blank. ``owner`` names symbol or pair."""
    column = {
        "openInterestHist": "sum_open_interest",
        "topLongShortAccountRatio": "count_toptrader_long_short_ratio",
        "topLongShortPositionRatio": "sum_toptrader_long_short_ratio",
        "globalLongShortAccountRatio": "count_long_short_ratio",
        "takerlongshortRatio": "sum_taker_long_short_vol_ratio",
        "takerBuySellVol": "sum_taker_long_short_vol_ratio",
    }[name]
    text = str(row[column]).strip('"')
    if not text:
        return None
    value, timestamp = float(text), {"timestamp": row["create_time"]}
    if name == "openInterestHist":
        sums = {"sumOpenInterest": f"{value:.8f}", "sumOpenInterestValue": f"{float(row[f'{column}_value']):.8f}"}
        supply = {} if "pair" in owner else {"CMCCirculatingSupply": "0.00000000"}
        return {**owner, **sums, **supply, **timestamp}
    if name == "takerlongshortRatio":
        # Without the symbol.
        return {"buySellRatio": f"{value:.4f}", "sellVol": "1000.0000", "buyVol": f"{1000 * value:.4f}", **timestamp}
    if name == "takerBuySellVol":
        volumes = {"takerBuyVol": f"{10000 * value:.0f}", "takerSellVol": "10000"}
        values = {"takerBuyVolValue": f"{value:.4f}", "takerSellVolValue": "1.0000"}
        return {**owner, **volumes, **values, **timestamp}
    longs = value / (1 + value)
    kind = "Position" if "pair" in owner and "Position" in name else "Account"
    sides = {f"long{kind}": f"{longs:.4f}", f"short{kind}": f"{1 - longs:.4f}"}
    return {**owner, "longShortRatio": f"{value:.4f}", **sides, **timestamp}


def exchange_info(
    market: Market, periods: Mapping[str, tuple[datetime, datetime]], time: int, pool: RestPool
) -> dict[str, Any]:
    """The symbols of a market, by the times [start, end) that their files cover: one that ends early is not traded.

    ``time`` is what the answer says the server's time is: that of futures is hours old.
    """
    newest = max((end for _, end in periods.values()), default=None)
    limit = {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": max(1, round(pool.window.total_seconds() / 60)),
        "limit": pool.limit,
    }
    symbols = [_symbol(market, symbol, start, end == newest) for symbol, (start, end) in periods.items()]
    return {"timezone": "UTC", "serverTime": time, "rateLimits": [limit], "exchangeFilters": [], "symbols": symbols}


def _symbol(market: Market, symbol: str, start: datetime, is_traded: bool) -> dict[str, Any]:
    facts = parse_symbol(market, symbol)
    names = {"symbol": symbol, "baseAsset": facts.base_asset, "quoteAsset": facts.quote_asset}
    if market.name == "spot":
        return {**names, "status": "TRADING" if is_traded else "BREAK", "isSpotTradingAllowed": is_traded}
    delivery = _NO_DELIVERY
    if facts.delivery_date is not None:
        delivery = _ms(datetime.combine(facts.delivery_date, datetime.min.time(), UTC)) + 8 * 3_600_000
    is_perpetual = facts.contract_type is ContractType.PERPETUAL
    contract = {
        **names,
        "pair": symbol.split("_", 1)[0],
        "contractType": "PERPETUAL" if is_perpetual else "CURRENT_QUARTER",
        "deliveryDate": delivery,
        "onboardDate": _ms(start),
    }
    status = "TRADING" if is_traded else "SETTLING"
    if market.inverse:
        return {**contract, "contractStatus": status, "contractSize": market.contract_size(symbol)}
    return {**contract, "status": status}


def error(code: int, message: str) -> dict[str, Any]:
    """The body of a refusal."""
    return {"code": code, "msg": message}


def _is_true(text: str) -> bool:
    return text.lower() == "true"


def _ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)
