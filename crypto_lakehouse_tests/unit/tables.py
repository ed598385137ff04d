"""Valid rows of every file format, and their silver rows, for tests of the cleaners.

``row`` is in the words of the file, ``meaning`` in those of the silver table, computed in plain Python, so that
nothing of the platform checks itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.transforms.parse import parse_csv
from crypto_lakehouse.transforms.silver.clean import Cleaned
from crypto_lakehouse.transforms.silver.cleaners import CLEANERS
from crypto_lakehouse_tests.binance_archive import BINANCE_FEEDS

DAY = date(2023, 7, 1)  # in the reach of every feed
MIDNIGHT = datetime(2023, 7, 1, tzinfo=UTC)
T0 = 1688169600000  # its begin in ms: 19539 days * 86_400_000
SCALES = {"ms": 1, "us": 1_000, "ns": 1_000_000}
SYMBOLS = {"spot": "BTCUSDT", "um": "BTCUSDT", "cm": "BTCUSD_PERP", "option": "BTCUSDT"}
CONTRACT_SIZES = {"BTCUSD_PERP": 100.0, "ETHUSD_PERP": 10.0}
RATIOS = {
    "open_interest": "sum_open_interest",
    "open_interest_value": "sum_open_interest_value",
    "top_trader_account_long_short_ratio": "count_toptrader_long_short_ratio",
    "top_trader_position_long_short_ratio": "sum_toptrader_long_short_ratio",
    "account_long_short_ratio": "count_long_short_ratio",
    "taker_buy_sell_volume_ratio": "sum_taker_long_short_vol_ratio",
}
OPTION_VALUES = {
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "contracts": "volume_contracts",
    "quote_volume": "volume_usdt",
    "best_bid_price": "best_bid_price",
    "best_ask_price": "best_ask_price",
    "best_bid_quantity": "best_bid_qty",
    "best_ask_quantity": "best_ask_qty",
    "best_bid_iv": "best_buy_iv",
    "best_ask_iv": "best_sell_iv",
    "mark_price": "mark_price",
    "mark_iv": "mark_iv",
    "delta": "delta",
    "gamma": "gamma",
    "vega": "vega",
    "theta": "theta",
    "open_interest_contracts": "openinterest_contracts",
    "open_interest_value": "openinterest_usdt",
}
_BAR = {"open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "ignore": "0"}
_FLOWS = {"volume": 5.0, "quote_volume": 52.0, "count": 7, "taker_buy_volume": 2.0, "taker_buy_quote_volume": 21.0}


def row(feed: Feed, n: int, symbol: str = "") -> dict[str, Any]:
    """A good row of the feed's file, by column; each ``n`` from 0 to 20 is another primary key."""
    symbol = symbol or SYMBOLS[feed.market.name]
    second = MIDNIGHT + timedelta(seconds=n)
    values: dict[str, dict[str, Any]] = {
        "klines": {"open_time": T0 + n * 60_000, "close_time": T0 + n * 60_000 + 59_999, **_BAR, **_FLOWS},
        "agg_trades": {
            "agg_trade_id": 500 + n,
            "price": 80.0,
            "quantity": 3.0,
            "first_trade_id": 900 + 2 * n,
            "last_trade_id": 901 + 2 * n,
            "transact_time": T0 + n,
            "is_buyer_maker": "true",
        },
        "trades": {
            "id": 500 + n,
            "price": 80.0,
            "qty": 3.0,
            "quote_qty": 240.0,
            "base_qty": 3.75,
            "time": T0 + n,
            "is_buyer_maker": "false",
        },
        "funding_rates": {"calc_time": T0 + n * 3_600_000, "funding_interval_hours": 8, "last_funding_rate": 0.0001},
        "open_interest": {
            # On USD-M the labels of this day are said to be ends, on COIN-M starts of the five minutes.
            "create_time": f"{MIDNIGHT + timedelta(minutes=5 * (n + (feed.market.name == 'um'))):%Y-%m-%d %H:%M:%S}",
            "file_symbol": symbol,
            **dict.fromkeys(RATIOS.values(), 1.5),
        },
        "book_depth": {
            "timestamp": f"{second:%Y-%m-%d %H:%M:%S}",
            "percentage": -1,
            "depth": 20.0,
            "notional": 1600.0,
        },
        "book_ticker": {
            "update_id": 500 + n,
            "best_bid_price": 80.0,
            "best_bid_qty": 3.0,
            "best_ask_price": 81.0,
            "best_ask_qty": 4.0,
            "transaction_time": T0 + n,
            "event_time": T0 + n + 2,
        },
        "liquidations": {
            "time": T0 + n,
            "side": "SELL",
            "order_type": "LIMIT",
            "time_in_force": "IOC",
            "original_quantity": 9.0,
            "price": 80.0,
            "average_price": 80.5,
            "order_status": "FILLED",
            "last_fill_quantity": 4.0,
            "accumulated_fill_quantity": 9.0,
        },
        "volatility_index": {
            "calc_time": T0 + n * 1000,
            "file_symbol": symbol,
            "base_asset": "BTCBVOL",
            "quote_asset": "USDT",
            "index_value": 45.25,
        },
        "option_summaries": {
            "date": "2023-07-01",
            "hour": n,
            "file_symbol": f"{symbol[:3]}-230728-25000-C",
            "underlying": symbol,
            "type": "C",
            "strike": 25000.0,
            **dict.fromkeys(OPTION_VALUES.values(), 10.0),
        },
    }
    values["price_klines"] = values["klines"]
    found = {"is_best_match": "true", **values[feed.schema]}
    return {name: found[name] for name in feed.file_format.column_names}


def csv(feed: Feed, rows: Iterable[Mapping[str, Any]], header: bool = False, scale: int = 1) -> bytes:
    """The rows as a file; ``scale`` turns integer times from ms into finer units, None is a blank."""
    names = feed.file_format.column_names
    times = {
        name for name in feed.file_format.time_columns if feed.file_format.columns[names.index(name)].type == "int64"
    }
    lines = [
        ",".join("" if r[name] is None else str(r[name] * scale if name in times else r[name]) for name in names)
        for r in rows
    ]
    return "\n".join([*([",".join(names).replace("file_symbol", "symbol")] if header else []), *lines, ""]).encode()


def bronze(feed: Feed, data: bytes, symbol: str = "", rejected: int = 0) -> pl.DataFrame:
    """The file as bronze rows of one symbol; ``rejected`` lines are expected to be invalid."""
    parsed = parse_csv(data, feed.file_format)
    assert len(parsed.rejected) == rejected
    return parsed.rows.with_columns(
        symbol=pl.lit(symbol or SYMBOLS[feed.market.name]), source_key=pl.lit("k"), source_sha256=pl.lit("s")
    )


def clean(feed: Feed, frame: pl.DataFrame, day: date = DAY) -> Cleaned:
    """The cleaner that the pipeline has for the feed, for one day (or, of a monthly feed, as if it were one)."""
    return CLEANERS[feed.schema](frame, feed, day, day + timedelta(days=1))


def cleaned(feed: Feed, rows: Sequence[Mapping[str, Any]], day: date = DAY) -> Cleaned:
    """From the rows of a file to silver."""
    return clean(feed, bronze(feed, csv(feed, rows)), day)


def instant(ms: int) -> datetime:
    """UTC time of a stamp in ms."""
    return MIDNIGHT + timedelta(milliseconds=ms - T0)


def of_text(text: str) -> datetime:
    """UTC time of ``YYYY-MM-DD HH:MM:SS``."""
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)


def meaning(feed: Feed, r: Mapping[str, Any], symbol: str = "") -> dict[str, Any]:
    """The silver row of a file's row, without ``source``."""
    symbol = symbol or SYMBOLS[feed.market.name]
    return {"symbol": symbol, **globals()[f"_{feed.schema}"](feed, r, CONTRACT_SIZES.get(symbol))}


def _bars(r: Mapping[str, Any]) -> dict[str, Any]:
    prices = {name: r[name] for name in ("open", "high", "low", "close")}
    return {"open_time": instant(r["open_time"]), "close_time": instant(r["close_time"]), **prices}


def _price_klines(feed: Feed, r: Mapping[str, Any], size: float | None) -> dict[str, Any]:
    return {**_bars(r), "sample_count": r["count"]}


def _klines(feed: Feed, r: Mapping[str, Any], size: float | None) -> dict[str, Any]:
    names = ("base_volume", "quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume")
    if size is None:
        volumes = (r["volume"], r["quote_volume"], r["taker_buy_volume"], r["taker_buy_quote_volume"])
    else:
        volumes = (r["quote_volume"], r["volume"] * size, r["taker_buy_quote_volume"], r["taker_buy_volume"] * size)
    contracts = None if size is None else int(r["volume"])
    return {**_bars(r), **dict(zip(names, volumes, strict=True)), "trade_count": r["count"], "contracts": contracts}


def _trades(feed: Feed, r: Mapping[str, Any], size: float | None) -> dict[str, Any]:
    best = r.get("is_best_match")
    return {
        "trade_id": r["id"],
        "time": instant(r["time"]),
        "price": r["price"],
        "base_quantity": r["qty"] if size is None else r["base_qty"],
        "quote_quantity": r["quote_qty"] if size is None else r["qty"] * size,
        "contracts": None if size is None else int(r["qty"]),
        "is_buyer_maker": r["is_buyer_maker"].lower() == "true",
        "is_best_match": None if best is None else best.lower() == "true",
    }


def _agg_trades(feed: Feed, r: Mapping[str, Any], size: float | None) -> dict[str, Any]:
    quantity, price = r["quantity"], r["price"]
    return {
        "trade_id": r["agg_trade_id"],
        "time": instant(r["transact_time"]),
        "price": price,
        "base_quantity": quantity if size is None else quantity * size / price,
        "quote_quantity": price * quantity if size is None else quantity * size,
        "contracts": None if size is None else int(quantity),
        "is_buyer_maker": r["is_buyer_maker"].lower() == "true",
        "first_trade_id": r["first_trade_id"],
        "last_trade_id": r["last_trade_id"],
    }


def _funding_rates(feed: Feed, r: Mapping[str, Any], size: float | None) -> dict[str, Any]:
    time = instant(r["calc_time"])
    return {
        "funding_time": time,
        "funding_hour": time.replace(minute=0, second=0, microsecond=0),
        "interval_hours": r["funding_interval_hours"],
        "funding_rate": r["last_funding_rate"],
        "mark_price": None,
    }


def _open_interest(feed: Feed, r: Mapping[str, Any], size: float | None) -> dict[str, Any]:
    label = of_text(r["create_time"])
    start = label - timedelta(minutes=5) if feed.market.name == "um" and label.date() < date(2026, 6, 25) else label
    # Of a few rows no file shows which end its labels are.
    known = {"known_time": label + timedelta(minutes=5), "is_label_proven": False}
    return {
        "label_time": label,
        "period_start": start,
        **known,
        **{name: r[column] for name, column in RATIOS.items()},
    }


def _book_depth(feed: Feed, r: Mapping[str, Any], size: float | None) -> dict[str, Any]:
    return {"time": of_text(r["timestamp"]), **{name: r[name] for name in ("percentage", "depth", "notional")}}


def _book_ticker(feed: Feed, r: Mapping[str, Any], size: float | None) -> dict[str, Any]:
    return {
        "update_id": r["update_id"],
        "transaction_time": instant(r["transaction_time"]),
        "event_time": instant(r["event_time"]),
        "best_bid_price": r["best_bid_price"],
        "best_bid_quantity": r["best_bid_qty"],
        "best_ask_price": r["best_ask_price"],
        "best_ask_quantity": r["best_ask_qty"],
    }


def _liquidations(feed: Feed, r: Mapping[str, Any], size: float | None) -> dict[str, Any]:
    same = ("side", "order_type", "time_in_force", "order_status", "price", "average_price")
    return {
        "time": instant(r["time"]),
        **{name: r[name] for name in same},
        "original_contracts": int(r["original_quantity"]),
        "last_fill_contracts": int(r["last_fill_quantity"]),
        "filled_contracts": int(r["accumulated_fill_quantity"]),
    }


def _volatility_index(feed: Feed, r: Mapping[str, Any], size: float | None) -> dict[str, Any]:
    same = ("base_asset", "quote_asset", "index_value")
    return {"time": instant(r["calc_time"]), **{name: r[name] for name in same}}


def _option_summaries(feed: Feed, r: Mapping[str, Any], size: float | None) -> dict[str, Any]:
    return {
        "symbol": r["file_symbol"],
        "time": of_text(f"{r['date']} 00:00:00") + timedelta(hours=r["hour"]),
        "underlying": r["underlying"],
        "option_type": r["type"],
        "strike": r["strike"],
        **{name: r[column] for name, column in OPTION_VALUES.items()},
    }


ONE_OF_EACH = [
    one
    for one in BINANCE_FEEDS
    if f"_{one.schema}" in globals() and (one.interval is None or one.interval.name == "1m")
]
"""The feeds whose rows this module has, with one interval of each."""
