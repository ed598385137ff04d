"""What a stored partition was made from, kept in its Parquet footer and read back without its rows.

Here belong the footer's form and reading it. What a partition is made from, and whether it has to be made again,
is the pipeline's matter (``pipeline/unchanged.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import NativeFile

from crypto_lakehouse.lake.paths import partition_path
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.schemas import cadence_of

_KEY = b"crypto_lakehouse"
# So much is read at first, as Arrow does: few footers are longer.
_TAIL = 64 * 1024


@dataclass(frozen=True, slots=True)
class PartitionInfo:
    """What a partition holds: rows, bytes, distinct symbols, the span of the time column (UTC), and where it is.

    The span is None for an empty partition, and for bronze, whose times are still raw integers.
    """

    rows: int
    bytes: int
    symbols: int
    min_time: datetime | None
    max_time: datetime | None
    uri: str


@dataclass(frozen=True, slots=True)
class Origin:
    """``made_from``, a fingerprint of sources and code, and ``facts`` about the rows: names and JSON values.

    Both follow from sources and code alone, since they are bytes of the partition. An empty fingerprint means that
    the sources are not known.
    """

    made_from: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredPartition:
    """A partition of the lake as its footer tells of it; ``modified`` is when it was written (UTC)."""

    info: PartitionInfo
    origin: Origin
    modified: datetime


def footer(origin: Origin, symbols: int, min_time: datetime | None, max_time: datetime | None) -> Mapping[bytes, bytes]:
    """Key and value for a Parquet footer."""
    told = {
        "made_from": origin.made_from,
        "facts": dict(origin.facts),
        "symbols": symbols,
        "min_time": min_time.isoformat() if min_time else None,
        "max_time": max_time.isoformat() if max_time else None,
    }
    return {_KEY: json.dumps(told, sort_keys=True).encode()}


def source_of(metadata: pq.FileMetaData) -> str:
    """The fingerprint of what a file was made from, by its own footer; empty where that does not tell."""
    told = _told(metadata)
    return told.made_from if told else ""


def stored_partition(
    store: LakeStore, layer: str, table: str, exchange: str, market: str, key: str
) -> StoredPartition | None:
    """What the footer of a partition tells; None where there is none, where it is damaged, and where its writer
    did not say what it was made from. Raises LakeError if the storage cannot be asked.
    """
    path = partition_path(layer, table, exchange, market, cadence_of(layer, table), key)
    file = store.find(path)
    if file is None:
        return None
    try:
        with store.explained("read", path), store.open_file(path) as source:
            tail = _tail(source)
    except FileNotFoundError:
        # Gone meanwhile: as good as none, since it is made again then.
        return None
    # Cut short or overwritten: no storage is asked here, so it is the bytes that are at fault.
    with suppress(OSError, ValueError, NotImplementedError):
        metadata = pq.read_metadata(pa.BufferReader(tail))
        if told := _told(metadata):
            uri = store.polars_uri(path)
            info = PartitionInfo(metadata.num_rows, file.size, told.symbols, told.min_time, told.max_time, uri)
            return StoredPartition(info, Origin(told.made_from, told.facts), file.modified)
    return None


class _Told(NamedTuple):
    """What ``footer`` has written."""

    made_from: str
    facts: Mapping[str, Any]
    symbols: int
    min_time: datetime | None
    max_time: datetime | None


def _told(metadata: pq.FileMetaData) -> _Told | None:
    """What the footer of a file tells under our key; None where another has written it, or nobody."""
    with suppress(ValueError):
        match json.loads((metadata.metadata or {}).get(_KEY, b"null")):
            case {
                "made_from": str(made_from),
                "facts": dict(facts),
                "symbols": int(symbols),
                "min_time": str() | None as first,
                "max_time": str() | None as last,
            }:
                begin, end = (datetime.fromisoformat(text) if text else None for text in (first, last))
                return _Told(made_from, facts, symbols, begin, end)
    return None


def _tail(source: NativeFile) -> bytes:
    """The end of a Parquet file, from its footer on or from before it."""
    size = source.size()
    tail = source.read_at(min(size, _TAIL), max(0, size - _TAIL))
    length = int.from_bytes(tail[-8:-4], "little") + 8
    return tail if length <= len(tail) or length > size else source.read_at(length, size - length)
