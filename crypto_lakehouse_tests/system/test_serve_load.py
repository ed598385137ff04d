"""Large answers, slow clients, limits, signals and several workers of the REST service."""

from __future__ import annotations

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path

import boto3
import httpx
import polars as pl
import pyarrow as pa
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.api.answers import COMPUTED_AT_ONCE
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.system.served import Served

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F9.2")]

SLICE = TableSlice("silver", "binance", "um", "klines_1m")
ROWS = "/v1/tables/silver.klines_1m/rows"
ALL = {"market": "um", "format": "arrow"}
SYMBOLS, DAYS = 100, 24
PLAIN = {"Accept-Encoding": "identity"}


@pytest.fixture(scope="module")
def large_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Minutes of a hundred symbols: 3.5 million rows."""
    folder = tmp_path_factory.mktemp("large") / "lake"
    store, schema = LakeStore.open(str(folder)), SLICE.schema.arrow
    names = pl.DataFrame({"symbol": [f"S{number:03}USDT" for number in range(SYMBOLS)]})
    for day in (date(2024, 1, 1) + timedelta(days=number) for number in range(DAYS)):
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        last = start + timedelta(hours=23, minutes=59)
        minutes = pl.datetime_range(start, last, "1m", time_unit="us", eager=True).alias("open_time").to_frame()
        values = {
            "double": pl.lit(1.5),
            "int64": pl.lit(7, pl.Int64),
            "string": pl.lit("archive"),
            "bool": pl.lit(True),
        }
        frame = names.join(minutes, how="cross").with_columns(
            values[str(field.type)].alias(field.name)
            for field in schema
            if str(field.type) in values and field.name != "symbol"
        )
        times = [field.name for field in schema if pa.types.is_timestamp(field.type) and field.name != "open_time"]
        frame = frame.with_columns(pl.col("open_time").alias(name) for name in times)
        table = frame.select(schema.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)
        write_partition(store, SLICE.partition(f"{day}"), table)
    return folder


def taken(server: Served, **arguments: str) -> int:
    """The number of rows of a stream that is read batch by batch."""
    rows = 0
    with server.client.stream("GET", ROWS, params={**ALL, **arguments}, headers=PLAIN) as answer:
        assert answer.status_code == 200
        source = _Body(answer)
        for batch in pa.ipc.open_stream(source):
            rows += batch.num_rows
    return rows


class _Body:
    """The body of an answer as a file that is read as it arrives."""

    closed = False

    def __init__(self, answer: httpx.Response) -> None:
        self._pieces, self._left = answer.iter_raw(), b""

    def read(self, size: int = -1) -> bytes:
        while len(self._left) < size and (piece := next(self._pieces, b"")):
            self._left += piece
        data, self._left = self._left[:size], self._left[size:]
        return data

    def close(self) -> None:
        pass


def test_memory_does_not_grow_with_the_rows_of_a_stream(large_lake: Path, tmp_path: Path) -> None:
    with Served(large_lake, tmp_path) as server:
        # What is loaded and allocated once.
        assert taken(server, end="2024-01-05") == 4 * 1440 * SYMBOLS
        few = server.peak_memory()
        assert taken(server) == DAYS * 1440 * SYMBOLS
        many = server.peak_memory()
    assert many < few * 1.25
    assert many < 300 * 1024**2


def test_clients_that_stop_to_read_hold_no_other(large_lake: Path, tmp_path: Path) -> None:
    with Served(large_lake, tmp_path) as server:
        host, port = server.url.removeprefix("http://").split(":")
        stopped = []
        # More than there are threads.
        for _ in range(45):
            client = socket.create_connection((host, int(port)))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(f"GET {ROWS}?market=um&format=jsonl HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            stopped.append(client)
        for client in stopped:
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        assert taken(server, end="2024-01-02") == 1440 * SYMBOLS
        assert server.client.get("/v1/tables").status_code == 200
        for client in stopped:
            client.close()


def test_an_answer_that_a_client_leaves_is_not_logged_as_complete(large_lake: Path, tmp_path: Path) -> None:
    with Served(large_lake, tmp_path) as server:
        with server.client.stream("GET", ROWS, params=ALL, headers=PLAIN) as answer:
            next(answer.iter_raw())
        line = server.audit(answer.headers["request-id"])
        assert line["outcome"] == "disconnected"
        assert line["rows"] < DAYS * 1440 * SYMBOLS
        whole = server.client.get(ROWS, params={**ALL, "symbols": "S001USDT"})
        assert server.audit(whole.headers["request-id"])["outcome"] == "complete"


def test_a_lake_on_s3_is_served_and_its_bucket_is_named_nowhere(
    served_lake: Path, s3_lake: tuple[str, str, dict[str, str]], tmp_path: Path
) -> None:
    uri, endpoint, credentials = s3_lake
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    for path in served_lake.rglob("*.parquet"):
        client.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(served_lake)}".lstrip("/"))
    expected = pl.DataFrame(Lakehouse(served_lake).record_batches("gold.bars_1h", market="um").read_all())
    own = {key: value for key, value in credentials.items() if not key.startswith("LAKEHOUSE_")}
    server = Served(tmp_path, tmp_path, lake_uri=uri, s3_endpoint_url=endpoint)
    server.environment |= own
    with server:
        first = server.client.get("/v1/tables/gold.bars_1h/rows", params=ALL)
        assert pl.DataFrame(pa.ipc.open_stream(first.content).read_all()).equals(expected)
        known = {"If-None-Match": first.headers["etag"]}
        assert server.client.get("/v1/tables/gold.bars_1h/rows", params=ALL, headers=known).status_code == 304
        for arguments in ({"market": "cm"}, {"market": "um", "start": "2020-01-01", "end": "2020-01-02"}):
            answer = server.client.get("/v1/tables/gold.bars_1h/rows", params=arguments)
            assert answer.json()["warnings"]
            assert "in the lake" in answer.text
            assert f"{bucket}/{prefix}" not in answer.text + str(answer.headers)


ENDLESS = {"query": "SELECT sum(a.range * b.range) AS n FROM range(1000000) a, range(1000000) b"}


def test_many_queries_wait_for_each_other_and_hold_no_rows(served_lake: Path, tmp_path: Path) -> None:
    with Served(served_lake, tmp_path, "--sql", sql_timeout=2) as server, ThreadPoolExecutor(12) as pool:
        queries = [pool.submit(server.client.post, "/v1/sql", json=ENDLESS) for _ in range(2 * COMPUTED_AT_ONCE)]
        rows = server.client.get("/v1/tables/gold.bars_1h/rows", params={"market": "um", "limit": 10})
        assert len(rows.json()["rows"]) == 10
        assert not all(query.done() for query in queries)
        kinds = {query.result().json()["type"].rpartition(":")[2] for query in queries}
        assert kinds == {"query-limit"}


def test_a_query_that_outlives_its_request_holds_its_place_until_it_ends(served_lake: Path, tmp_path: Path) -> None:
    options = {"serve_timeout": 1, "sql_timeout": 6, "serve_concurrency": 1}
    with Served(served_lake, tmp_path, "--sql", **options) as server:
        late = server.client.post("/v1/sql", json=ENDLESS)
        assert (late.status_code, late.json()["type"]) == (503, "urn:crypto-lakehouse:problem:time-limit")
        statuses = [server.client.get("/v1/version").status_code]
        while statuses[-1] == 429:
            statuses.append(server.client.get("/v1/version").status_code)
        assert len(statuses) > 1
        assert statuses[-1] == 200


def test_a_token_has_a_most_of_requests_at_the_same_time(large_lake: Path, tmp_path: Path) -> None:
    with Served(large_lake, tmp_path, serve_concurrency=1) as server:
        with server.client.stream("GET", ROWS, params=ALL, headers=PLAIN) as answer:
            next(answer.iter_raw())
            refused = server.client.get("/v1/tables")
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        server.audit(answer.headers["request-id"])
        # A client may ask again as soon as it has an answer.
        assert {server.client.get("/v1/tables").status_code for _ in range(300)} == {200}


def test_an_answer_that_is_too_large_from_the_start_is_a_problem(served_lake: Path, tmp_path: Path) -> None:
    with Served(served_lake, tmp_path, "--sql", serve_max_rows=100) as server:
        for answer in (
            server.client.get("/v1/bars", params={"market": "um", "bars": "5m"}),
            server.client.get(ROWS, params={"market": "um"}),
            server.client.post("/v1/sql", json={"query": "SELECT * FROM silver.klines_1m"}),
        ):
            assert (answer.status_code, answer.json()["type"]) == (413, "urn:crypto-lakehouse:problem:too-large")
        assert len(server.client.get(ROWS, params={"market": "um", "limit": 100}).json()["rows"]) == 100
        long = server.client.post("/v1/sql", content=b" " * 300_000, headers={"Content-Type": "application/json"})
        assert long.status_code == 413
        connection = HTTPConnection(server.url.removeprefix("http://"))
        connection.request("GET", f"/v1/symbols?market={'u' * 700_000}")
        assert connection.getresponse().status in (400, 414, 431)


@pytest.mark.parametrize(
    ("limit", "outcome"), [({"serve_max_rows": 200_000}, "too-large"), ({"serve_max_bytes": 20_000_000}, "too-large")]
)
def test_a_stream_ends_at_its_limit_and_the_log_says_at_which(
    large_lake: Path, tmp_path: Path, limit: dict[str, int], outcome: str
) -> None:
    with Served(large_lake, tmp_path, **limit) as server:
        assert taken(server, symbols="S001USDT", end="2024-01-04") == 3 * 1440
        with (
            pytest.raises(httpx.RemoteProtocolError),
            server.client.stream("GET", ROWS, params=ALL, headers=PLAIN) as answer,
        ):
            for _ in answer.iter_raw():
                pass
        assert server.audit(answer.headers["request-id"])["outcome"] == outcome


def test_a_slow_stream_ends_at_the_limit_of_time(large_lake: Path, tmp_path: Path) -> None:
    with Served(large_lake, tmp_path, serve_timeout=1) as server:
        with server.client.stream("GET", ROWS, params={**ALL, "format": "csv"}, headers=PLAIN) as answer:
            assert server.audit(answer.headers["request-id"])["outcome"] == "time-limit"
        assert server.client.get("/v1/tables").status_code == 200


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_running_answer_ends_before_the_server_does(
    large_lake: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with Served(large_lake, tmp_path) as server:
        rows = 0
        with server.client.stream("GET", ROWS, params={**ALL, "end": "2024-01-04"}, headers=PLAIN) as answer:
            stream = pa.ipc.open_stream(_Body(answer))
            rows += stream.read_next_batch().num_rows
            server.process.send_signal(number)
            rows += sum(batch.num_rows for batch in stream)
        assert rows == 3 * 1440 * SYMBOLS
        # A second signal would end it at once.
        assert server.process.wait(60) == code
        assert "Traceback" not in server.log


def test_several_workers_share_a_port_and_their_metrics(served_lake: Path, tmp_path: Path) -> None:
    expected = pl.DataFrame(Lakehouse(served_lake).record_batches("gold.bars_1h", market="um").read_all())
    with Served(served_lake, tmp_path, "--workers", "2") as server:
        path = "/v1/tables/gold.bars_1h/rows"
        for _ in range(20):
            # A new connection each time, so that both workers get some.
            answer = httpx.get(f"{server.url}{path}", params=ALL, timeout=60)
            assert pl.DataFrame(pa.ipc.open_stream(answer.content).read_all()).equals(expected)
        metrics = server.client.get("/metrics").text
        counted = [line for line in metrics.splitlines() if line.startswith("crypto_lakehouse_serve_rows_total")]
        assert [
            float(line.split()[-1]) for line in counted if path.rpartition("/")[2] in line and "{table}" in line
        ] == [20.0 * expected.height]
        assert server.stop() == 143
