"""The local exchange API over real HTTP: the shapes, bounds, order, limits and errors of the exchange."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from crypto_lakehouse.catalog.binance_rest import FUTURES_POOL
from crypto_lakehouse.catalog.rest import RestPool
from crypto_lakehouse.exchange_api.limiter import Limiter
from crypto_lakehouse.sample.api_server import ApiServer, Fault
from crypto_lakehouse.sample.build import make_sample

pytestmark = pytest.mark.requirement("F2.14")

START = date(2024, 12, 30)
# In the middle of a minute of the last day.
NOW = datetime(2025, 1, 1, 12, 30, 20, tzinfo=UTC)
TABLES = ("klines_1m", "klines_1h", "klines_1mo", "agg_trades", "funding_rates", "open_interest", "mark_klines_1m")
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

Answer = tuple[int, Any, dict[str, str]]


def ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)


MIDNIGHT = ms(datetime(2025, 1, 1, tzinfo=UTC))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api") / "archive"
    tables = (*TABLES, "index_klines_1m", "premium_klines_1m")
    make_sample(
        folder, symbols=2, days=3, start=START, tables=tables, markets=("spot", "um", "cm"), trades_per_day=10080
    )
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ApiServer]:
    with ApiServer(folder, now=NOW) as server:
        yield server


def get(server: ApiServer, path: str, **query: object) -> Answer:
    url = f"{server.url}{path}?{urlencode(query)}"
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=30) as response:
            return response.status, json.loads(response.read()), dict(response.headers)
    except HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), dict(error.headers)


def rows(server: ApiServer, path: str, **query: object) -> Any:
    status, body, _ = get(server, path, **query)
    assert status == 200, body
    return body


def refusal(server: ApiServer, path: str, **query: object) -> tuple[int, int]:
    status, body, _ = get(server, path, **query)
    return status, body["code"]


def file_rows(folder: Path, key: str) -> list[list[str]]:
    with zipfile.ZipFile(folder / "data" / key) as archive:
        text = archive.read(archive.namelist()[0]).decode()
    return [row for row in csv.reader(io.StringIO(text)) if row[0][0].isdigit()]


def test_klines_have_twelve_elements_with_the_numbers_of_the_file(server: ApiServer, folder: Path) -> None:
    answer = rows(
        server, "/fapi/v1/klines", symbol="btcusdt", interval="1m", startTime=MIDNIGHT, endTime=MIDNIGHT + 2 * MINUTE
    )
    expected = file_rows(folder, "futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01-01.zip")[:3]
    # Both bounds are inclusive.
    assert [row[0] for row in answer] == [MIDNIGHT, MIDNIGHT + MINUTE, MIDNIGHT + 2 * MINUTE]
    for row, file_row in zip(answer, expected, strict=True):
        assert row[:1] + row[6:7] + row[8:9] == [int(file_row[i]) for i in (0, 6, 8)]
        assert [row[i] for i in (1, 2, 3, 4, 5, 7, 9, 10)] == [file_row[i] for i in (1, 2, 3, 4, 5, 7, 9, 10)]
        assert row[11] == "0"


def test_spot_answers_milliseconds_although_its_files_have_microseconds(server: ApiServer) -> None:
    (row,) = rows(server, "/api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=MIDNIGHT, limit=1)
    assert (row[0], row[6]) == (MIDNIGHT, MIDNIGHT + MINUTE - 1)


def test_spot_answers_and_takes_microseconds_if_the_header_asks_for_them(server: ApiServer, folder: Path) -> None:
    def micro(path: str, unit: str = "MICROSECOND", **query: object) -> tuple[int, Any]:
        request = Request(f"{server.url}{path}?{urlencode(query)}", headers={"X-MBX-TIME-UNIT": unit})
        try:
            with build_opener(ProxyHandler({})).open(request, timeout=30) as response:
                return response.status, json.loads(response.read())
        except HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    query = {"symbol": "BTCUSDT", "interval": "1m", "startTime": MIDNIGHT * 1000 - 1, "endTime": MIDNIGHT}
    status, (row,) = micro("/api/v3/klines", **query)
    assert (status, row[0], row[6]) == (200, MIDNIGHT * 1000, (MIDNIGHT + MINUTE) * 1000 - 1)
    expected = file_rows(folder, "spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2025-01-01.zip")[1]
    trades = micro("/api/v3/aggTrades", symbol="BTCUSDT", startTime=expected[5], limit=1)[1]
    assert [trades[0]["a"], trades[0]["T"]] == [int(expected[0]), int(expected[5])]
    assert micro("/api/v3/time")[1]["serverTime"] // 1000 >= ms(NOW)
    # Futures have no such header.
    assert micro("/fapi/v1/klines", **query | {"startTime": MIDNIGHT})[1][0][0] == MIDNIGHT
    assert micro("/api/v3/time", "SECOND")[1]["code"] == -1194


def test_too_many_rows_are_cut_at_the_newest_end_by_coin_m_and_at_the_oldest_by_others(server: ApiServer) -> None:
    query = {"interval": "1m", "startTime": MIDNIGHT, "endTime": MIDNIGHT + HOUR, "limit": 10}
    for path, symbol in (("/api/v3/klines", "BTCUSDT"), ("/fapi/v1/klines", "BTCUSDT")):
        assert [row[0] for row in rows(server, path, symbol=symbol, **query)][::9] == [MIDNIGHT, MIDNIGHT + 9 * MINUTE]
    newest = rows(server, "/dapi/v1/klines", symbol="BTCUSD_PERP", **query)
    assert [row[0] for row in newest][::9] == [MIDNIGHT + 51 * MINUTE, MIDNIGHT + HOUR]


def test_without_bounds_the_newest_rows_are_answered_and_the_last_bar_is_still_forming(
    server: ApiServer, folder: Path
) -> None:
    answer = rows(server, "/fapi/v1/klines", symbol="BTCUSDT", interval="1m")
    assert len(answer) == 500
    forming, before = answer[-1], answer[-2]
    assert forming[0] <= server.clock() <= forming[6]
    whole = {
        int(row[0]): row for row in file_rows(folder, "futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01-01.zip")
    }
    assert forming[8] < int(whole[forming[0]][8])
    assert before[8] == int(whole[before[0]][8])
    assert rows(server, "/fapi/v1/klines", symbol="BTCUSDT", interval="1m", startTime=ms(NOW) + HOUR) == []


def test_start_before_the_listing_gives_the_first_bar_and_end_before_it_nothing(server: ApiServer) -> None:
    first = rows(server, "/api/v3/klines", symbol="BTCUSDT", interval="1h", startTime=0, limit=1)
    assert first[0][0] == ms(datetime(2024, 12, 30, tzinfo=UTC))
    assert rows(server, "/api/v3/klines", symbol="BTCUSDT", interval="1h", startTime=0, endTime=DAY) == []


def test_months_and_prices_have_their_own_spelling_and_shape(server: ApiServer) -> None:
    (month,) = rows(server, "/fapi/v1/klines", symbol="BTCUSDT", interval="1M", limit=1)
    assert month[0] == ms(datetime(2025, 1, 1, tzinfo=UTC))
    for path, name in (
        ("/fapi/v1/markPriceKlines", {"symbol": "BTCUSDT"}),
        ("/fapi/v1/indexPriceKlines", {"pair": "BTCUSDT"}),
        ("/dapi/v1/indexPriceKlines", {"pair": "BTCUSD"}),
        ("/dapi/v1/premiumIndexKlines", {"symbol": "BTCUSD_PERP"}),
    ):
        (row,) = rows(server, path, interval="1m", startTime=MIDNIGHT, endTime=MIDNIGHT, **name)
        assert (len(row), row[5], row[7], row[9:]) == (12, "0", "0", ["0", "0", "0"])


def test_agg_trades_are_paged_by_id_and_bounded_to_two_days_on_futures(server: ApiServer) -> None:
    first = rows(server, "/fapi/v1/aggTrades", symbol="BTCUSDT", startTime=MIDNIGHT, endTime=MIDNIGHT + HOUR, limit=3)
    assert list(first[0]) == ["a", "p", "q", "nq", "f", "l", "T", "m"]
    following = rows(server, "/fapi/v1/aggTrades", symbol="BTCUSDT", fromId=first[-1]["a"] + 1, limit=1000)
    assert [row["a"] for row in following] == list(range(first[-1]["a"] + 1, first[-1]["a"] + 1001))
    assert isinstance(rows(server, "/api/v3/aggTrades", symbol="BTCUSDT")[0]["M"], bool)
    old = ms(NOW - timedelta(hours=49))
    assert refusal(server, "/fapi/v1/aggTrades", symbol="BTCUSDT", startTime=old, endTime=old + HOUR) == (400, -4166)
    assert refusal(server, "/fapi/v1/aggTrades", symbol="BTCUSDT", fromId=1) == (400, -4166)
    assert refusal(server, "/fapi/v1/aggTrades", symbol="BTCUSDT", fromId=1, startTime=old) == (400, -1128)
    assert rows(server, "/api/v3/aggTrades", symbol="BTCUSDT", startTime=old, endTime=old + HOUR)


def test_funding_rates_ascend_from_the_start_with_the_mark_price(server: ApiServer) -> None:
    answer = rows(server, "/fapi/v1/fundingRate", symbol="BTCUSDT", startTime=MIDNIGHT - DAY, endTime=MIDNIGHT + DAY)
    times = [row["fundingTime"] for row in answer]
    assert times == sorted(times)
    assert times[-1] <= ms(NOW) + 60_000
    assert all(row["markPrice"] and row["rateType"] == "Regular" for row in answer)
    every = rows(server, "/fapi/v1/fundingRate")
    assert len({row["symbol"] for row in every}) == 2
    assert refusal(server, "/dapi/v1/fundingRate") == (400, -1102)
    intervals = rows(server, "/fapi/v1/fundingInfo")
    assert {row["symbol"] for row in intervals} == {row["symbol"] for row in every}


def test_open_interest_and_ratios_have_four_decimals_and_reach_thirty_days(server: ApiServer, folder: Path) -> None:
    bounds = {"period": "5m", "startTime": MIDNIGHT, "endTime": MIDNIGHT + HOUR}
    file = {row[0]: row for row in file_rows(folder, "futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-2025-01-01.zip")}
    interest = rows(server, "/futures/data/openInterestHist", symbol="BTCUSDT", **bounds)
    ratios = rows(server, "/futures/data/topLongShortAccountRatio", symbol="BTCUSDT", **bounds)
    label = f"{datetime.fromtimestamp(interest[3]['timestamp'] / 1000, UTC):%Y-%m-%d %H:%M:%S}"
    assert float(interest[3]["sumOpenInterest"]) == pytest.approx(float(file[label][2]), abs=1e-8)
    of_label = next(row for row in ratios if row["timestamp"] == interest[3]["timestamp"])
    assert of_label["longShortRatio"] == f"{float(file[label][4]):.4f}"
    coin = rows(server, "/futures/data/takerBuySellVol", pair="BTCUSD", contractType="PERPETUAL", **bounds)
    assert set(coin[0]) >= {"pair", "contractType", "takerBuyVol", "takerSellVol"}
    old = {"startTime": ms(NOW - timedelta(days=31)), "period": "5m"}
    status, body, _ = get(server, "/futures/data/openInterestHist", symbol="BTCUSDT", **old)
    assert (status, body) == (400, {"code": -1130, "msg": "parameter 'startTime' is invalid."})


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/fapi/v1/klines", {"symbol": "NONEUSDT", "interval": "1m"}, (400, -1121)),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1s"}, (400, -1120)),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT"}, (400, -1102)),
        ("/fapi/v1/klines", {"interval": "1m"}, (400, -1102)),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": 1501}, (400, -1130)),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": "x"}, (400, -1100)),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "startTime": 2, "endTime": 1}, (400, -1023)),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "more": 1}, (400, -1104)),
        ("/api/v3/klines", {"symbol": "btcusdt", "interval": "1m"}, (400, -1100)),
        (
            "/dapi/v1/klines",
            {"symbol": "BTCUSD_PERP", "interval": "1m", "startTime": 0, "endTime": DAY * 201},
            (400, -4088),
        ),
        ("/eapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m"}, (404, 0)),
    ],
)
def test_refusals_have_the_codes_of_the_exchange(
    server: ApiServer, path: str, query: dict[str, object], expected: tuple[int, int]
) -> None:
    assert refusal(server, path, **query) == expected


def test_a_greater_limit_than_allowed_is_silently_lowered_by_spot(server: ApiServer) -> None:
    query = {"symbol": "BTCUSDT", "interval": "1m", "startTime": MIDNIGHT - DAY, "limit": 5000}
    assert len(rows(server, "/api/v3/klines", **query)) == 1000


def test_the_time_in_the_exchange_info_of_futures_is_hours_old(server: ApiServer) -> None:
    for prefix, hours in (("/api/v3", 0), ("/fapi/v1", 6), ("/dapi/v1", 6)):
        time = rows(server, f"{prefix}/time")["serverTime"]
        info = rows(server, f"{prefix}/exchangeInfo")
        assert round((time - info["serverTime"]) / HOUR) == hours
        assert len(info["symbols"]) >= 2
    coin = rows(server, "/dapi/v1/exchangeInfo")["symbols"]
    assert {(row["symbol"], row["contractSize"]) for row in coin if row["baseAsset"] == "BTC"} >= {("BTCUSD_PERP", 100)}
    assert all(row["contractStatus"] for row in coin)


def test_the_exchange_info_of_spot_is_chosen_by_symbol(server: ApiServer) -> None:
    assert [row["symbol"] for row in rows(server, "/api/v3/exchangeInfo", symbol="BTCUSDT")["symbols"]] == ["BTCUSDT"]
    both = rows(server, "/api/v3/exchangeInfo", symbols='["BTCUSDT","ETHUSDT"]')["symbols"]
    assert {row["symbol"] for row in both} == {"BTCUSDT", "ETHUSDT"}
    for query, code in (
        ({"symbol": "NONE"}, -1121),
        ({"symbols": "x"}, -1100),
        ({"symbol": "BTCUSDT", "symbols": "[]"}, -1128),
        ({"more": 1}, -1104),
    ):
        assert refusal(server, "/api/v3/exchangeInfo", **query) == (400, code)


def test_weights_follow_the_limit_and_a_refused_request_costs_its_weight(folder: Path) -> None:
    with ApiServer(folder, now=NOW, pools={"futures": small(10_000, 3600)}) as server:
        used = [0]
        for limit, weight in ((99, 1), (499, 2), (1000, 5), (1500, 10), (1501, 10), (None, 5)):
            query = {"symbol": "BTCUSDT", "interval": "1m"} | ({"limit": limit} if limit else {})
            _, _, headers = get(server, "/fapi/v1/klines", **query)
            used.append(int(headers["X-MBX-USED-WEIGHT-1M"]))
            assert used[-1] - used[-2] == weight
        # COIN-M counts in the same pool, funding and statistics in others without a header.
        _, _, headers = get(server, "/dapi/v1/aggTrades", symbol="BTCUSD_PERP")
        assert int(headers["X-MBX-USED-WEIGHT-1M"]) == used[-1] + 20
        assert "X-MBX-USED-WEIGHT-1M" not in get(server, "/fapi/v1/fundingRate", symbol="BTCUSDT")[2]


def small(limit: int, seconds: float) -> RestPool:
    return RestPool("futures", limit, timedelta(seconds=seconds), FUTURES_POOL.header, "a test")


def test_over_the_limit_is_429_and_going_on_is_a_ban_with_its_end_in_the_body(folder: Path) -> None:
    limiter = Limiter({"futures": small(2, 3600)}, patience=2, ban=60)
    with ApiServer(folder, now=NOW, limiter=limiter) as server:
        answers = [get(server, "/fapi/v1/time") for _ in range(6)]
        assert [status for status, _, _ in answers] == [200, 200, 429, 429, 418, 418]
        assert 0 < int(answers[2][2]["Retry-After"]) <= 3600
        assert answers[2][1]["code"] == answers[5][1]["code"] == -1003
        assert "banned until 17357" in answers[5][1]["msg"]
        # A ban is of the address, so of all paths.
        assert get(server, "/api/v3/time")[0] == 418
        assert [call.status for call in server.calls][-1] == 418


def test_a_fault_is_answered_once_and_then_the_right_answer(folder: Path) -> None:
    with ApiServer(folder, now=NOW) as server:
        server.faults["/fapi/v1/klines"] = [Fault(200, []), Fault(503, {"code": -1008, "msg": "busy"}, {"A": "b"})]
        query = {"symbol": "BTCUSDT", "interval": "1m", "limit": 1}
        answers = [get(server, "/fapi/v1/klines", **query) for _ in range(3)]
        assert [(status, bool(body)) for status, body, _ in answers] == [(200, False), (503, True), (200, True)]
        assert answers[1][2]["A"] == "b"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="there is no folder"), ApiServer(tmp_path / "none"):
        pass
