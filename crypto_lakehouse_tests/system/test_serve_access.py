"""Who may read what over HTTP: tokens, scopes, limits, and logs without secrets. Servers are processes."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crypto_lakehouse.api.tokens import TokenFile
from crypto_lakehouse_tests.system.served import Served

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F9.3")]

UM = "/v1/tables/silver.klines_1m/rows?market=um&limit=1"
SPOT = "/v1/tables/silver.klines_1m/rows?market=spot&limit=1"
CANARY = "clh_canary0123456789canary"


@pytest.fixture
def server(served_lake: Path, tmp_path: Path) -> Iterator[Served]:
    with Served(served_lake, tmp_path, "--sql") as running:
        yield running


def test_a_server_is_open_until_a_token_exists_and_stays_closed_when_it_is_revoked(server: Served) -> None:
    assert server.client.get(UM).status_code == 200
    header = server.token("reader")
    for path in (UM, "/v1/tables", "/v1/version", "/v1/openapi.json", "/metrics", "/nothing"):
        refused = server.client.get(path)
        assert (refused.status_code, refused.json()["type"]) == (401, "urn:crypto-lakehouse:problem:no-token"), path
        assert refused.headers["www-authenticate"].startswith("Bearer")
    assert server.client.get("/v1/health").status_code == 200
    secret = header["Authorization"].removeprefix("Bearer ")
    for accepted in (header, {"X-MBX-APIKEY": secret}, {"Authorization": f"bearer {secret}"}):
        assert server.client.get(UM, headers=accepted).status_code == 200
    for wrong in ({"Authorization": f"Basic {secret}"}, {"X-MBX-APIKEY": secret[:-1]}, {"Cookie": f"token={secret}"}):
        assert server.client.get(UM, headers=wrong).status_code == 401
    # A URL ends in logs and histories, so a token in it does not count.
    assert server.client.get(UM, params={"token": secret}).status_code == 401
    assert server.command("tokens", "revoke", "reader").returncode == 0
    assert server.client.get(UM, headers=header).status_code == 401
    assert server.client.get(UM).status_code == 401


def test_the_file_of_tokens_has_hashes_and_is_for_its_owner(server: Served) -> None:
    secret = server.token("reader", "--days", "3")["Authorization"].removeprefix("Bearer ")
    assert re.fullmatch(r"clh_[\w-]{43}", secret)
    assert secret not in server.tokens_path.read_text(encoding="utf-8")
    assert stat.S_IMODE(server.tokens_path.stat().st_mode) == 0o600
    listed = server.command("tokens", "list").stdout
    assert "reader" in listed
    assert "valid" in listed
    assert secret not in listed
    again = server.command("tokens", "add", "reader")
    assert again.returncode == 2
    assert "revoke it first" in again.stderr


def test_an_expired_token_reads_nothing(server: Served) -> None:
    secret = TokenFile(server.tokens_path).add("late", expires=datetime.now(UTC) - timedelta(seconds=1))
    assert server.client.get(UM, headers={"X-MBX-APIKEY": secret}).status_code == 401


def test_a_token_of_um_cannot_read_spot(server: Served) -> None:
    header = server.token("um", "--market", "um")
    get = server.client.get
    assert get(UM, headers=header).status_code == 200
    for path in (
        SPOT,
        "/v1/tables/silver.klines_1m/rows?market=um&market=spot",
        "/v1/bars?market=spot&bars=1h",
        "/v1/panel?market=spot&field=close",
        "/v1/symbols?market=spot",
        "/v1/universe?market=spot&on=2025-01-01",
        "/v1/funding?market=cm",
        "/v1/quarantine?market=spot",
        "/v1/quality/silver.klines_1m?market=spot",
    ):
        refused = get(path, headers=header)
        assert (refused.status_code, refused.json()["type"]) == (403, "urn:crypto-lakehouse:problem:not-allowed"), path
    sql = server.client.post("/v1/sql", json={"query": "SELECT 1"}, headers=header)
    assert sql.status_code == 403
    # Without a market the token reads its own.
    rows = get("/v1/tables/silver.klines_1m/rows?columns=market", headers=header).json()["rows"]
    assert {row["market"] for row in rows} == {"um"}
    for path in ("/v1/tables", "/v1/coverage/BTCUSDT", "/v1/quality"):
        assert {row["market"] for row in get(path, headers=header).json()["rows"]} == {"um"}, path


def test_a_token_of_tables_reads_no_other(server: Served) -> None:
    header = server.token("bars", "--table", "gold.*")
    get = server.client.get
    assert get("/v1/bars?market=um&bars=1h&limit=1", headers=header).status_code == 200
    assert get("/v1/tables/gold.bars_1h", headers=header).status_code == 200
    for path in (UM, "/v1/funding?market=um", "/v1/quarantine", "/v1/tables/silver.klines_1m"):
        assert get(path, headers=header).status_code == 403, path
    assert {row["layer"] for row in get("/v1/tables", headers=header).json()["rows"]} == {"gold"}


def test_sql_is_off_unless_it_is_switched_on(served_lake: Path, tmp_path: Path) -> None:
    with Served(served_lake, tmp_path) as server:
        refused = server.client.post("/v1/sql", json={"query": "SELECT 1"})
        assert (refused.status_code, refused.json()["type"]) == (403, "urn:crypto-lakehouse:problem:sql-off")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_another_address_does_not_start_without_a_valid_token(served_lake: Path, tmp_path: Path, host: str) -> None:
    expired = tmp_path / "tokens.json"
    TokenFile(expired).add("late", expires=datetime.now(UTC) - timedelta(days=1))
    environment = {**os.environ, "LAKEHOUSE_SERVE_TOKENS": str(expired), "LAKEHOUSE_LAKE_URI": str(served_lake)}
    command = [sys.executable, "-m", "crypto_lakehouse", "serve", "--host", host, "--port", "0"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 2
    assert "crypto-lakehouse tokens add" in result.stderr


def test_an_open_server_answers_only_to_names_of_this_machine_and_permits_no_origin(server: Served) -> None:
    port = server.url.rpartition(":")[2]
    for name in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
        assert server.client.get(UM, headers={"Host": name}).status_code == 200
    for name in (f"evil.example:{port}", "evil.example", "", "127.0.0.1.evil.example"):
        assert server.client.get(UM, headers={"Host": name}).status_code in (400, 403), name
    assert server.client.get(UM, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for answer in (server.client.options("/v1/sql", headers=asked), server.client.get(UM, headers=asked)):
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_no_path_reaches_the_file_system(server: Served) -> None:
    for path in (
        "/v1/tables/..%2f..%2fetc/rows",
        "/v1/tables/gold...%2F..%2Fbars_1h/rows",
        "/v1/tables/gold.bars_1h/rows?market=../um",
        "/v1/tables/gold.bars_1h/rows?exchange=..%2F..",
        "/v1/symbols?market=um&table=/etc/passwd",
        "/v1/coverage/..%2F..%2Fetc%2Fpasswd",
        "/v1/quality/..%2F..%2Fetc",
        "/../../etc/passwd",
    ):
        answer = server.client.get(path)
        assert 400 <= answer.status_code < 500, path
        assert "root:" not in answer.text


def test_a_damaged_file_of_tokens_closes_the_server(server: Served) -> None:
    server.token("reader")
    server.tokens_path.write_text("{", encoding="utf-8")
    refused = server.client.get(UM)
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:crypto-lakehouse:problem:tokens-unreadable")
    assert str(server.tokens_path) not in refused.text
    assert str(server.tokens_path) in server.log


def test_no_log_has_a_token_wherever_a_client_puts_it(server: Served) -> None:
    header = server.token("reader")
    secret = header["Authorization"].removeprefix("Bearer ")
    for text in (secret, CANARY):
        server.client.get(UM, headers={"Authorization": f"Bearer {text}"})
        server.client.get(f"/v1/tables/{text}/rows", headers=header)
        server.client.get(f"/{text}", headers=header)
        server.client.get(UM, params={"token": text, "symbols": text, "start": text}, headers=header)
        server.client.get("/v1/bars", params={"market": "um", "bars": text}, headers=header)
        server.client.post("/v1/sql", json={"query": f"SELECT '{text}' FROM nowhere"}, headers=header)
        server.client.request("GET", "/v1/tables", headers={**header, "User-Agent": text, "Referer": text})
        server.client.request(text[:20], "/v1/tables", headers=header)
    last = server.client.get("/v1/version", headers=header)
    line = server.audit(last.headers["request-id"])
    assert (line["who"], line["what"], line["status"]) == ("reader", "/v1/version", 200)
    assert secret not in server.log
    assert CANARY not in server.log
    assert all(json.loads(line) for line in server.log.splitlines())


def test_a_token_that_asks_too_often_is_asked_to_wait(served_lake: Path, tmp_path: Path) -> None:
    with Served(served_lake, tmp_path, serve_rate=1) as server:
        first, second = server.token("first"), server.token("second")
        answers = [server.client.get("/v1/version", headers=first) for _ in range(10)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        assert int(refused[-1].headers["retry-after"]) >= 1
        assert refused[-1].json()["type"] == "urn:crypto-lakehouse:problem:too-many-requests"
        # Others do not wait for it.
        assert server.client.get("/v1/version", headers=second).status_code == 200
