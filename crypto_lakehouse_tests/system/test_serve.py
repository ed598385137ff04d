"""The REST service as a process over a lake of real runs: every format has the rows that ``Lakehouse`` returns."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse_tests.system.served import Served

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F9.1")]

ROWS = "/v1/tables/silver.klines_1m/rows"
BTC = {"market": "um", "symbols": "BTCUSDT", "start": "2024-12-31", "end": "2025-01-01"}
PARQUET = "application/vnd.apache.parquet"
ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture(scope="module")
def server(served_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(served_lake, tmp_path_factory.mktemp("server"), "--sql") as running:
        yield running


@pytest.fixture(scope="module")
def lake(served_lake: Path) -> Lakehouse:
    return Lakehouse(served_lake)


def rows_of(answer: httpx.Response, schema: dict[str, Any]) -> pl.DataFrame:
    """The rows of an answer in any format, with the types of ``schema``, which text formats do not have."""
    assert answer.status_code == 200, answer.text
    kind = answer.headers["content-type"].partition(";")[0]
    if kind == ARROW:
        return pl.DataFrame(pa.ipc.open_stream(answer.content).read_all())
    if kind == PARQUET:
        return pl.DataFrame(pq.read_table(io.BytesIO(answer.content)))
    if kind == "text/csv":
        frame = pl.read_csv(answer.content, infer_schema=False)
    elif kind == "application/x-ndjson":
        frame = pl.DataFrame([json.loads(line) for line in answer.text.splitlines()], infer_schema_length=None)
    else:
        frame = pl.DataFrame(answer.json()["rows"], infer_schema_length=None)
    return frame.select(_typed(name, frame.schema[name], kind) for name, kind in schema.items())


def _typed(name: str, given: pl.DataType, kind: pl.DataType) -> pl.Expr:
    if isinstance(kind, pl.Datetime) and given == pl.String:
        return pl.col(name).str.to_datetime("%Y-%m-%dT%H:%M:%S%.6fZ", time_unit="us", time_zone="UTC")
    if kind == pl.Date and given == pl.String:
        return pl.col(name).str.to_date()
    if kind == pl.Boolean and given == pl.String:
        return pl.col(name) == "true"
    return pl.col(name).cast(kind)


def same(answer: httpx.Response, expected: pl.DataFrame) -> bool:
    # JSON and CSV write NaN as a missing value.
    exact = answer.headers["content-type"] in (ARROW, PARQUET)
    plain = expected if exact else expected.with_columns(pl.selectors.float().fill_nan(None))
    return rows_of(answer, dict(plain.schema)).equals(plain)


@pytest.mark.parametrize("format", ["json", "jsonl", "csv", "arrow", "parquet"])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_rows_in_every_format_are_those_of_the_reader(
    server: Served, lake: Lakehouse, format: str, coding: str
) -> None:
    headers = {"Accept-Encoding": coding}
    for table in ("silver.klines_1m", "gold.continuous_1m", "gold.bars_1h", "silver.funding_rates", "bronze.klines_1m"):
        url = f"/v1/tables/{table}/rows"
        answer = server.client.get(url, params={"market": "um", "format": format}, headers=headers)
        expected = pl.DataFrame(lake.record_batches(table, market="um").read_all())
        assert expected.height
        assert same(answer, expected), table
        is_coded = coding == "gzip" and format != "parquet"
        assert answer.headers.get("content-encoding") == ("gzip" if is_coded else None)


@pytest.mark.parametrize("format", ["json", "csv", "arrow"])
def test_bars_panel_funding_and_lists_are_those_of_the_reader(server: Served, lake: Lakehouse, format: str) -> None:
    um: dict[str, Any] = {"market": "um"}
    day: dict[str, Any] = {**um, "start": "2024-12-31", "end": "2025-01-01"}
    shifted = {**day, "offset": "5m"}
    matrix = lake.panel("close", None, "8h", format="polars", **um)
    cases = [
        ("/v1/bars", {**shifted, "bars": "1h"}, lake.bars(None, "1h", format="polars", **shifted)),
        ("/v1/bars", {**um, "bars": "dollar:50000000"}, lake.bars(None, "dollar:50000000", format="polars", **um)),
        ("/v1/panel", {**um, "field": "close", "interval": "8h"}, matrix),
        ("/v1/funding", {**day, "symbols": "BTC*"}, lake.funding("BTC*", format="polars", **day)),
        ("/v1/universe", {**um, "on": "2025-01-01"}, lake.universe("um", on="2025-01-01", format="polars")),
        ("/v1/symbols", um, pl.DataFrame({"symbol": lake.symbols("um")})),
        ("/v1/tables", {}, lake.tables()),
        ("/v1/tables/gold.bars_1h", {}, lake.describe("gold.bars_1h")),
        ("/v1/coverage/BTCUSDT", um, lake.coverage("BTCUSDT", market="um")),
    ]
    for path, arguments, expected in cases:
        assert expected.height
        assert same(server.client.get(path, params={**arguments, "format": format}), pl.DataFrame(expected)), path


def test_sql_has_the_rows_of_the_reader_and_takes_parameters(server: Served, lake: Lakehouse) -> None:
    query = "SELECT symbol, count(*) AS bars FROM gold.bars_1h WHERE market = $market GROUP BY 1 ORDER BY 1"
    answer = server.client.post("/v1/sql", json={"query": query, "params": {"market": "um"}})
    assert same(answer, lake.sql(query, {"market": "um"}, format="polars"))
    for wrong in (
        "SELEC 1",
        "SELECT * FROM read_csv('/etc/passwd')",
        "COPY (SELECT 1) TO '/tmp/x'",
        "SELECT * FROM no.x",
    ):
        refused = server.client.post("/v1/sql", json={"query": wrong})
        assert refused.status_code in (400, 404), wrong
        assert refused.headers["content-type"] == "application/problem+json"
    # A form of another site can send text, but not JSON.
    text = server.client.post("/v1/sql", content='{"query": "SELECT 1"}', headers={"Content-Type": "text/plain"})
    assert text.status_code == 400


@pytest.mark.parametrize("table", ["silver.klines_1m", "gold.bars_1d", "silver.funding_rates", "ledger.files"])
@pytest.mark.parametrize("arguments", [{}, {"last": "30h"}, {"columns": "symbol", "end": "2025-01-01T07:00"}])
def test_pages_together_are_the_rows_without_a_limit(
    server: Served, lake: Lakehouse, table: str, arguments: dict[str, str]
) -> None:
    arguments = {**arguments, "market": "um", "format": "jsonl"}
    url = f"/v1/tables/{table}/rows"
    expected = server.client.get(url, params=arguments).text.splitlines()
    assert expected
    limit = max(1, len(expected) // 5)
    pages: list[list[str]] = []
    link = server.client.get(url, params={**arguments, "limit": limit})
    while True:
        pages.append(link.text.splitlines())
        if "next-cursor" not in link.headers:
            break
        link = server.client.get(link.links["next"]["url"])
        assert link.status_code == 200, link.text
    assert [line for page in pages for line in page] == expected
    assert {len(page) for page in pages[:-1]} == {limit}


def test_rows_of_another_time_are_those_of_the_reader(server: Served, lake: Lakehouse) -> None:
    now: dict[str, Any] = {"as_of": lake.snapshot()}
    known: dict[str, Any] = {"known_by": "2024-12-31T12:00"}
    um: dict[str, Any] = {"market": "um", "symbols": "BTCUSDT"}
    for time in (now, known):
        wanted = {**um, **time, "bars": "1h"}
        answer = server.client.get("/v1/bars", params={**wanted, "format": "arrow"})
        assert same(answer, lake.bars(format="polars", **wanted))
        wanted = {**um, **time, "field": "close", "interval": "1h"}
        answer = server.client.get("/v1/panel", params={**wanted, "format": "arrow"})
        assert same(answer, lake.panel(format="polars", **wanted))
    expected = pl.DataFrame(lake.record_batches("silver.klines_1m", market="um", **known).read_all())
    assert same(server.client.get(ROWS, params={"market": "um", "format": "arrow", **known}), expected)
    early = server.client.get(ROWS, params={"market": "um", "as_of": "2020-01-01"})
    assert (early.status_code, early.json()["type"]) == (404, "urn:crypto-lakehouse:problem:no-version")
    query = {"query": "SELECT count(*) AS n FROM gold.bars_1h"}
    then, present = (server.client.post("/v1/sql", json={**query, **time}).json() for time in (now, {}))
    assert then == present


def test_a_cursor_fits_only_its_own_request(server: Served) -> None:
    cursor = server.client.get(ROWS, params={**BTC, "limit": 10}).headers["next-cursor"]
    other = server.client.get(ROWS, params={**BTC, "symbols": "ETHUSDT", "cursor": cursor})
    assert (other.status_code, other.json()["type"]) == (400, "urn:crypto-lakehouse:problem:wrong-cursor")
    for wrong in ("", "x", "e30", cursor[:-4], cursor + "AAAA", "☃"):
        assert server.client.get(ROWS, params={**BTC, "cursor": wrong}).status_code == 400


def test_a_client_that_has_the_rows_is_not_sent_them_again(server: Served) -> None:
    for path, arguments in ((ROWS, BTC), ("/v1/bars", {"market": "um", "bars": "4h"}), ("/v1/tables", {})):
        first = server.client.get(path, params=arguments)
        again = server.client.get(path, params=arguments, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        # Another format is another answer.
        other = {"If-None-Match": first.headers["etag"], "Accept": "text/csv"}
        assert server.client.get(path, params=arguments, headers=other).status_code == 200


def test_only_complete_days_may_be_kept(server: Served) -> None:
    def cache(end: str | None) -> str:
        arguments = {"market": "um", "symbols": "BTCUSDT", "end": end}
        answer = server.client.get(ROWS, params={name: value for name, value in arguments.items() if value})
        return answer.headers["cache-control"]

    assert cache("2025-01-01") == cache("2025-01-02") == "private, max-age=3600"
    assert cache("2025-01-02T00:01") == cache(None) == "private, no-cache"


def test_the_accept_header_chooses_the_format(server: Served) -> None:
    for accept, kind in (
        ("*/*", "application/json"),
        ("text/csv;q=0.2, application/x-ndjson", "application/x-ndjson"),
        ("application/jsonl", "application/x-ndjson"),
        (ARROW, ARROW),
    ):
        answer = server.client.get("/v1/tables", headers={"Accept": accept})
        assert answer.headers["content-type"].partition(";")[0] == kind
    refused = server.client.get("/v1/tables", headers={"Accept": "image/png"})
    assert refused.status_code == 406
    assert ARROW in refused.json()["detail"]


def test_zstd_is_preferred_and_is_the_same_text(server: Served) -> None:
    plain = server.client.get(ROWS, params=BTC, headers={"Accept-Encoding": "identity"})
    with server.client.stream("GET", ROWS, params=BTC, headers={"Accept-Encoding": "gzip, zstd"}) as answer:
        assert answer.headers["content-encoding"] == "zstd"
        packed = b"".join(answer.iter_raw())
    with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
        assert stream.read() == plain.content
    with server.client.stream("GET", ROWS, params=BTC, headers={"Accept-Encoding": "gzip"}) as answer:
        assert gzip.decompress(b"".join(answer.iter_raw())) == plain.content


def test_errors_say_what_to_do_next(server: Served, served_lake: Path) -> None:
    for path, status, words in (
        ("/v1/tables/gold.bars_1g/rows", 404, "did you mean bars_1h"),
        (f"{ROWS}?market=ums", 404, "um"),
        (f"{ROWS}?symbol=BTCUSDT", 400, "did you mean symbols?"),
        (f"{ROWS}?market=um&start=yesterday", 400, "ISO 8601"),
        (f"{ROWS}?market=um&columns=closes", 404, "close"),
        (f"{ROWS}?market=um&limit=1000000", 400, "100000"),
        ("/v1/bars?market=um&bars=60m", 400, "1h"),
        ("/v1/universe?market=um", 400, "on"),
        ("/v1/symbols?market=cm", 404, "crypto-lakehouse"),
        ("/nothing", 404, "path"),
    ):
        answer = server.client.get(path)
        problem = answer.json()
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), path
        assert problem["status"] == status
        assert words in problem["detail"], problem
        assert problem["next"]
        assert problem["instance"].endswith(answer.headers["request-id"])
        assert str(served_lake) not in answer.text
    assert server.client.post("/v1/tables").status_code == 405


def test_what_is_missing_is_a_warning_without_the_place_of_the_lake(server: Served, served_lake: Path) -> None:
    answer = server.client.get(ROWS, params={"market": "um", "start": "2024-12-01", "end": "2024-12-31"})
    (warning,) = answer.json()["warnings"]
    assert answer.headers["lake-warning"].startswith(warning[:100])
    assert "2024-12" in warning
    assert str(served_lake) not in answer.text + str(answer.headers)


def test_health_version_metrics_and_quality(server: Served) -> None:
    assert server.client.get("/v1/health").json() == {"status": "ok"}
    assert server.client.get("/v1/version").json()["api"] == "v1"
    sent = server.client.get(ROWS, params=BTC)
    assert len(sent.json()["rows"]) == 1440
    line = server.audit(sent.headers["request-id"])
    assert (line["who"], line["what"], line["status"], line["rows"]) == ("local", "/v1/tables/{table}/rows", 200, 1440)
    assert (line["table"], line["markets"]) == ("silver.klines_1m", ["um"])
    assert line["ms"] > 0
    metrics = server.client.get("/metrics").text
    assert 'crypto_lakehouse_serve_rows_total{route="/v1/tables/{table}/rows"}' in metrics
    quality = server.client.get("/v1/quality").json()["rows"]
    assert {row["holes"] for row in quality if row["layer"] == "silver"} == {0}
    assert server.client.get("/v1/quality/bronze.klines_1m").json()["rows"] == []
    assert server.client.get("/v1/quarantine").status_code == 200
