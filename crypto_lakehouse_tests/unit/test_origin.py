"""The provenance of a partition: intact, damaged, of another writer, or unreadable."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import polars as pl
import pyarrow.parquet as pq
import pytest

from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.provenance import Provenance, StoredPartition, provenance_of, stored_partition
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.schemas.slices import TableSlice

PARTITION = TableSlice("silver", "binance", "um", "funding_rates").partition("2024-01")
ORIGIN = Provenance("f" * 64, {"rows": [1, 2]})
PROVENANCE = {"made_from": "x", "facts": {}, "symbols": 1, "min_time": None, "max_time": None}


def write(store: LakeStore) -> Path:
    write_partition(store, PARTITION, pl.DataFrame(PARTITION.slice.schema.arrow.empty_table()), ORIGIN)
    (file,) = store.list()
    return Path(store.path(file.path))


def found(store: LakeStore) -> StoredPartition | None:
    return stored_partition(store, PARTITION)


@pytest.mark.requirement("P2")
def test_written_provenance_is_read_back(store: LakeStore) -> None:
    assert found(store) is None
    path = write(store)
    stored = found(store)
    assert stored is not None
    assert stored.provenance == ORIGIN
    assert provenance_of(pq.read_metadata(path)) == ORIGIN
    assert (stored.info.rows, stored.info.symbols, stored.info.min_time) == (0, 0, None)


@pytest.mark.requirement("P2")
def test_a_long_footer_is_read_too(store: LakeStore) -> None:
    path = write(store)
    table = pq.read_table(path)
    facts = {"names": [f"name {number}" for number in range(20_000)]}
    content = {**PROVENANCE, "facts": facts}
    pq.write_table(table.replace_schema_metadata({"crypto_lakehouse": json.dumps(content)}), path)
    stored = found(store)
    assert stored is not None
    assert stored.provenance == Provenance("x", facts)


@pytest.mark.requirement("P2")
def test_a_damaged_footer_counts_as_missing_or_does_no_harm(store: LakeStore) -> None:
    path = write(store)
    whole = path.read_bytes()
    lost = 0
    for place in range(len(whole) - int.from_bytes(whole[-8:-4], "little") - 8, len(whole)):
        for change in (0x01, 0xFF):
            body = bytearray(whole)
            body[place] ^= change
            path.write_bytes(body)
            lost += found(store) is None
    for length in (0, 3, 11, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert found(store) is None
    assert lost > 100


@pytest.mark.requirement("P2")
@pytest.mark.parametrize(
    "value",
    [
        "",
        "1.2.3",
        "[1]",
        "null",
        "{}",
        json.dumps({**PROVENANCE, "made_from": 1}),
        json.dumps({**PROVENANCE, "facts": []}),
        json.dumps({**PROVENANCE, "symbols": "many"}),
        json.dumps({**PROVENANCE, "min_time": "noon"}),
        json.dumps({**PROVENANCE, "max_time": 5}),
        b"\xff",
    ],
)
def test_metadata_of_another_writer_under_our_key_is_ignored(store: LakeStore, value: str | bytes) -> None:
    path = write(store)
    pq.write_table(pq.read_table(path).replace_schema_metadata({"crypto_lakehouse": value}), path)
    assert found(store) is None
    assert provenance_of(pq.read_metadata(path)) == Provenance("")


class _Refusing(BaseHTTPRequestHandler):
    """An S3 that lists every object but refuses to read any."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.send_header("Last-Modified", format_datetime(datetime(2024, 1, 1, tzinfo=UTC), usegmt=True))
        self.end_headers()

    def do_GET(self) -> None:
        self.send_error(403)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[LakeStore]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-user")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield LakeStore.open("s3://bucket/lake", s3_endpoint_url=f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()


@pytest.mark.requirement("P2", "F3.3")
def test_a_footer_without_read_permission_is_an_error_and_not_none(refusing: LakeStore) -> None:
    with pytest.raises(LakeError, match=r"cannot read s3://bucket/lake/silver/funding_rates.*AWS_ACCESS_KEY_ID"):
        found(refusing)
