"""The shapes of Binance's answers: rows of a source in, what JSON holds out. Pure, without a source and HTTP.

Numbers stay the text of the source, as in the exchange's own answers. Times are integers, in ``unit`` parts of a
millisecond. ``exchangeInfo`` is in ``binance_info.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

# Before this time the exchange answers an empty text.
_FIRST_MARK_PRICE = int(datetime(2023, 10, 31, 8, tzinfo=UTC).timestamp() * 1000)


def kline(row: Mapping[str, Any], unit: int = 1) -> list[Any]:
    """A kline: twelve elements."""
    text = [str(row[name]) for name in ("open", "high", "low", "close", "volume")]
    taker = [str(row["taker_buy_volume"]), str(row["taker_buy_quote_volume"])]
    start, end = _bounds(row, unit)
    return [start, *text, end, str(row["quote_volume"]), int(row["count"]), *taker, "0"]


def price_kline(row: Mapping[str, Any], unit: int = 1) -> list[Any]:
    """A kline of an index, mark price or premium: only prices and the number of samples carry meaning."""
    prices = [str(row[name]) for name in ("open", "high", "low", "close")]
    start, end = _bounds(row, unit)
    return [start, *prices, "0", end, "0", int(row["count"]), "0", "0", "0"]


def forming(row: Mapping[str, Any], now: int) -> dict[str, Any]:
    """A bar that ends after ``now``, as it is until then: its counts and volumes are those of the time that passed."""
    passed = (now - row["open_time"] + 1) / (row["close_time"] - row["open_time"] + 1)
    volumes = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
    so_far = {name: f"{float(row[name]) * passed:.8f}" for name in volumes}
    return {**row, **so_far, "count": int(int(row["count"]) * passed), "close": row["open"]}


def agg_trade(row: Mapping[str, Any], market: str, unit: int = 1) -> dict[str, Any]:
    """An aggregate trade; spot has a flag of its own, USD-M a quantity without retail price improvement."""
    quantity = str(row["quantity"])
    time = row["transact_time"] * unit + (row.get("microseconds", 0) if unit > 1 else 0)
    return {
        "a": int(row["agg_trade_id"]),
        "p": str(row["price"]),
        "q": quantity,
        **({"nq": quantity} if market == "um" else {}),
        "f": int(row["first_trade_id"]),
        "l": int(row["last_trade_id"]),
        "T": time,
        "m": _is_true(row["is_buyer_maker"]),
        **({"M": _is_true(row["is_best_match"])} if market == "spot" else {}),
    }


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
        # Without the symbol. A source that does not know the volumes has an empty one.
        sell = row.get("sell_volume", 1000)
        volumes = {"sellVol": f"{sell:.4f}", "buyVol": f"{sell * value:.4f}"} if sell else {"sellVol": "", "buyVol": ""}
        return {"buySellRatio": f"{value:.4f}", **volumes, **timestamp}
    if name == "takerBuySellVol":
        volumes = {"takerBuyVol": f"{10000 * value:.0f}", "takerSellVol": "10000"}
        values = {"takerBuyVolValue": f"{value:.4f}", "takerSellVolValue": "1.0000"}
        return {**owner, **volumes, **values, **timestamp}
    longs = value / (1 + value)
    kind = "Position" if "pair" in owner and "Position" in name else "Account"
    sides = {f"long{kind}": f"{longs:.4f}", f"short{kind}": f"{1 - longs:.4f}"}
    return {**owner, "longShortRatio": f"{value:.4f}", **sides, **timestamp}


def error(code: int, message: str) -> dict[str, Any]:
    """The body of a refusal."""
    return {"code": code, "msg": message}


def _is_true(text: str) -> bool:
    return text.lower() == "true"


def _bounds(row: Mapping[str, Any], unit: int) -> tuple[int, int]:
    """The first and last time of a bar."""
    return row["open_time"] * unit, (row["close_time"] + 1) * unit - 1
