"""The REST client against the local exchange API: budget, pauses, bans, refusals, retries and pages."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from crypto_lakehouse.archive.limits import Limits
from crypto_lakehouse.catalog import feed
from crypto_lakehouse.catalog.binance_rest import FUNDING_POOL, FUTURES_POOL, SPOT_POOL
from crypto_lakehouse.catalog.rest import RestEndpoint, RestPool, rest_endpoint_of
from crypto_lakehouse.pipeline.completion.wanted import complete_until
from crypto_lakehouse.rest.client import RestClient
from crypto_lakehouse.rest.model import AnswerStatus, RestAnswer, RestBanError, RestError, RestRefusedError
from crypto_lakehouse.rest.requests import RestRequest, from_milliseconds, milliseconds, windows
from crypto_lakehouse.sample.api_rows import ArchiveRows
from crypto_lakehouse.sample.api_server import ApiServer, Fault
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.files import ArchiveFolder
from crypto_lakehouse_tests.unit.test_rest_answers import needs_recordings, recorded

START = datetime(2025, 1, 1, tzinfo=UTC)
END = START + timedelta(days=3)
NOW = END + timedelta(hours=1, seconds=30)
KLINES = "/fapi/v1/klines"


def endpoint(market: str = "um", table: str = "klines_1m") -> RestEndpoint:
    kind = rest_endpoint_of(feed("binance", market, table))
    assert kind is not None
    return kind


def pool(limit: int, seconds: float, of: RestPool = FUTURES_POOL) -> RestPool:
    return RestPool(of.name, limit, timedelta(seconds=seconds), of.header, "a test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api") / "archive"
    tables = ("klines_1m", "agg_trades", "funding_rates")
    make_sample(folder, 1, 4, date(2025, 1, 1), tables=tables, markets=("spot", "um", "cm"), trades_per_day=10080)
    return folder


@pytest.fixture
def server(folder: Path) -> Iterator[ApiServer]:
    with ApiServer(folder, now=NOW) as server:
        yield server


def client(
    server: ApiServer, *pools: RestPool, concurrency: int = 8, attempts: int = 3, share: float = 1.0, wait: float = 600
) -> RestClient:
    urls = dict.fromkeys(("spot", "um", "cm"), server.url)
    return RestClient("binance", urls, Limits(concurrency, attempts, timeout=10.0), share, wait, pools)


def minutes(symbol: str = "BTCUSDT", market: str = "um", hours: int = 1) -> list[RestRequest]:
    return list(windows(endpoint(market), symbol, START, START + timedelta(hours=hours)))


def opens(answers: list[RestAnswer]) -> list[int]:
    return sorted(row[0] for answer in answers for row in json.loads(answer.body))


@pytest.mark.requirement("F2.13")
@pytest.mark.parametrize("market", ["spot", "um", "cm"])
def test_windows_bring_every_minute_once_whichever_end_of_an_answer_is_cut(
    server: ApiServer, folder: Path, market: str
) -> None:
    kind, symbol = endpoint(market), "BTCUSD_PERP" if market == "cm" else "BTCUSDT"
    answers = list(client(server).answers(windows(kind, symbol, START, END)))
    minute_feed = feed("binance", market, "klines_1m")
    rows = ArchiveRows(folder).forward(minute_feed, symbol, milliseconds(START), milliseconds(END) - 1)
    expected = [row["open_time"] for row in rows]
    # Spot has a halt of some hours.
    assert len(expected) > 3 * 1440 - 200
    assert opens(answers) == expected
    for answer in answers:
        assert answer.status is AnswerStatus.ANSWERED
        assert answer.sha256 == hashlib.sha256(answer.body).hexdigest()
        assert answer.rows == len(json.loads(answer.body))
        assert NOW <= answer.server_time <= NOW + timedelta(minutes=5)


@pytest.mark.requirement("F2.13")
def test_the_time_of_the_server_tells_which_bar_is_still_forming(server: ApiServer) -> None:
    request = RestRequest(endpoint(), "BTCUSDT", end=NOW + timedelta(hours=1), limit=3)
    (answer,) = client(server).answers([request])
    limit = round(answer.server_time.timestamp() * 1000)
    assert [row[6] < limit for row in json.loads(answer.body)] == [True, True, False]
    assert client(server).server_time("cm") >= NOW


@needs_recordings
@pytest.mark.requirement("F2.12")
def test_the_forming_bar_of_a_recorded_answer_is_left_out(server: ApiServer) -> None:
    body = recorded("rest_um_2026-10-07.jsonl")["/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=2"]
    trade = recorded("rest_um_2026-10-07.jsonl")["/fapi/v1/aggTrades?symbol=BTCUSDT&limit=3"][-1]
    # The time of the exchange when it was recorded: that of its newest trade.
    server.faults["/fapi/v1/time"] = [Fault(200, {"serverTime": trade["T"]})]
    server.faults[KLINES] = [Fault(200, body)]
    start = from_milliseconds(body[0][0])
    (answer,) = client(server).answers(windows(endpoint(), "BTCUSDT", start, start + timedelta(minutes=2)))
    assert answer.rows == 2
    end = complete_until(start, start + timedelta(minutes=2), timedelta(minutes=1), answer.server_time)
    assert end == from_milliseconds(body[1][0])


@pytest.mark.requirement("F2.13")
def test_pages_by_id_bring_every_trade_of_a_range_in_answers_of_their_own(server: ApiServer) -> None:
    for market in ("spot", "um"):
        kind = endpoint(market, "agg_trades")
        end = END + timedelta(minutes=50)
        (first,) = windows(kind, "BTCUSDT", END - timedelta(hours=2), end)
        answers = list(client(server).answers([replace(first, limit=50)]))
        assert len(answers) > 10
        assert len({answer.request.canonical for answer in answers}) == len(answers)
        rows = [row for answer in answers for row in json.loads(answer.body)]
        ids = [row["a"] for row in rows]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert rows[-1]["T"] >= milliseconds(end)
        start = milliseconds(END - timedelta(hours=2))
        assert rows[0]["T"] >= start
        (before,) = client(server).answers([RestRequest(kind, "BTCUSDT", limit=1, from_id=ids[0] - 1, end=START)])
        assert json.loads(before.body)[0]["T"] < start


@pytest.mark.requirement("F2.13")
def test_an_unknown_symbol_and_an_empty_range_are_answers_and_stop_nothing(server: ApiServer) -> None:
    early = windows(endpoint(), "BTCUSDT", START - timedelta(days=30), START - timedelta(days=29, hours=23))
    answers = list(client(server).answers([*minutes("NONEUSDT"), *early, *minutes()]))
    refused, empty, answered = sorted(answers, key=lambda answer: answer.status, reverse=True)
    assert (refused.status, refused.reason, refused.detail) == ("refused", "unknown_symbol", "-1121: Invalid symbol.")
    assert json.loads(refused.body)["code"] == -1121
    assert (empty.status, empty.body, empty.rows) == ("empty", b"[]", 0)
    assert answered.rows == 60


@pytest.mark.requirement("F2.13")
def test_trades_out_of_reach_are_refused_with_the_reason(server: ApiServer) -> None:
    kind = endpoint("um", "agg_trades")
    (answer,) = client(server).answers(windows(kind, "BTCUSDT", START, START + timedelta(hours=1)))
    assert (answer.status, answer.reason) == ("refused", "out_of_reach")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    """An archive of 200 symbols with three days of minutes."""
    many = tmp_path_factory.mktemp("many")
    out = ArchiveFolder(many)
    for number in range(200):
        for day in range(1, 4):
            name = f"data/futures/um/daily/klines/S{number}USDT/1m/S{number}USDT-1m-2025-01-0{day}.zip"
            start = round(START.timestamp() * 1000) + (day - 1) * 86_400_000
            lines = [
                f"{start + 60_000 * m},1,1,1,1,1,{start + 60_000 * m + 59_999},1,1,1,1,0\n" for m in range(0, 1440, 60)
            ]
            out.add(name, ["".join(lines).encode()])
    return many


@pytest.mark.requirement("F2.13")
def test_three_days_of_200_symbols_are_fetched_without_one_request_over_the_limit(many: Path) -> None:
    # 1,800 requests of weight 3,600 with a budget of 800 in two seconds of the server's clock.
    small = pool(800, 2)
    with ApiServer(many, now=NOW, pools={"futures": small}) as server:
        requests = [each for number in range(200) for each in windows(endpoint(), f"S{number}USDT", START, END)]
        answers = list(client(server, small, concurrency=16).answers(requests))
        assert Counter(call.status for call in server.calls) == {200: 1801}
        assert Counter(answer.request.symbol for answer in answers) == {f"S{number}USDT": 9 for number in range(200)}
        assert sum(answer.rows for answer in answers) == 200 * 72


@pytest.mark.requirement("F2.13")
@pytest.mark.parametrize("concurrency", [1, 8])
def test_after_429_no_request_is_sent_until_retry_after(server: ApiServer, concurrency: int) -> None:
    fault = Fault(429, {"code": -1003, "msg": "Too many requests."}, {"Retry-After": "3"})
    server.faults[KLINES] = [fault]
    answers = list(client(server, concurrency=concurrency).answers(minutes(hours=72)))
    assert opens(answers)[:: 3 * 1440 - 1] == [1735689600000, 1735948740000]
    calls = sorted(server.calls, key=lambda call: call.at)
    refused = next(call for call in calls if call.status == 429)
    # Requests that were on their way when the answer came had been sent before.
    later = [call.at - refused.at for call in calls if call.at > refused.at]
    pause = max(other - one for one, other in zip([0.0, *later], later, strict=False))
    assert pause > 2.5 if concurrency > 1 else later[0] >= 3.0
    assert len(later) >= 9


@pytest.mark.requirement("F2.13")
def test_without_retry_after_the_end_of_a_ban_is_in_the_body(server: ApiServer) -> None:
    until = server.clock() + 3000
    message = f"Way too many requests; IP(1.2.3.4) banned until {until}. Please use the websocket."
    server.faults[KLINES] = [Fault(418, {"code": -1003, "msg": message})]
    answers = list(client(server, concurrency=1).answers(minutes()))
    assert [answer.rows for answer in answers] == [60]
    banned, answered = (call for call in server.calls if call.path == KLINES)
    assert answered.at - banned.at > 1.5


@pytest.mark.requirement("F2.13")
@pytest.mark.parametrize("status", [418, 429])
def test_a_longer_pause_than_a_run_waits_for_ends_it_with_the_time(server: ApiServer, status: int) -> None:
    server.faults[KLINES] = [Fault(status, {"code": -1003, "msg": ""}, {"Retry-After": "7200"})]
    with pytest.raises(RestBanError, match=rf"answers HTTP {status} and wants no requests until 2.* UTC\. Run again"):
        list(client(server, pool(2000 + status, 60)).answers(minutes()))
    # Another run in this process ends at once too, without a request.
    with pytest.raises(RestBanError, match=r"wants no requests of futures until 2.* UTC\. Run again"):
        list(client(server, pool(2000 + status, 60)).answers(minutes()))
    assert len([call for call in server.calls if call.path == KLINES]) == 1


@pytest.mark.requirement("F2.13")
@pytest.mark.parametrize("status", [403, 451])
def test_a_refused_place_ends_a_run_at_once_and_names_the_setting(server: ApiServer, status: int) -> None:
    body = {"code": 0, "msg": "Service unavailable from a restricted location"}
    server.faults["/api/v3/klines"] = [Fault(status, body)] * 9
    with pytest.raises(RestRefusedError, match=r"LAKEHOUSE_REST_URLS=spot=https://data-api\.binance\.vision"):
        list(client(server, concurrency=1).answers(minutes(market="spot", hours=72)))
    assert [call.status for call in server.calls] == [200, status]
    server.faults[KLINES] = [Fault(status, "<html>forbidden</html>")]
    with pytest.raises(RestRefusedError, match=f"HTTP {status}: the exchange refuses this place.*use another network"):
        list(client(server).answers(minutes()))


@pytest.mark.requirement("F2.13")
def test_a_host_that_does_not_serve_the_path_is_named(server: ApiServer) -> None:
    server.faults[KLINES] = [Fault(404, "<html>not found</html>")]
    with pytest.raises(RestRefusedError, match=r"klines answers HTTP 404.*such as um=https://fapi\.binance\.com"):
        list(client(server).answers(minutes()))


@pytest.mark.requirement("F2.13")
def test_errors_of_the_server_are_retried_and_what_fails_for_good_does_not_stop_the_others(server: ApiServer) -> None:
    busy = Fault(503, {"code": -1008, "msg": "Server is currently overloaded"})
    maintenance = Fault(400, {"code": -1016, "msg": "Service is under maintenance."})
    server.faults[KLINES] = [busy, Fault(200, "<html>"), busy, maintenance]
    # Of four requests in order, the first fails after three attempts, and the second once.
    found: list[RestAnswer] = []
    answers = client(server, concurrency=1).answers(minutes(hours=24))
    with pytest.raises(RestError, match=r"/fapi/v1/klines: .* HTTP 503 \(up to 3 attempts\)\. Check the network"):
        found.extend(answers)
    assert [f"{answer.request.start:%H:%M}" for answer in found] == ["08:19", "16:38"]


@pytest.mark.requirement("F2.13")
def test_a_dead_host_ends_a_run_in_words() -> None:
    dead = RestClient("binance", {"um": "http://127.0.0.1:9"}, Limits(4, 1, timeout=2.0))
    with pytest.raises(RestError, match=r"cannot connect to 127\.0\.0\.1:9"):
        list(dead.answers(minutes(hours=72)))


@pytest.mark.requirement("F2.13")
def test_funding_has_a_budget_of_its_own(server: ApiServer) -> None:
    tight = pool(1, 3600)
    # The clock of the server took all of the futures' budget.
    own = client(server, tight, pool(10, 3600, FUNDING_POOL), concurrency=1)
    (answer,) = own.answers(windows(endpoint("um", "funding_rates"), "BTCUSDT", START, END))
    assert answer.rows >= 9
    with pytest.raises(RestError, match="one request of weight 2 is more than the budget of 1 in 3600 s for futures"):
        list(own.answers(minutes(hours=3)))


@pytest.mark.requirement("F2.13")
def test_usd_m_and_coin_m_share_one_budget_and_spot_has_another(folder: Path) -> None:
    small, spot = pool(12, 2), pool(100, 2, SPOT_POOL)
    with ApiServer(folder, now=NOW, pools={"futures": small, "spot": spot}) as server:
        requests = [
            each
            for market, symbol in (("um", "BTCUSDT"), ("cm", "BTCUSD_PERP"), ("spot", "BTCUSDT"))
            for each in windows(endpoint(market), symbol, START, END)
        ]
        answers = list(client(server, small, spot).answers(requests))
        assert len(answers) == len(requests)
        assert {call.status for call in server.calls} == {200}


_OTHER = """
import sys
from datetime import timedelta
from crypto_lakehouse_tests.unit.test_rest_client import *
url, number, limit, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
small = pool(limit, seconds)
urls = dict.fromkeys(("spot", "um", "cm"), url)
requests = [each for n in range(number, 20, 2) for each in windows(endpoint(), f"S{n}USDT", START, END)]
answers = list(RestClient("binance", urls, Limits(2, 3), 0.75, pools=[small]).answers(requests))
print(len(answers), sum(answer.rows for answer in answers))
"""


@pytest.mark.requirement("F2.13")
def test_two_processes_share_the_budget_by_the_header_and_skip_nothing(many: Path) -> None:
    # Each alone would use three quarters of the limit, both together a half more than it.
    limit, seconds = 80, 2.0
    with ApiServer(many, now=NOW, pools={"futures": pool(limit, seconds)}) as server:
        run = [sys.executable, "-c", _OTHER, server.url]
        processes = [
            subprocess.Popen(
                [*run, str(number), str(limit), str(seconds)],
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[2],
                env=os.environ,
            )
            for number in range(2)
        ]
        outputs = [process.communicate(timeout=120)[0].split() for process in processes]
        assert outputs == [["90", str(10 * 72)]] * 2
        assert {call.status for call in server.calls} == {200}


@pytest.mark.requirement("F2.13")
def test_two_clients_in_threads_of_one_process_share_the_budget(many: Path) -> None:
    small = pool(60, 2)
    with ApiServer(many, now=NOW, pools={"futures": small}) as server:
        found: list[RestAnswer] = []

        def fetch(number: int) -> None:
            found.extend(client(server, small).answers(windows(endpoint(), f"S{number}USDT", START, END)))

        threads = [threading.Thread(target=fetch, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 54
        assert {call.status for call in server.calls} == {200}


@pytest.mark.requirement("F2.13")
def test_closing_the_answers_stops_all_requests(many: Path) -> None:
    with ApiServer(many, now=NOW) as server:
        requests = [each for number in range(200) for each in windows(endpoint(), f"S{number}USDT", START, END)]
        answers = client(server, pool(100_000, 60)).answers(requests)
        next(answers)
        answers.close()  # type: ignore[attr-defined]
        sent = len(server.calls)
        assert sent < 1800
        # What a run repeats later is the same request.
        assert [each.canonical for each in requests[:9]] == [
            each.canonical for each in windows(endpoint(), "S0USDT", START, END)
        ]
        time.sleep(0.3)
        assert len(server.calls) - sent <= 8


def test_an_unknown_role_and_a_bad_share_are_named() -> None:
    with pytest.raises(KeyError, match="no host 'fapi' of binance; there are spot, um, cm"):
        RestClient("binance", {"fapi": "https://host"})
    with pytest.raises(ValueError, match="more than 0 and at most 1, not 2"):
        RestClient("binance", share=2)
    with pytest.raises(KeyError, match="no REST API of exchange 'acme'"):
        RestClient("acme")
