"""Rows of silver tables under the names and in the text of Binance's format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from crypto_lakehouse.api.binance_listing import Decimals
from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.exchange_api.rows import Row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATISTICS = {
    "sum_open_interest": "open_interest",
    "sum_open_interest_value": "open_interest_value",
    "count_toptrader_long_short_ratio": "top_trader_account_long_short_ratio",
    "sum_toptrader_long_short_ratio": "top_trader_position_long_short_ratio",
    "count_long_short_ratio": "account_long_short_ratio",
    "sum_taker_long_short_vol_ratio": "taker_buy_sell_volume_ratio",
}
_MOST_DECIMALS = 8


def row_maker(feed: Feed, decimals: Decimals) -> Callable[[Mapping[str, Any]], Row]:
    """What turns a row of a feed's table into one for the answers."""
    if feed.archive_type == "klines":
        return partial(_inverse_bar if feed.market.inverse else _bar, feed, decimals)
    makers = {"aggTrades": _trade, "fundingRate": _funding, "metrics": _statistic}
    return partial(makers.get(feed.archive_type, _price_bar), feed, decimals)


def text(value: float | None, decimals: int) -> str:
    """A number as text with so many decimals, or as many as its value needs; empty for no number.

    >>> text(0.5, 2), text(93690.1, 2), text(1e-07, 2), text(123.456, 0)
    ('0.50', '93690.10', '0.0000001', '123.456')
    """
    if value is None:
        return ""
    plain = f"{value:.{decimals}f}"
    if float(plain) == value:
        return plain
    exact = repr(float(value))
    return exact if "e" not in exact else f"{value:.20f}".rstrip("0")


def _times(row: Mapping[str, Any]) -> dict[str, int]:
    return {"open_time": milliseconds(row["open_time"]), "close_time": milliseconds(row["close_time"])}


def _prices(row: Mapping[str, Any], decimals: int) -> dict[str, str]:
    return {name: text(row[name], decimals) for name in ("open", "high", "low", "close")}


def _bar(_: Feed, decimals: Decimals, row: Mapping[str, Any]) -> Row:
    of_quote = min(decimals.price + decimals.quantity, _MOST_DECIMALS)
    return {
        **_times(row),
        **_prices(row, decimals.price),
        "volume": text(row["base_volume"], decimals.quantity),
        "quote_volume": text(row["quote_volume"], of_quote),
        "count": row["trade_count"] or 0,
        "taker_buy_volume": text(row["taker_buy_base_volume"], decimals.quantity),
        "taker_buy_quote_volume": text(row["taker_buy_quote_volume"], of_quote),
    }


def _inverse_bar(feed: Feed, decimals: Decimals, row: Mapping[str, Any]) -> Row:
    """COIN-M counts contracts where others count the base asset, and the base asset where others count the quote."""
    taker = row["taker_buy_quote_volume"] / feed.market.contract_size(row["symbol"])
    return {
        **_times(row),
        **_prices(row, decimals.price),
        "volume": text(row["contracts"], 0),
        "quote_volume": text(row["base_volume"], _MOST_DECIMALS),
        "count": row["trade_count"] or 0,
        "taker_buy_volume": text(taker, 0),
        "taker_buy_quote_volume": text(row["taker_buy_base_volume"], _MOST_DECIMALS),
    }


def _price_bar(_: Feed, __: Decimals, row: Mapping[str, Any]) -> Row:
    return {**_times(row), **_prices(row, _MOST_DECIMALS), "count": row["sample_count"] or 0}


def _trade(feed: Feed, decimals: Decimals, row: Mapping[str, Any]) -> Row:
    quantity = text(row["contracts"], 0) if feed.market.inverse else text(row["base_quantity"], decimals.quantity)
    return {
        "agg_trade_id": row["trade_id"],
        "price": text(row["price"], decimals.price),
        "quantity": quantity,
        "first_trade_id": row["first_trade_id"],
        "last_trade_id": row["last_trade_id"],
        "transact_time": milliseconds(row["time"]),
        "microseconds": row["time"].microsecond % 1000,
        "is_buyer_maker": str(row["is_buyer_maker"]),
        # The exchange has answered true for every trade since 2017, and the lake does not keep it.
        "is_best_match": "true",
    }


def _funding(_: Feed, __: Decimals, row: Mapping[str, Any]) -> Row:
    return {
        "symbol": row["symbol"],
        "calc_time": milliseconds(row["funding_time"]),
        "last_funding_rate": row["funding_rate"],
        "funding_interval_hours": row["interval_hours"],
        "mark_price": text(row["mark_price"], _MOST_DECIMALS),
    }


def _statistic(_: Feed, __: Decimals, row: Mapping[str, Any]) -> Row:
    values = {name: "" if row[column] is None else row[column] for name, column in _STATISTICS.items()}
    # The lake has the ratio of the volumes alone.
    return {"create_time": milliseconds(row["label_time"]), **values, "sell_volume": ""}


def milliseconds(moment: datetime) -> int:
    """A time in whole milliseconds since the epoch."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)
