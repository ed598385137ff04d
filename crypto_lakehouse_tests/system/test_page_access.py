"""Who may look at the page: the login form, its cookie, scopes, and forms of other sites."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from crypto_lakehouse_tests.system.served import Served
from crypto_lakehouse_tests.system.ui import chromium_page

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F9.5", "F9.3")]

QUERY = {"query": "SELECT 1 AS one"}


@pytest.fixture
def server(served_lake: Path, tmp_path: Path) -> Iterator[Served]:
    with Served(served_lake, tmp_path / "server", "--sql") as running:
        yield running


def cookie(headers: dict[str, str]) -> dict[str, str]:
    return {"Cookie": f"crypto_lakehouse_token={headers['Authorization'].removeprefix('Bearer ')}"}


def test_a_login_lasts_until_the_logout(server: Served) -> None:
    secret = server.token("reader", "--market", "um")["Authorization"].removeprefix("Bearer ")
    with chromium_page(1000, 700) as page:
        page.goto(f"{server.url}/page/quality?market=um")
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        page.get_by_label("Token").fill("clh_wrong")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_contain_text("unknown, expired or revoked")
        page.goto(f"{server.url}/page/quality?market=um")
        page.get_by_label("Token").fill(secret)
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("/page/quality\\?market=um"))
        (stored,) = page.context.cookies()
        assert stored.get("httpOnly") is True
        assert stored.get("sameSite") == "Strict"
        assert page.evaluate("document.cookie") == ""
        # The heatmap and the links of /v1 use the cookie, too.
        page.get_by_role("link", name="Coverage").click()
        expect(page.locator("#heatmap")).to_have_attribute("data-state", "drawn")
        assert page.evaluate("fetch('/v1/version').then(answer => answer.status)") == 200
        expect(page.get_by_role("link", name="spot")).to_have_count(0)
        page.goto(f"{server.url}/page/symbol?symbol=BTCUSDT&market=spot")
        expect(page.get_by_role("alert")).to_contain_text("may not read the market binance/spot")
        page.goto(f"{server.url}/page/sql")
        expect(page.get_by_role("main")).to_contain_text("SQL reads any")
        page.goto(server.url)
        page.get_by_role("button", name="Log out reader").click()
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        assert page.context.cookies() == []
    assert secret not in server.log
    assert secret not in server.tokens_path.read_text(encoding="utf-8")


def test_without_a_token_there_is_only_the_form_and_its_files(server: Served) -> None:
    server.token("reader")
    get = server.client.get
    for path in ("/", "/page/symbol", "/page/tables", "/page/nothing", "/page/static/page.css/x", "/page/static/no.js"):
        answer = get(path)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/page/login?next=%2F")
    assert get("/page/data/coverage?exchange=binance&market=um&table=silver.klines_1m").status_code == 401
    assert get("/v1/tables").status_code == 401
    form = get("/page/login?next=https://evil.example/")
    assert form.status_code == 200
    assert "evil" not in form.text
    for file in re.findall(r'(?:href|src)="(/page/static/[^"]+)"', form.text):
        assert get(file).status_code == 200, file


def test_a_cookie_of_another_page_does_not_act(server: Served) -> None:
    sent = cookie(server.token("reader"))
    post = server.client.post
    own, foreign = {"Origin": server.url}, {"Origin": "http://127.0.0.1:1"}
    assert post("/page/sql", data=QUERY, headers=sent | own).status_code == 200
    for wrong in (foreign, {"Origin": "null"}, {}):
        assert post("/page/sql", data=QUERY, headers=sent | wrong).status_code == 401
        assert post("/v1/sql", json=QUERY, headers=sent | wrong).status_code == 401
    assert post("/v1/sql", json=QUERY, headers=sent | own).status_code == 200
    # The header wins over the cookie, and a damaged cookie is none.
    assert server.client.get("/v1/tables", headers={"Authorization": "Bearer x", **sent}).status_code == 401
    assert server.client.get("/v1/tables", headers={"Cookie": "crypto_lakehouse_token=x"}).status_code == 401
    assert server.client.get("/v1/tables", headers={"Cookie": "=;;a[]=1"}).status_code == 401


def test_an_open_server_takes_no_form_of_another_site(server: Served) -> None:
    own = {"Origin": server.url}
    assert server.client.post("/page/sql", data=QUERY, headers=own).status_code == 200
    for wrong in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {}):
        answer = server.client.post("/page/sql", data=QUERY, headers=wrong)
        assert answer.status_code == 403
        assert "by a page of this server" in answer.text
    assert server.client.get("/", headers={"Host": "evil.example"}).status_code == 403


def test_pages_have_a_strict_policy(server: Served) -> None:
    for path in ("/", "/page/tables", "/page/nothing", "/page/static/heatmap.js", "/page/login"):
        answer = server.client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert len(answer.headers.get_list("content-security-policy")) == 1
        assert not re.search(r"<script(?![^>]*(src=|application/json))|\son\w+=|style=", answer.text), path
    # What is no page keeps the policy that allows nothing.
    assert server.client.get("/v1/tables").headers["content-security-policy"].startswith("default-src 'none'; frame")
    line = server.audit(server.client.get("/page/symbol?symbol=BTCUSDT&market=um").headers["request-id"])
    assert (line["what"], line["table"], line["status"]) == ("/page/symbol", "gold.continuous_1m", 200)
    assert "BTCUSDT" not in str(line)


def test_a_server_without_sql_has_no_page_for_it(served_lake: Path, tmp_path: Path) -> None:
    with Served(served_lake, tmp_path / "plain") as server:
        assert "/page/sql" not in server.client.get("/").text
        refused: httpx.Response = server.client.get("/page/sql")
        assert refused.status_code == 403
        assert "SQL is off" in refused.text


def test_an_empty_lake_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    with Served(tmp_path / "lake", tmp_path / "server") as server:
        for path in ("/", "/page/tables", "/page/quality"):
            answer = server.client.get(path)
            assert answer.status_code < 500, path
            assert answer.headers["content-type"].startswith("text/html")
            assert str(tmp_path) not in answer.text
