"""Input fingerprints of partitions, and the decision whether a stored partition is up to date.

A fingerprint covers the content of the sources, the settings and the code version, never a clock.
``lake/storage/provenance.py`` stores fingerprints.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.catalog.symbols import ChosenSymbols
from crypto_lakehouse.lake.storage.provenance import StoredPartition
from crypto_lakehouse.schemas import Schema, bronze_schema
from crypto_lakehouse.schemas.versions import CODE_VERSIONS

UNKNOWN = ""
"""The fingerprint of unknown inputs: a partition with such an input is always rebuilt."""

Row = Mapping[str, Any]


def sources_fingerprint(layer: str, schema: Schema, inputs: Sequence[str]) -> str:
    """sha256 of the layer's code version, the schema and the inputs; UNKNOWN if an input is UNKNOWN."""
    if UNKNOWN in inputs:
        return UNKNOWN
    columns = [(column.name, str(column.type)) for column in schema.columns]
    content = [CODE_VERSIONS[layer], columns, schema.primary_key, schema.row_group_rows, list(inputs)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def input_fingerprint(stored: StoredPartition | None) -> str:
    """The input fingerprint of a stored partition, to use as an input of another partition."""
    return stored.provenance.input_fingerprint if stored else UNKNOWN


def chosen_symbols(stored: StoredPartition | None) -> ChosenSymbols:
    """Return the symbols that were chosen for a stored partition; all if its footer does not say it."""
    return ChosenSymbols.of_facts(stored.provenance.facts if stored else {})


def is_current(stored: StoredPartition | None, expected: str, inputs: Iterable[StoredPartition | None]) -> bool:
    """Whether a stored partition has the fingerprint ``expected`` and is not older than its stored ``inputs``.

    The comparison of times keeps this consistent with sensors, which compare times only.
    """
    if stored is None or expected == UNKNOWN or stored.provenance.input_fingerprint != expected:
        return False
    return all(stored.modified >= source.modified for source in inputs if source is not None)


def bronze_fingerprint(feed: Feed, ledger: Iterable[Row]) -> str:
    """The fingerprint of a bronze partition: its ingested files, by the ledger, and their sha256s."""
    files = sorted((row["key"], row["sha256"]) for row in ledger if row["status"] == "ingested")
    return sources_fingerprint("bronze", bronze_schema(feed), [f"{key} {sha256}" for key, sha256 in files])


def is_made_of(feed: Feed, ledger: Mapping[str, Row], stored: StoredPartition | None) -> bool:
    """Whether a stored bronze partition holds exactly the ledger's ingested files, built by this code version."""
    return input_fingerprint(stored) == bronze_fingerprint(feed, ledger.values())
