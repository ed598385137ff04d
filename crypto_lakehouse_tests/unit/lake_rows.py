"""Rows of a small day for tests that write a lake: klines, files in the ledger, rejected rows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from crypto_lakehouse.catalog import feed
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.slices import TableSlice

SLICE = TableSlice("silver", "binance", "um", "klines_1m")
KEY = "2024-01-01"
UM_1M = feed("binance", "um", "klines_1m")
NOW = datetime(2024, 2, 1, tzinfo=UTC)


def klines(symbols: list[str], day: date, minutes: int) -> pl.DataFrame:
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = [
        {
            "symbol": symbol,
            "open_time": begin + timedelta(minutes=i),
            "close_time": begin + timedelta(minutes=i + 1, microseconds=-1),
            **dict.fromkeys(("open", "high", "low", "close"), 100.0 + i),
            **dict.fromkeys(("base_volume", "quote_volume"), 2.5),
            "trade_count": i,
            **dict.fromkeys(("taker_buy_base_volume", "taker_buy_quote_volume"), 0.5),
            "contracts": None,
            "source": "archive_daily",
        }
        for symbol in symbols
        for i in range(minutes)
    ]
    schema = pl.DataFrame(schema_of("silver", "klines_1m").arrow.empty_table()).schema
    return pl.DataFrame(rows, schema=schema)


def ledger_row(symbol: str, **changes: Any) -> dict[str, Any]:
    return {
        "key": f"data/futures/um/daily/klines/{symbol}/1m/{symbol}-1m-2024-01-01.zip",
        "symbol": symbol,
        "period": KEY,
        "size": 10,
        "etag": "e",
        "last_modified": datetime(2024, 1, 2, tzinfo=UTC),
        "sha256": "0" * 64,
        "rows": 1440,
        "rejected_rows": 0,
        "status": "ingested",
        "reason": None,
        "detail": None,
        **changes,
    }


def reject(line: int | None) -> dict[str, Any]:
    return {
        "layer": "silver",
        "symbol": "BTCUSDT",
        "source_key": "data/x.zip",
        "source_sha256": None,
        "source_line": line,
        "reason": "negative_price",
        "detail": "open is -1",
        "raw": "-1,2",
    }
