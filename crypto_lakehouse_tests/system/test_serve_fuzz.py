"""Wrong and odd requests to a real server: no 5xx, and no answer outside of the description."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto_lakehouse_tests.system.served import Served

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F9.1")]

Chosen = dict[str, object]

ODD = st.text(max_size=12) | st.sampled_from(
    ["", " ", "NaN", "null", "-1", "0", "1e9", "../..", "\x00", "'", "*", "!*"]
)


def mostly(*usual: str) -> st.SearchStrategy[str]:
    """One of the usual values or, now and then, anything: a request with several odd values fails at the first."""
    return st.integers(0, 9).flatmap(lambda number: ODD if number == 9 else st.sampled_from(usual))


def arguments(**kinds: st.SearchStrategy[object]) -> st.SearchStrategy[Chosen]:
    return st.fixed_dictionaries({}, optional=kinds)


EARLY = mostly("2024-12-31", "2024-12", "2024-12-30T00:00Z", "0001-01-01", "2024-12-30")
LATE = mostly("2025-01-02", "2025-01-03T00:00+14:00", "9999-12-31T23:59:59.999999", "2025-02")
AS_OF = mostly("2026-12-01", "9999-12-31", "1970-01-01")
LENGTHS = mostly("1d", "999999w", "1m", "36h")
SYMBOLS = mostly("BTCUSDT", "BTC*", "*,!*", "BTCUSDT,,ETHUSDT", "btc-usdt", "\u5e01\u5b89\u4eba\u751fUSDT")
COLUMNS = mostly("symbol", "symbol,exchange", "market,market", "exchange,symbol,market")
TABLES = st.sampled_from(
    ["silver.klines_1m", "silver.funding_rates", "gold.bars_1h", "bronze.klines_1m", "ledger.files", "gold.gaps"]
)
MARKETS = st.lists(mostly("um", "um", "spot", "cm"), max_size=2)
MARKET = mostly("um", "um", "spot")
LIMITS = mostly("1", "7", "100000")
CURSORS = ODD | st.sampled_from(["e30", "bnVsbA", "W10"])
RANGE = {"start": EARLY, "end": LATE}
FUZZ = settings(suppress_health_check=list(HealthCheck), database=None, derandomize=True, max_examples=150)


@pytest.fixture(scope="module")
def server(served_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(served_lake, tmp_path_factory.mktemp("server"), "--sql") as running:
        yield running


def check(server: Served, path: str, chosen: Chosen) -> None:
    answer = server.client.get(path, params={**chosen, "format": "jsonl"})  # type: ignore[arg-type]
    assert answer.status_code < 500, (path, chosen, answer.text)
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]


@FUZZ
@given(TABLES, arguments(**RANGE, symbols=SYMBOLS, columns=COLUMNS, market=MARKETS, limit=LIMITS))
def test_odd_arguments_of_rows_are_answered(server: Served, table: str, chosen: Chosen) -> None:
    check(server, f"/v1/tables/{table}/rows", chosen)


@FUZZ
@given(TABLES, arguments(last=LENGTHS, end=LATE, as_of=AS_OF, market=MARKETS, cursor=CURSORS))
def test_odd_cursors_and_versions_are_answered(server: Served, table: str, chosen: Chosen) -> None:
    check(server, f"/v1/tables/{table}/rows", {**chosen, "limit": "5"})


@FUZZ
@given(
    arguments(**RANGE, known_by=LATE, symbols=SYMBOLS, market=MARKET, offset=mostly("0m", "5m")),
    mostly("1h", "2h", "1d", "1mo", "dollar:1000000", "volume:99999999999999999999", "1h:5m"),
    mostly("close", "symbol", "trade_count"),
)
def test_odd_arguments_of_bars_panels_and_funding_are_answered(
    server: Served, chosen: Chosen, bars: str, field: str
) -> None:
    check(server, "/v1/bars", {**chosen, "bars": bars})
    check(server, "/v1/panel", {**chosen, "field": field, "interval": bars})
    of_bars = ("offset", "known_by")
    check(server, "/v1/funding", {name: value for name, value in chosen.items() if name not in of_bars})


@FUZZ
@given(arguments(start=EARLY, end=LATE, as_of=AS_OF), MARKET, SYMBOLS, EARLY)
def test_odd_arguments_of_lists_are_answered(server: Served, chosen: Chosen, market: str, symbol: str, on: str) -> None:
    check(server, "/v1/symbols", {**chosen, "market": market})
    check(server, "/v1/universe", {"market": market, "on": on})
    check(server, "/v1/coverage/" + quote(symbol, safe=""), {"market": market})


def test_many_odd_requests_had_rows_and_none_was_logged_as_an_error(server: Served) -> None:
    audits = [json.loads(line) for line in server.log.splitlines() if '"crypto_lakehouse.audit"' in line]
    for route in ("/v1/tables/{table}/rows", "/v1/bars", "/v1/panel", "/v1/funding", "/v1/symbols", "/v1/universe"):
        statuses = Counter(line["status"] for line in audits if line["what"] == route)
        assert statuses[200] > 10, (route, statuses)
    assert [line for line in server.log.splitlines() if '"level": "error"' in line] == []


def test_a_fuzzer_finds_no_5xx_and_no_answer_outside_of_the_description(served_lake: Path, tmp_path: Path) -> None:
    pytest.importorskip("schemathesis", reason="schemathesis is not installed: install the extra dev")
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    with Served(served_lake, tmp_path, "--sql") as server:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/v1/openapi.json", "--no-color"),
            *("--checks", checks, "--phases", "examples,coverage,fuzzing", "--max-examples", "12", "--seed", "1"),
        ]
        result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ})
        assert result.returncode == 0, result.stdout[-4000:]
        assert "Tested: 16" in result.stdout
        assert '"level": "error"' not in server.log
