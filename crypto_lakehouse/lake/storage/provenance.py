"""Provenance of stored partitions, written to the Parquet footer and read without the rows.

This module knows the format of the footer. The pipeline computes input fingerprints and decides whether a partition is
rebuilt (``pipeline/fingerprints.py``).
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

from crypto_lakehouse.lake.storage.revisions import Version
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import Partition

_KEY = b"crypto_lakehouse"
# Bytes of the first read, as in Arrow: few footers are longer.
_TAIL = 64 * 1024


@dataclass(frozen=True, slots=True)
class PartitionInfo:
    """The contents of a partition: rows, bytes, distinct symbols, range of the time column (UTC), and its address.

    ``min_time`` and ``max_time`` are None for an empty partition, and for bronze, whose times are still raw integers.
    ``replaced`` is the version with other rows that was stored before it was written; None without one.
    """

    rows: int
    bytes: int
    symbols: int
    min_time: datetime | None
    max_time: datetime | None
    uri: str
    replaced: Version | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """``input_fingerprint``, the fingerprint of inputs and code, and ``facts`` about the rows: names and JSON values.

    Both depend only on inputs and code, because they are bytes of the partition. An empty fingerprint means that the
    inputs are unknown.
    """

    input_fingerprint: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredPartition:
    """A partition of the lake as described by its footer; ``modified`` is the time of writing (UTC)."""

    info: PartitionInfo
    provenance: Provenance
    modified: datetime


def footer(
    provenance: Provenance, symbols: int, min_time: datetime | None, max_time: datetime | None
) -> Mapping[bytes, bytes]:
    """Return key and value for a Parquet footer."""
    values = {
        "made_from": provenance.input_fingerprint,
        "facts": dict(provenance.facts),
        "symbols": symbols,
        "min_time": min_time.isoformat() if min_time else None,
        "max_time": max_time.isoformat() if max_time else None,
    }
    return {_KEY: json.dumps(values, sort_keys=True).encode()}


def provenance_of(metadata: pq.FileMetaData) -> Provenance:
    """Return the provenance in the footer of a file; an empty fingerprint and no facts if the footer has none."""
    record = _record(metadata)
    return Provenance(record.input_fingerprint, record.facts) if record else Provenance("")


def stored_partition(store: LakeStore, partition: Partition) -> StoredPartition | None:
    """Read the footer of a partition; None if the partition does not exist, is damaged or has no provenance.

    Raises LakeError if the storage fails.
    """
    path = partition.path
    file = store.find(path)
    if file is None:
        return None
    try:
        with store.explained("read", path), store.open_file(path) as source:
            tail = _tail(source)
    except FileNotFoundError:
        # Deleted meanwhile: treated as missing, so it is rebuilt.
        return None
    # These errors mean truncated or overwritten bytes: no storage is used here.
    with suppress(OSError, ValueError, NotImplementedError):
        metadata = pq.read_metadata(pa.BufferReader(tail))
        if record := _record(metadata):
            uri = store.polars_uri(path)
            info = PartitionInfo(metadata.num_rows, file.size, record.symbols, record.min_time, record.max_time, uri)
            return StoredPartition(info, Provenance(record.input_fingerprint, record.facts), file.modified)
    return None


class _Record(NamedTuple):
    """The values that ``footer`` writes."""

    input_fingerprint: str
    facts: Mapping[str, Any]
    symbols: int
    min_time: datetime | None
    max_time: datetime | None


def _record(metadata: pq.FileMetaData) -> _Record | None:
    """Return the values under our key in the footer of a file; None if the key is missing or of another writer."""
    with suppress(ValueError):
        match json.loads((metadata.metadata or {}).get(_KEY, b"null")):
            case {
                "made_from": str(input_fingerprint),
                "facts": dict(facts),
                "symbols": int(symbols),
                "min_time": str() | None as first,
                "max_time": str() | None as last,
            }:
                min_time, max_time = (datetime.fromisoformat(text) if text else None for text in (first, last))
                return _Record(input_fingerprint, facts, symbols, min_time, max_time)
    return None


def _tail(source: NativeFile) -> bytes:
    """Return the end of a Parquet file, which includes its footer."""
    size = source.size()
    tail = source.read_at(min(size, _TAIL), max(0, size - _TAIL))
    length = int.from_bytes(tail[-8:-4], "little") + 8
    return tail if length <= len(tail) or length > size else source.read_at(length, size - length)
