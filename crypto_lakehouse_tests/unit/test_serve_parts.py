"""The parts of the REST service that need no server: cursors, rates, formats, tokens and their file."""

from __future__ import annotations

import csv
import io
import json
import math
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import anyio.to_thread
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_lakehouse.api.answers import COMPUTED_AT_ONCE, Service
from crypto_lakehouse.api.call import CALL, Call, Slots
from crypto_lakehouse.api.compression import CODINGS, compressed
from crypto_lakehouse.api.config import ServeConfig, is_loopback
from crypto_lakehouse.api.cursor import Cursor
from crypto_lakehouse.api.formats import Form, encoded, negotiate
from crypto_lakehouse.api.limits import RateLimit
from crypto_lakehouse.api.problems import Problem
from crypto_lakehouse.api.tokens import TokenError, TokenFile

NOW = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.mark.requirement("F9.1")
@given(st.text(max_size=60))
def test_any_text_is_a_cursor_of_the_server_or_a_problem(text: str) -> None:
    with pytest.raises(Problem):
        Cursor.parse(text, "request")


@pytest.mark.requirement("F9.1")
@given(st.none() | st.text(max_size=10), st.integers(0, 10**9), st.none() | st.text(max_size=30))
def test_a_cursor_comes_back_as_it_was(key: str | None, skip: int, start: str | None) -> None:
    cursor = Cursor("request", key, skip, "state", start)
    assert Cursor.parse(cursor.text(), "request") == cursor
    with pytest.raises(Problem, match="other arguments"):
        Cursor.parse(cursor.text(), "another")


@pytest.mark.requirement("F9.3")
def test_a_bucket_allows_its_rate_and_twice_as_many_after_a_pause() -> None:
    clock = [0.0]
    limit = RateLimit(10, lambda: clock[0])
    assert [limit.wait("a") for _ in range(20)] == [0.0] * 20
    assert 0 < limit.wait("a") <= 0.1
    assert limit.wait("b") == 0
    clock[0] = 1.0
    assert [limit.wait("a") == 0 for _ in range(11)] == [True] * 10 + [False]


@pytest.mark.requirement("F9.1")
@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form.JSON),
        ("*/*", Form.JSON),
        ("text/html, application/xhtml+xml, */*;q=0.8", Form.JSON),
        ("text/*", Form.CSV),
        ("application/json;q=0.1, text/csv", Form.CSV),
        ("application/vnd.apache.parquet", Form.PARQUET),
        ("TEXT/CSV; charset=utf-8", Form.CSV),
        ("image/png", None),
        ("text/csv;q=0", None),
        (";;,=,q=x", None),
    ],
)
def test_the_best_accepted_format_is_chosen(accept: str, form: Form | None) -> None:
    if form is None:
        with pytest.raises(Problem) as refused:
            negotiate(accept, None)
        assert refused.value.status == 406
    else:
        assert negotiate(accept, None) is form
    assert negotiate(accept, Form.ARROW) is Form.ARROW


# Line breaks, separators, quotes, missing and special values.
ROWS = pl.DataFrame(
    {
        "text": ["a", 'b"\n,;', None, "", "Ω\u2028"],
        "float": [1.5, math.nan, math.inf, None, -0.0],
        "big": [2**60, -1, None, 0, 1],
        "bool": [True, False, None, True, False],
        "time": [NOW, NOW + timedelta(microseconds=1), None, NOW, NOW],
        "list": [[1, 2], [], None, [3], [4]],
    },
    schema_overrides={"time": pl.Datetime("us", "UTC")},
)


@pytest.mark.requirement("F9.1")
@pytest.mark.parametrize("size", [1, 2, 5])
def test_odd_values_survive_every_format_in_batches_of_any_size(size: int) -> None:
    table = ROWS.to_arrow(compat_level=pl.CompatLevel.oldest())
    batches = table.to_batches(max_chunksize=size)
    texts = {form: b"".join(encoded(form, table.schema, batches, {"next": None})) for form in Form}
    assert pl.DataFrame(pa.ipc.open_stream(texts[Form.ARROW]).read_all()).equals(ROWS)
    assert pl.DataFrame(pq.read_table(io.BytesIO(texts[Form.PARQUET]))).equals(ROWS)
    answer = json.loads(texts[Form.JSON])
    assert answer["next"] is None
    assert answer["rows"] == [json.loads(line) for line in texts[Form.JSONL].decode().split("\n") if line]
    assert [row["text"] for row in answer["rows"]] == ROWS["text"].to_list()
    assert [row["float"] for row in answer["rows"]] == [1.5, None, None, None, 0]
    assert [row["big"] for row in answer["rows"]] == ROWS["big"].to_list()
    assert [row["list"] for row in answer["rows"]] == ROWS["list"].to_list()
    assert answer["rows"][1]["time"] == "2025-01-01T00:00:00.000001Z"
    head, *lines = csv.reader(io.StringIO(texts[Form.CSV].decode(), newline=""))
    assert head == ROWS.columns
    assert [line[0] for line in lines] == [text or "" for text in ROWS["text"]]
    assert [line[5] for line in lines] == ["[1, 2]", "[]", "", "[3]", "[4]"]


@pytest.mark.requirement("F9.1")
@pytest.mark.parametrize("form", list(Form))
def test_an_answer_without_rows_is_complete_in_every_format(form: Form) -> None:
    schema = ROWS.to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    text = b"".join(encoded(form, schema, [], {"next": None, "warnings": []}))
    if form is Form.JSON:
        assert json.loads(text) == {"rows": [], "next": None, "warnings": []}
    elif form is Form.CSV:
        assert text.decode().strip().split(",") == ROWS.columns
    elif form is Form.JSONL:
        assert text == b""
    else:
        read = pa.ipc.open_stream(text).read_all() if form is Form.ARROW else pq.read_table(io.BytesIO(text))
        assert (read.num_rows, read.schema.names) == (0, ROWS.columns)


@pytest.mark.requirement("F9.1")
@pytest.mark.parametrize("coding", [*CODINGS, None])
def test_pieces_of_any_length_are_the_same_after_decompression(coding: str | None) -> None:
    pieces = [b"", b"a", b"b" * 500_000, b"", bytes(range(256)) * 999]
    packed = b"".join(compressed(coding, pieces))  # type: ignore[arg-type]
    stream = pa.CompressedInputStream(pa.BufferReader(packed), coding) if coding else pa.BufferReader(packed)
    assert stream.read() == b"".join(pieces)


@pytest.mark.requirement("F9.3")
@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"version": 2, "tokens": []}', '{"version": 1, "tokens": [{}]}']
)
def test_a_damaged_file_of_tokens_is_an_error_and_not_an_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokens.json").write_text(text, encoding="utf-8")
    with pytest.raises(TokenError, match="not a file of tokens"):
        TokenFile(tmp_path / "tokens.json").tokens()


@pytest.mark.requirement("F9.3")
def test_a_change_of_the_file_is_seen_at_the_next_check(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    server, command = TokenFile(tmp_path / "a" / "tokens.json"), TokenFile(tmp_path / "a" / "tokens.json")
    assert server.tokens() == ()
    secret = command.add("one", expires=now + timedelta(days=1), tables=["gold.*"], markets=["um", "binance/cm"])
    token = server.find(secret, now)
    assert token is not None
    assert [token.allows_table(name) for name in ("gold.bars_1h", "silver.klines_1m")] == [True, False]
    markets = [("binance", "um"), ("binance", "cm"), ("binance", "spot"), ("acme", "cm")]
    assert [token.allows_market(*market) for market in markets] == [True, True, False, False]
    assert server.find(secret, now + timedelta(days=1)) is None
    assert server.find(secret[:-1], now) is None
    command.revoke("one")
    assert server.find(secret, now) is None
    assert len(server.tokens()) == 1
    with pytest.raises(TokenError, match="no valid token"):
        command.revoke("one")


@pytest.mark.requirement("F9.3")
@pytest.mark.parametrize(
    ("name", "tables", "markets"),
    [("", None, None), ("a b", None, None), ("a" * 65, None, None), ("a", ["bars"], None), ("a", None, ["../um"])],
)
def test_a_token_with_a_wrong_name_or_scope_is_refused(
    tmp_path: Path, name: str, tables: list[str] | None, markets: list[str] | None
) -> None:
    with pytest.raises(TokenError):
        TokenFile(tmp_path / "tokens.json").add(name, tables=tables, markets=markets)
    assert not (tmp_path / "tokens.json").exists()


@pytest.mark.requirement("F9.3")
def test_only_addresses_of_this_machine_are_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost")] == [True] * 4
    assert not any(map(is_loopback, ("0.0.0.0", "::", "", "10.0.0.1", "localhost.example.org", "127.0.0.1.nip.io")))
    config = ServeConfig("./lake", "tokens.json", workers=3, sql=True)
    monkeypatch.setenv("CRYPTO_LAKEHOUSE_SERVE", "")
    config.export()
    assert ServeConfig.from_environment() == config


@pytest.mark.requirement("F9.2")
def test_a_request_that_ends_before_its_thread_starts_gives_its_place_back(tmp_path: Path) -> None:
    async def main() -> None:
        threads = anyio.to_thread.current_default_thread_limiter()
        threads.total_tokens = 1
        service = Service(ServeConfig(str(tmp_path / "lake"), str(tmp_path / "tokens.json")))
        slots, call, busy = Slots(1), Call(), threading.Event()
        CALL.set(call)
        assert slots.take("a")
        call.occupy(lambda: slots.free("a"))
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, busy.wait)
            while not threads.borrowed_tokens:
                await anyio.sleep(0)
            for compute in (service.compute, service.compute_alone):
                with anyio.move_on_after(0.01) as waiting:
                    await compute(lambda: None)
                assert waiting.cancelled_caught
            call.leave()
            assert slots.take("a")
            busy.set()
        # All places of computations are there again.
        for _ in range(COMPUTED_AT_ONCE + 1):
            call.occupy(lambda: None)
            await service.compute_alone(lambda: None)

    anyio.run(main)
