"""The comparison that decided the lake's Parquet format: bytes per row, write and read time, by encoding and codec.

``python -m benchmarks.layout ARCHIVE`` reads the daily one-minute klines and the trades in a folder of real archive
files. Times are relative to the first layout: medians of interleaved runs on one thread.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import interleaved
from crypto_lakehouse.archive.unzip import read_member
from crypto_lakehouse.catalog import FEEDS
from crypto_lakehouse.transforms.parse import parse_csv

_PRICES = ("open", "high", "low", "close")
_LAYOUTS: dict[str, tuple[str, int | None, str, tuple[str, ...]]] = {
    "zstd 1, plain floats": ("zstd", 1, "PLAIN", ()),
    "zstd 1, split bytes": ("zstd", 1, "BYTE_STREAM_SPLIT", ()),
    "zstd 1, split bytes, prices as dictionaries": ("zstd", 1, "BYTE_STREAM_SPLIT", _PRICES),
    "snappy, split bytes, prices as dictionaries": ("snappy", None, "BYTE_STREAM_SPLIT", _PRICES),
    "lz4, split bytes, prices as dictionaries": ("lz4", None, "BYTE_STREAM_SPLIT", _PRICES),
}
_ROUNDS = 7


def main(archive: Path) -> None:
    """Print a table for each kind of file in the folder."""
    for title, pattern, feed, group in (
        ("minutes", "klines/*/1m", FEEDS["binance", "um", "klines_1m"], 14_400),
        ("aggregate trades", "aggTrades/*", FEEDS["binance", "cm", "agg_trades"], 100_000),
    ):
        parts = []
        for path in sorted(archive.glob(f"data/**/daily/{pattern}/*.zip")):
            try:
                parts.append(parse_csv(read_member(path, f"{path.stem}.csv", 2**30), feed.file_format).rows.to_arrow())
            except Exception as error:
                print(f"{path.name} is left out: {error}")
        if parts:
            _compare(title, pa.concat_tables(parts).combine_chunks(), group)


def _compare(title: str, rows: pa.Table, group: int) -> None:
    required = pa.schema([field.with_nullable(False) for field in rows.schema])
    rows = rows.cast(required)
    files = {name: _write(rows, group, *layout) for name, layout in _LAYOUTS.items()}
    writing = interleaved({n: partial(_write, rows, group, *layout) for n, layout in _LAYOUTS.items()}, _ROUNDS)
    reading = interleaved({n: partial(_read, data) for n, data in files.items()}, _ROUNDS)
    print(f"\n{rows.num_rows:,} {title}\n| layout | bytes a row | write | read |\n|---|---|---|---|")
    for name, data in files.items():
        print(f"| {name} | {len(data) / rows.num_rows:.2f} | {_over(writing, name)} | {_over(reading, name)} |")


def _over(seconds: Mapping[str, float], name: str) -> str:
    return f"{seconds[name] / next(iter(seconds.values())):.2f} x"


def _write(
    rows: pa.Table, group: int, codec: str, level: int | None, floats: str, dictionaries: tuple[str, ...]
) -> bytes:
    sink, encodings = io.BytesIO(), {}
    for field in rows.schema:
        if pa.types.is_floating(field.type) and field.name not in dictionaries:
            # With split bytes the prices of candles take four times the space.
            encodings[field.name] = "PLAIN" if field.name in _PRICES else floats
        elif pa.types.is_integer(field.type):
            encodings[field.name] = "DELTA_BINARY_PACKED"
    coded = [name for name in dictionaries if name in rows.column_names]
    writer = pq.ParquetWriter(
        sink,
        rows.schema,
        compression=codec,
        compression_level=level,
        use_dictionary=coded,
        column_encoding=encodings,
        write_statistics=False,
        write_batch_size=14_400,
        store_schema=False,
    )
    for start in range(0, rows.num_rows, group):
        writer.write_table(rows.slice(start, group), row_group_size=group)
    writer.close()
    return sink.getvalue()


def _read(data: bytes) -> None:
    pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
