"""What a partition is made from, as a fingerprint, and whether the stored one was made from just that.

Here belong the fingerprints of all layers and the decision that nothing has to be made. They follow from the content
of sources, from settings and from code versions, never from clocks; keeping them is ``lake/origin.py``'s work.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.lake.origin import StoredPartition
from crypto_lakehouse.schemas import Schema, bronze_schema

CODE_VERSIONS = {"bronze": "2", "silver": "3", "gold": "5", "compacted": "1"}
"""Raise a layer's number when its rows change for the same sources: its partitions are made again then."""

UNKNOWN = ""
"""The fingerprint of what cannot be told: nothing that has it is left as it is."""

Row = Mapping[str, Any]


def sources_fingerprint(layer: str, schema: Schema, inputs: Sequence[str]) -> str:
    """sha256 of the layer's code version, the schema and the inputs; UNKNOWN where one of these is."""
    if UNKNOWN in inputs:
        return UNKNOWN
    columns = [(column.name, str(column.type)) for column in schema.columns]
    told = [CODE_VERSIONS[layer], columns, schema.primary_key, schema.row_group_rows, list(inputs)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def made_from(stored: StoredPartition | None) -> str:
    """The fingerprint of a stored partition, as an input of another."""
    return stored.origin.made_from if stored else UNKNOWN


def is_current(stored: StoredPartition | None, expected: str, inputs: Iterable[StoredPartition | None]) -> bool:
    """Whether a stored partition was made from what it would be made from now, and after its stored ``inputs``.

    The times are for those who compare nothing else, such as sensors: a partition must not be older than its inputs.
    """
    if stored is None or expected == UNKNOWN or stored.origin.made_from != expected:
        return False
    return all(stored.modified >= one.modified for one in inputs if one is not None)


def bronze_made_from(feed: Feed, ledger: Iterable[Row]) -> str:
    """The fingerprint of a bronze partition: the files that the ledger says are in it, and their sha256s."""
    files = sorted((row["key"], row["sha256"]) for row in ledger if row["status"] == "ingested")
    return sources_fingerprint("bronze", bronze_schema(feed), [f"{key} {sha256}" for key, sha256 in files])


def is_made_of(feed: Feed, ledger: Mapping[str, Row], stored: StoredPartition | None) -> bool:
    """Whether a stored bronze partition is made of just what the ledger says, by this version of the code."""
    return made_from(stored) == bronze_made_from(feed, ledger.values())
