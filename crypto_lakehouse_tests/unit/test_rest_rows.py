"""Rows of REST answers become the silver rows that the archive's files would have given."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crypto_lakehouse.catalog import Feed, feed
from crypto_lakehouse.catalog.rest import RestEndpoint, rest_endpoint_of
from crypto_lakehouse.transforms.answers import answer_frame
from crypto_lakehouse.transforms.rest.archive_rows import archive_rows
from crypto_lakehouse.transforms.silver.cleaners import cleaner_of

RECORDED = Path(__file__).parents[3] / "shared" / "realdata" / "api"
MINUTE = 60_000
recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded answers are not on this machine")

UM, SPOT, CM = (feed("binance", market, "klines_1m") for market in ("um", "spot", "cm"))


def endpoint(of: Feed) -> RestEndpoint:
    found = rest_endpoint_of(of)
    assert found is not None
    return found


def lines(name: str) -> list[Any]:
    return [json.loads(line) for line in (RECORDED / name).read_text().splitlines()]


def silver(of: Feed, body: bytes, symbol: str, day: date, end: date) -> pl.DataFrame:
    rows = answer_frame(endpoint(of), body)
    bronze = rows.with_columns(
        symbol=pl.lit(symbol),
        source_key=pl.lit("/path?query"),
        source_sha256=pl.lit("0" * 64),
    )
    cleaned = cleaner_of(of)(archive_rows(bronze, of), of, day, end)
    assert cleaned.rejected.is_empty()
    return cleaned.rows


def row(open_time: int, *values: Any) -> bytes:
    return json.dumps([[open_time, *values[:5], open_time + MINUTE - 1, *values[5:], "0"]]).encode()


@recorded
def test_a_recorded_minute_has_the_values_that_it_states() -> None:
    answer = next(line for line in lines("rest_um_2026-10-07.jsonl") if "klines" in line["path"])
    body = json.dumps(answer["body"]).encode()
    first = silver(UM, body, "BTCUSDT", date(2026, 10, 7), date(2026, 10, 8)).row(0, named=True)
    assert first == {
        "symbol": "BTCUSDT",
        "open_time": datetime(2026, 10, 7, 14, 22, tzinfo=UTC),
        "close_time": datetime(2026, 10, 7, 14, 22, 59, 999000, tzinfo=UTC),
        "open": 83137.9,
        "high": 83155.7,
        "low": 83082.9,
        "close": 83084.9,
        "base_volume": 102.437,
        "quote_volume": 8514292.6122,
        "trade_count": 4409,
        "taker_buy_base_volume": 49.832,
        "taker_buy_quote_volume": 4141805.9334,
        "contracts": None,
        "source": "archive_daily",
    }


@recorded
def test_a_recorded_minute_of_spot_is_stored_in_the_microseconds_of_the_archive() -> None:
    old, new = (json.dumps(line["body"]).encode() for line in lines("rest_spot_klines_2021_2026.jsonl"))
    before = silver(SPOT, old, "ACMUSDT", date(2021, 12, 14), date(2021, 12, 15)).row(0, named=True)
    assert (before["base_volume"], before["close_time"].microsecond) == (26.4, 999000)
    after = silver(SPOT, new, "BTCUSDT", date(2026, 7, 6), date(2026, 7, 7)).row(0, named=True)
    assert (after["base_volume"], after["trade_count"]) == (5.64552, 2095)
    assert after["open_time"] == datetime(2026, 7, 6, 1, 49, tzinfo=UTC)
    assert after["close_time"] == datetime(2026, 7, 6, 1, 49, 59, 999999, tzinfo=UTC)


@recorded
def test_the_same_minute_by_rest_and_by_stream_agrees() -> None:
    answer = next(line for line in lines("rest_um_2026-10-07.jsonl") if "klines" in line["path"])
    by_rest = answer_frame(endpoint(UM), json.dumps(answer["body"]).encode()).row(-1, named=True)
    (bar,) = (line["data"]["k"] for line in lines("ws_um_2026-10-07.jsonl") if "kline" in line["stream"])
    # The minute was still forming in both records: two seconds later it had more trades and a wider range.
    assert (by_rest["open_time"], by_rest["close_time"]) == (bar["t"], bar["T"])
    assert (by_rest["open"], by_rest["low"]) == (float(bar["o"]), float(bar["l"]))
    assert by_rest["high"] <= float(bar["h"])
    assert by_rest["volume"] <= float(bar["v"])
    assert by_rest["count"] <= bar["n"]


def test_minutes_of_coin_margined_contracts_have_contracts_and_base_volume() -> None:
    body = row(1_704_067_200_000, "42000", "42100", "41900", "42050", "206", "0.49", 12, "100", "0.238")
    bar = silver(CM, body, "BTCUSD_PERP", date(2024, 1, 1), date(2024, 1, 2)).row(0, named=True)
    assert (bar["contracts"], bar["base_volume"], bar["quote_volume"]) == (206, 0.49, 20600.0)
    assert (bar["taker_buy_base_volume"], bar["taker_buy_quote_volume"]) == (0.238, 10000.0)
