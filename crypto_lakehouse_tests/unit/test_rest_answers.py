"""Recorded answers of the exchange, parsed to the values that they state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crypto_lakehouse.catalog import feed
from crypto_lakehouse.catalog.rest import RestEndpoint, rest_endpoints_of
from crypto_lakehouse.transforms.answers import answer_frame

API = Path(__file__).parents[3] / "shared" / "realdata" / "api"
needs_recordings = pytest.mark.skipif(not API.is_dir(), reason="no recorded answers in ../shared/realdata/api")


def endpoint(market: str, table: str, path: str = "") -> RestEndpoint:
    return next(each for each in rest_endpoints_of(feed("binance", market, table)) if each.path.endswith(path))


def recorded(name: str) -> dict[str, Any]:
    """Bodies of a recording by their path, the first of each."""
    lines = [json.loads(line) for line in (API / name).read_text(encoding="utf-8").splitlines()]
    return {line["path"]: line["body"] for line in reversed(lines)}


def rows(kind: RestEndpoint, body: Any) -> list[dict[str, Any]]:
    return answer_frame(kind, json.dumps(body).encode()).to_dicts()


@needs_recordings
@pytest.mark.requirement("F2.12")
def test_recorded_klines_have_the_values_that_they_state() -> None:
    body = recorded("rest_um_2026-10-07.jsonl")["/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=2"]
    first, forming = rows(endpoint("um", "klines_1m"), body)
    assert first == {
        "open_time": 1791382920000,
        "open": 83137.90,
        "high": 83155.70,
        "low": 83082.90,
        "close": 83084.90,
        "volume": 102.437,
        "close_time": 1791382979999,
        "quote_volume": 8514292.61220,
        "count": 4409,
        "taker_buy_volume": 49.832,
        "taker_buy_quote_volume": 4141805.93340,
        "ignore": "0",
        "source_line": 1,
    }
    assert (forming["open_time"], forming["count"], forming["source_line"]) == (1791382980000, 801, 2)
    spot = rows(endpoint("spot", "klines_1m"), json.loads((API / "rest_spot_klines_nautilus.json").read_text()))
    assert len(spot) == 10
    assert [row["volume"] for row in spot][::9] == [21.63272, 0.04734]


@needs_recordings
@pytest.mark.requirement("F2.12")
def test_recorded_funding_rates_have_a_null_where_the_mark_price_is_empty() -> None:
    recording, kind = recorded("rest_um_2026-10-07.jsonl"), endpoint("um", "funding_rates")
    new = rows(kind, recording["/fapi/v1/fundingRate?symbol=BTCUSDT&limit=3"])
    old = rows(kind, recording["/fapi/v1/fundingRate?symbol=BTCUSDT&startTime=1568102400000&limit=2"])
    assert [row["fundingTime"] for row in new] == [1791302400000, 1791331200002, 1791360000002]
    assert [row["fundingRate"] for row in new] == [0.00002245, -0.00000743, -0.00003657]
    assert [row["markPrice"] for row in new] == [85675.2, 85516.50151449, 84102.70600725]
    assert [(row["fundingRate"], row["markPrice"], row["rateType"]) for row in old] == [(0.0001, None, "Regular")] * 2
    lines = (API / "rest_um_fundingRate_old.jsonl").read_text().splitlines()
    assert [row["rateType"] for row in rows(kind, list(map(json.loads, lines)))] == ["Regular", None]
    cm = recorded("rest_um_cm_2026-10-06.jsonl")["cm /dapi/v1/fundingRate"]
    assert rows(endpoint("cm", "funding_rates"), cm)[0]["fundingTime"] == 1791273600001


@needs_recordings
@pytest.mark.requirement("F2.12")
def test_recorded_agg_trades_keep_their_ids_and_flags() -> None:
    body = recorded("rest_um_2026-10-07.jsonl")["/fapi/v1/aggTrades?symbol=BTCUSDT&limit=3"]
    last = rows(endpoint("um", "agg_trades"), body)[2]
    assert last == {
        "a": 3477868382,
        "p": 83084.30,
        "q": 0.015,
        "nq": 0.015,
        "f": 8153634284,
        "l": 8153634285,
        "T": 1791382990860,
        "m": "true",
        "source_line": 3,
    }
    spot = json.loads((API / "rest_spot_agg_trades_nautilus.json").read_text())
    assert [row["M"] for row in rows(endpoint("spot", "agg_trades"), spot)] == ["true"] * 10
    cm = json.loads((API / "docs_rest_cm.json").read_text())["compressed_aggregate_trades_list"]
    assert rows(endpoint("cm", "agg_trades"), cm)[0]["q"] == 3.0


@needs_recordings
@pytest.mark.requirement("F2.12")
def test_recorded_open_interest_and_ratios_are_read_by_name() -> None:
    recording = recorded("rest_um_cm_2026-10-06.jsonl")
    interest = rows(endpoint("um", "open_interest"), recording["um /futures/data/openInterestHist"])
    # Newest first here, oldest first in the other recordings.
    assert [row["timestamp"] for row in interest] == [1791284400000, 1791284100000]
    assert (interest[0]["sumOpenInterest"], interest[0]["sumOpenInterestValue"]) == (94731.046, 8157280897.9554)
    taker = endpoint("um", "open_interest", "takerlongshortRatio")
    assert rows(taker, recording["um /futures/data/takerlongshortRatio"])[0]["buySellRatio"] == 0.9752
    top = endpoint("um", "open_interest", "topLongShortPositionRatio")
    (row,) = rows(top, recording["um /futures/data/topLongShortPositionRatio"])
    assert (row["file_symbol"], row["longShortRatio"], row["longAccount"]) == ("BTCUSDT", 1.6855, 0.6276)
    assert top.rounded == ("longShortRatio",)
    coin = rows(endpoint("cm", "open_interest"), recording["cm /futures/data/openInterestHist"])[0]
    assert (coin["pair"], coin["contractType"], coin["sumOpenInterest"]) == ("BTCUSD", "PERPETUAL", 2909783.0)
    volumes = rows(endpoint("cm", "open_interest", "takerBuySellVol"), recording["cm /futures/data/takerBuySellVol"])[0]
    assert (volumes["takerBuyVol"], volumes["takerSellVol"]) == (11344.0, 13037.0)
    position = endpoint("cm", "open_interest", "topLongShortPositionRatio")
    assert rows(position, recording["cm /futures/data/topLongShortPositionRatio"])[0]["longShortRatio"] == 2.3949


def test_a_row_of_another_shape_is_an_error_that_names_the_row_and_the_field() -> None:
    klines, funding = endpoint("um", "klines_1m"), endpoint("um", "funding_rates")
    with pytest.raises(ValueError, match="row 1 of /fapi/v1/klines is not a list of 12 fields"):
        answer_frame(klines, b"[[1, 2]]")
    with pytest.raises(ValueError, match="row 1 of /fapi/v1/fundingRate: field fundingRate is 'None'"):
        answer_frame(funding, b'[{"symbol": "BTCUSDT", "fundingTime": 1}]')
    with pytest.raises(ValueError, match="not a list of rows"):
        answer_frame(klines, b'{"code": -1121}')
    assert answer_frame(klines, b"[]").is_empty()
