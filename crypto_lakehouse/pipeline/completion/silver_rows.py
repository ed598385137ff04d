"""The silver rows of a partition's REST answers, and the stored partition that they come from.

``pipeline/silver.py`` merges them into the rows of the archive's files; the rule is in ``transforms/rest/merge.py``.
"""

from __future__ import annotations

from math import inf

import polars as pl

from crypto_lakehouse.catalog import Feed, parse_partition
from crypto_lakehouse.lake.storage.partitions import list_keys, read_partition
from crypto_lakehouse.lake.storage.provenance import StoredPartition, stored_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.fingerprints import UNKNOWN, input_fingerprint
from crypto_lakehouse.schemas import silver_schema
from crypto_lakehouse.schemas.funding_rates import FUNDING_RATES
from crypto_lakehouse.schemas.futures import OPEN_INTEREST
from crypto_lakehouse.schemas.rest import has_answers
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.rest.archive_rows import archive_rows
from crypto_lakehouse.transforms.rest.funding import with_intervals
from crypto_lakehouse.transforms.rest.merge import RestRows
from crypto_lakehouse.transforms.silver.clean import Cleaned
from crypto_lakehouse.transforms.silver.cleaners import cleaner_of

# Ratios of answers have four decimals, those of files up to fifteen.
_ROUNDING = 0.000051


def answered_keys(feed: Feed, store: LakeStore) -> frozenset[str]:
    """The partitions of a feed that have a stored partition of answers, by one listing; with or without rows."""
    return frozenset(list_keys(store, TableSlice.of_answers(feed))) if has_answers(feed) else frozenset()


def stored_answers(feed: Feed, key: str, store: LakeStore) -> tuple[StoredPartition | None, list[str]]:
    """The stored partition of answers, and its input fingerprint as an input of silver.

    A partition of answers without rows is no input: silver is the same as without it.
    """
    stored = stored_partition(store, TableSlice.of_answers(feed).partition(key))
    if stored is not None and not stored.info.rows:
        return None, []
    fingerprint = input_fingerprint(stored)
    return stored, [UNKNOWN if fingerprint == UNKNOWN else f"rest {fingerprint}"]


def rest_rows(feed: Feed, key: str, store: LakeStore) -> tuple[RestRows, pl.DataFrame]:
    """The silver rows of a partition's stored answers, and the rows that break a rule: REJECTED_COLUMNS.

    Several answers may have the same row: it is no reject. Raises DamagedFile if the partition cannot be read.
    """
    stored = read_partition(store, TableSlice.of_answers(feed).partition(key))
    first, end = parse_partition(key, feed.cadence)
    cleaned = cleaner_of(feed)(archive_rows(stored, feed), feed, first, end)
    return _merger(cleaned, feed), cleaned.rejected.filter(pl.col("reason") != "duplicate")


def _merger(cleaned: Cleaned, feed: Feed) -> RestRows:
    schema = silver_schema(feed)
    if feed.schema == FUNDING_RATES.name:
        return RestRows(cleaned, schema, {"interval_hours": inf}, with_intervals)
    if feed.schema == OPEN_INTEREST.name:
        return RestRows(cleaned, schema, {name: _ROUNDING for name in schema.column_names if name.endswith("_ratio")})
    return RestRows(cleaned, schema, {})
