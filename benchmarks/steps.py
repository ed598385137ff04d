"""The fastest single steps from zips to Parquet, without anything between them: a lower bound for the ingest.

These steps check only the sha256 and the CRC, record nothing, and write every batch as its own file in memory. The
module also has the simple way of an experienced user: Polars, one file at a time.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from isal import isal_zlib

from benchmarks.archives import KLINES
from crypto_lakehouse.lake.storage.parquet import GroupWriter
from crypto_lakehouse.schemas import bronze_schema, silver_schema

_BRONZE, _SILVER = bronze_schema(KLINES), silver_schema(KLINES)
_TYPES = {c.name: pl.Int64 if pa.types.is_integer(c.type) else pl.Float64 for c in _BRONZE.columns[:-4]}


def best_steps(paths: Sequence[str], outputs: int) -> int:
    """Take the sha256, inflate, check the CRC, parse one joint CSV, encode one or two Parquet files; return bytes."""
    bodies, heights, hashes = [], [], []
    for path in paths:
        data = Path(path).read_bytes()
        hashes.append(hashlib.sha256(data).hexdigest())
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            (info,) = archive.infolist()
        start = 30 + len(info.filename)
        text = isal_zlib.decompress(data[start : start + info.compress_size], wbits=-15, bufsize=info.file_size)
        assert isal_zlib.crc32(text) == info.CRC
        bodies.append(text[text.index(b"\n") + 1 :])
        heights.append(bodies[-1].count(b"\n"))
    rows = pl.read_csv(b"".join(bodies), has_header=False, schema=_TYPES, quote_char=None).to_arrow()
    names = pa.array(np.repeat(np.arange(len(heights), dtype=np.int32), heights))
    source = {
        "symbol": pa.DictionaryArray.from_arrays(names, pa.array([Path(path).name.split("-")[0] for path in paths])),
        "source_key": pa.DictionaryArray.from_arrays(names, pa.array(list(paths))),
        "source_sha256": pa.DictionaryArray.from_arrays(names, pa.array(hashes)),
        "source_line": pa.array(np.arange(len(names))),
    }
    made = _encoded(pa.table(dict(zip(rows.column_names, rows.columns, strict=True)) | source), _BRONZE)
    if outputs > 1:
        made += _encoded(_silver(rows, source["symbol"]), _SILVER)
    return made


def polars_files(paths: Sequence[str], target: str) -> None:
    """Inflate each zip with the standard library, read it with Polars and write it as one Parquet file."""
    Path(target).mkdir(parents=True, exist_ok=True)
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(archive.namelist()[0])
        rows = pl.read_csv(text, has_header=False, skip_rows=int(text.startswith(b"open")), schema=_TYPES)
        rows.with_columns(pl.from_epoch("open_time", "ms")).write_parquet(Path(target) / f"{Path(path).stem}.parquet")


def _silver(rows: pa.Table, symbols: pa.DictionaryArray) -> pa.Table:
    """Return the file's columns under silver's names: the same number and types, with units ignored."""
    columns = {c.name: rows[name] for c, name in zip(_SILVER.columns[1:12], rows.column_names[:11], strict=True)}
    times = {
        name: columns[name].cast(pa.int64(), safe=False).cast(pa.timestamp("us", "UTC"))
        for name in ("open_time", "close_time")
    }
    counts = {"trade_count": columns["trade_count"].cast(pa.int64(), safe=False)}
    empty = {"contracts": pa.nulls(rows.num_rows, pa.int64())}
    source = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows.num_rows, np.int32)), pa.array(["archive_daily"]))
    return pa.table({"symbol": symbols} | columns | times | counts | empty | {"source": source}).select(
        _SILVER.column_names
    )


def _encoded(table: pa.Table, schema: object) -> int:
    sink = io.BytesIO()
    writer = GroupWriter(sink, schema, ahead=False)  # type: ignore[arg-type]
    writer.write(table)
    writer.close()
    return sink.getbuffer().nbytes
