"""Fast paths (batches, threads, dictionary text) give the same rows and bytes as the plain path."""

from __future__ import annotations

import hashlib
import io
import tempfile
import threading
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_lakehouse.archive.model import ArchiveFile, FetchedFile, RejectedFile
from crypto_lakehouse.catalog import FileFormat
from crypto_lakehouse.catalog import feed as feed_of
from crypto_lakehouse.catalog.binance_files import EOH_SUMMARY, FUNDING_RATE, KLINES, METRICS
from crypto_lakehouse.concurrency.prefetch import prefetch
from crypto_lakehouse.lake.storage.parquet import GroupWriter, conform, symbol_runs
from crypto_lakehouse.pipeline.bronze.parsing import Reading, read_blocks, read_together
from crypto_lakehouse.schemas import bronze_schema
from crypto_lakehouse.transforms.parse import (
    ParsedRows,
    UnusableFile,
    _parse_line_by_line,
    _read,
    _read_by_arrow,
    parse_blocks,
    parse_csv,
    parse_joined,
)

pytestmark = pytest.mark.requirement("P3")

FUNDING = feed_of("binance", "um", "funding_rates")
USUAL = {
    KLINES: "1577836800000,7195.24,7196.25,7183.14,7186.68,51.64,1577836859999,371233.5,493,19.5,140000.5,0",
    FUNDING_RATE: "1775001600000,8,-0.00003449",
    METRICS: "2023-05-01 00:05:00,BTCUSDT,12.5,3,4,5,1.5,2",
    EOH_SUMMARY: f"2023-05-18,7,BTC-230526-25000-C,BTCUSDT,C,25000{',1.5' * 20}",
}
ODD = [
    *("", " 1", "1 ", "+1", "-1", "1.0", "493.0", "1e5", "nan", "inf", "-inf", "1e400", "0x10", "1_0", ".5", "5."),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "99999999999999999999", "--1", "1\x00"),
    *("０", "00012", "-0", "1f", "null", '"1"', "1,2", "0.30000000000000004", "4.9e-324", "2.2250738585072011e-308"),
    "0X1f",
]


@st.composite
def files(draw: st.DrawFn) -> tuple[FileFormat, list[bytes]]:
    """Some files of one format; most lines are usual, some have one odd field."""
    file_format = draw(st.sampled_from(sorted(USUAL, key=lambda one: one.name)))
    usual = USUAL[file_format].split(",")
    made = []
    for _ in range(draw(st.integers(1, 4))):
        lines = [",".join(file_format.column_names)] if draw(st.booleans()) else []
        for _ in range(draw(st.integers(0, 4))):
            fields = list(usual)
            if draw(st.integers(0, 5)) == 0:
                fields[draw(st.integers(0, len(fields) - 1))] = draw(st.sampled_from(ODD))
            lines.append(",".join(fields) + draw(st.sampled_from([*[""] * 9, ",", "0", '"'])))
        end = draw(st.sampled_from(["\n", "\n", "", "\r\n", "\n\n"]))
        made.append(draw(st.sampled_from([b"", b"", b"", b"\xef\xbb\xbf"])) + ("\n".join(lines) + end).encode())
    return file_format, made


def same(left: pl.DataFrame, right: pl.DataFrame) -> bool:
    """Equal in every bit that a reader can see; NaN equals NaN."""
    return left.schema == right.schema and str(left.rows()) == str(right.rows())


@settings(max_examples=200)
@given(files())
def test_files_read_together_equal_each_file_read_line_by_line(drawn: tuple[FileFormat, list[bytes]]) -> None:
    file_format, texts = drawn
    joined = parse_joined(texts, file_format)
    if joined is None:
        return
    rows, heights = joined
    begin = 0
    for text, height in zip(texts, heights, strict=True):
        has_header = text.startswith(file_format.column_names[0].encode())
        slow = _parse_line_by_line(text, file_format, has_header, 1)
        assert not slow.rejected
        assert same(rows[begin : begin + height], slow.rows)
        begin += height
    assert begin == rows.height


@settings(max_examples=300)
@given(files())
def test_every_way_of_reading_types_the_same_lines(drawn: tuple[FileFormat, list[bytes]]) -> None:
    file_format, texts = drawn
    text = b"".join(texts).replace(b"\xef\xbb\xbf", b"")
    slow = _parse_line_by_line(text, file_format, False, 1)
    for read in (_read, _read_by_arrow):
        rows = read(text, file_format, False)
        # Only the count of lines reveals a text that is not a line of its own.
        if rows is not None and text.endswith(b"\n") and rows.height == text.count(b"\n"):
            assert not slow.rejected
            assert same(rows, slow.rows.drop("source_line"))


@settings(max_examples=200)
@given(files(), st.integers(1, 200))
def test_a_file_is_the_same_wherever_its_blocks_end(drawn: tuple[FileFormat, list[bytes]], size: int) -> None:
    file_format, (text, *_) = drawn
    good = f"{USUAL[file_format]}\n".encode()
    has_header = text.removeprefix(b"\xef\xbb\xbf").startswith(file_format.column_names[0].encode())
    # Behind a good first line, as a file without one is refused as a whole from its first block.
    begin, _, rest = text.partition(b"\n")
    text = b"\n".join([begin, good + rest]) if has_header else good + text
    size += max(map(len, text.splitlines(keepends=True)))
    assert facts(parse_blocks([text], file_format, size)) == facts([parse_csv(text, file_format)])


def facts(blocks: Iterable[ParsedRows]) -> tuple[list[str], list[Any]]:
    """Rows and rejected rows of all blocks."""
    try:
        made = list(blocks)
    except UnusableFile as error:
        return [error.reason], []
    return [str(row) for block in made for row in block.rows.rows()], [row for block in made for row in block.rejected]


@pytest.mark.parametrize("file_format", list(USUAL), ids=lambda one: one.name)
def test_usual_files_are_read_together(file_format: FileFormat) -> None:
    header, line = ",".join(file_format.column_names), USUAL[file_format]
    texts = [f"{line}\n{line}\n".encode(), f"{header}\n{line}\n".encode(), f"{line}\n".encode()]
    joined = parse_joined(texts, file_format)
    assert joined is not None
    assert joined[1] == [2, 1, 1]
    assert joined[0]["source_line"].to_list() == [1, 2, 2, 1]
    assert same(joined[0], pl.concat([parse_csv(text, file_format).rows for text in texts]))


def test_a_carriage_return_in_one_file_cannot_move_rows_to_another() -> None:
    # A blank line too few here and a lone carriage return there would keep the sum of rows and break their sources.
    line = USUAL[FUNDING_RATE]
    assert parse_joined([f"{line}\n\n{line}\n".encode(), f"{line}\r{line}\n".encode()], FUNDING_RATE) is None


def fetched(folder: Path, symbol: str, texts: dict[str, bytes]) -> FetchedFile:
    key = f"data/futures/um/monthly/fundingRate/{symbol}/{symbol}-fundingRate-2026-04.zip"
    path = folder / Path(key).name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    file = ArchiveFile(key, symbol, "2026-04", path.stat().st_size, symbol, datetime(2026, 5, 1, tzinfo=UTC))
    return FetchedFile(file, path, hashlib.sha256(path.read_bytes()).hexdigest())


KINDS = {
    "good": "1775001600000,8,0.1\n1775030400000,8,0.2\n",
    "header": "calc_time,funding_interval_hours,last_funding_rate\n1775001600000,8,0.1\n",
    "one bad line": "1775001600000,8,0.1\n1775001600000,8\n",
    "empty": "",
    "wrong": "1,2,3,4\n",
}


@settings(max_examples=60)
@given(st.lists(st.sampled_from([*KINDS, "two members", "did not come"]), min_size=1, max_size=6))
def test_a_batch_equals_its_files_read_one_by_one(kinds: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        batch: list[FetchedFile | RejectedFile] = []
        for number, kind in enumerate(kinds):
            symbol = f"S{number}USDT"
            csv = f"{symbol}-fundingRate-2026-04.csv"
            members = {csv: KINDS.get(kind, "").encode()} | ({"more.csv": b""} if kind == "two members" else {})
            file = fetched(Path(name), symbol, members)
            batch.append(RejectedFile(file.file, "not_found", "gone") if kind == "did not come" else file)
        assert outcomes(read_together(FUNDING, batch)) == outcomes(
            one for file in batch for one in read_blocks(FUNDING, file)
        )


def outcomes(results: Any) -> list[Any]:
    """The result of each file, from any Reading that includes it."""
    facts: list[Any] = []
    for result in results:
        if isinstance(result, RejectedFile):
            facts.append(result)
            continue
        assert isinstance(result, Reading)
        begin = 0
        for file, height, refused in zip(result.files, result.heights, result.refused, strict=True):
            facts.append((file, result.rows.slice(begin, height).to_pylist(), refused))
            begin += height
    return facts


@settings(max_examples=60)
@given(st.data())
def test_coded_text_gives_the_bytes_of_plain_text_however_it_is_cut(data: st.DataObject) -> None:
    heights = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=8))
    total = sum(heights)
    symbols = [f"S{number}USDT" for number, height in enumerate(heights) for _ in range(height)]
    plain = pa.table(
        {
            **{
                name: pa.array([1_775_001_600_000 + at for at in range(total)])
                for name in FUNDING_RATE.column_names[:2]
            },
            "last_funding_rate": pa.array([float(at) for at in range(total)]),
            "symbol": symbols,
            "source_key": [f"key-of-{symbol}" for symbol in symbols],
            "source_sha256": [f"sha-of-{symbol[:2]}" for symbol in symbols],
            "source_line": pa.array(range(1, total + 1)),
        }
    )
    coded = plain
    for name in ("symbol", "source_key", "source_sha256"):
        spare = pa.array(["unused", *plain[name].unique().to_pylist()])
        codes = pa.array([spare.to_pylist().index(text) for text in plain[name].to_pylist()], pa.int32())
        coded = coded.set_column(coded.column_names.index(name), name, pa.DictionaryArray.from_arrays(codes, spare))
    cuts = sorted({0, total, *data.draw(st.lists(st.integers(0, total), max_size=5))})
    kinds = data.draw(st.lists(st.sampled_from([plain, coded]), min_size=len(cuts), max_size=len(cuts)))
    frames = [kind.slice(a, b - a) for kind, a, b in zip(kinds, cuts, cuts[1:], strict=False)]
    limit = data.draw(st.sampled_from([7, 40, 10_000]))
    assert parquet(frames, limit, data.draw(st.booleans())) == parquet([plain], limit, data.draw(st.booleans()))
    assert [n for frame in [coded] for _, n in symbol_runs(frame)] == heights


def parquet(tables: list[pa.Table], limit: int, prefetch: bool) -> bytes:
    schema = replace(bronze_schema(FUNDING), row_group_rows=limit)
    sink = io.BytesIO()
    writer = GroupWriter(sink, schema, prefetch)
    for table in tables:
        writer.write(conform(table, schema, nulls_allowed=False))
    writer.close()
    assert pq.read_table(io.BytesIO(sink.getvalue())).num_rows == sum(table.num_rows for table in tables)
    return sink.getvalue()


def test_coded_rows_in_disorder_are_sorted_by_their_text() -> None:
    schema = bronze_schema(FUNDING)
    symbols = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int32()), pa.array(["ZUSDT", "AUSDT"]))
    table = pa.table(
        {
            "calc_time": [1, 2, 3],
            "funding_interval_hours": [8, 8, 8],
            "last_funding_rate": [0.1, 0.2, 0.3],
            "symbol": symbols,
            "source_key": ["k", "k", "k"],
            "source_sha256": ["s", "s", "s"],
            "source_line": [2, 1, 1],
        }
    )
    sorted_rows = conform(table, schema, nulls_allowed=False)
    assert sorted_rows["symbol"].to_pylist() == ["AUSDT", "ZUSDT", "ZUSDT"]
    assert sorted_rows["source_line"].to_pylist() == [1, 1, 2]


@given(st.lists(st.integers(), max_size=30), st.integers(1, 4))
def test_items_produced_ahead_keep_their_order(items: list[int], depth: int) -> None:
    assert list(prefetch(iter(items), depth)) == items


def test_an_error_ahead_comes_where_its_item_would_have_been() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("no second")

    taken = prefetch(items(), 2)
    assert next(taken) == 1
    with pytest.raises(ValueError, match="no second"):
        next(taken)


def test_closing_the_consumer_ends_the_thread_and_closes_its_items() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    taken = prefetch(endless(), 2)
    next(taken)
    taken.close()
    assert closed.is_set()
    assert not [one for one in threading.enumerate() if one.name == "lakehouse-ahead" and one.is_alive()]
