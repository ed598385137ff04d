"""Bronze partitions to silver partitions: clean their rows and record those that are rejected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from crypto_lakehouse.catalog import Feed, parse_partition
from crypto_lakehouse.catalog.symbols import ChosenSymbols
from crypto_lakehouse.concurrency.prefetch import prefetch
from crypto_lakehouse.lake.storage.partitions import find_keys
from crypto_lakehouse.lake.storage.pieces import read_pieces
from crypto_lakehouse.lake.storage.provenance import Provenance, StoredPartition, stored_partition
from crypto_lakehouse.lake.storage.quarantine import record_rejected
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.fingerprints import (
    UNKNOWN,
    chosen_symbols,
    input_fingerprint,
    is_current,
    sources_fingerprint,
)
from crypto_lakehouse.pipeline.neighbours import Neighbourhood, neighbour_keys
from crypto_lakehouse.schemas import silver_schema
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.silver.cleaners import cleaner_of

# Cleaned frames that may wait for the writer, so that reading and cleaning overlap with encoding.
_FRAMES_AHEAD = 1


@dataclass(slots=True)
class SilverPartition:
    """One partition in the feed's silver schema, and the number of rejected bronze rows by reason.

    ``rows`` is an iterator of frames in order, to consume once; ``reasons`` and ``provenance()`` are complete at its
    end.
    If the inputs have not changed, ``unchanged`` is the stored partition, ``rows`` are its rows, and the caller may
    skip them.
    """

    key: str
    input_fingerprint: str
    neighbourhood: Neighbourhood
    chosen: ChosenSymbols
    rows: Iterator[pl.DataFrame] = field(default_factory=lambda: iter(()))
    reasons: dict[str, int] = field(default_factory=dict)
    unchanged: StoredPartition | None = None

    def provenance(self) -> Provenance:
        """The provenance: the input fingerprint, ``quarantined_rows`` and ``quarantine_reasons``, if rows lie outside
        of their file's day, ``rows_from_neighbours`` and ``rows_to_neighbours``, and the symbols that were chosen.
        """
        if self.unchanged is not None:
            return self.unchanged.provenance
        moved = {
            "rows_from_neighbours": self.neighbourhood.received,
            "rows_to_neighbours": self.neighbourhood.handed_over,
        }
        facts = {
            "quarantined_rows": sum(self.reasons.values()),
            "quarantine_reasons": self.reasons,
            **{name: count for name, count in moved.items() if count},
            **self.chosen.facts(),
        }
        return Provenance(self.input_fingerprint, facts)


def silver_partition(feed: Feed, key: str, store: LakeStore, now: datetime, force: bool = False) -> SilverPartition:
    """Clean one stored bronze partition; rejected rows go to the quarantine with their reason.

    The result includes rows of the partition from the files of its neighbours, and excludes rows of its own files that
    belong to a neighbour. It is cleaned in pieces of whole symbols, or of whole primary keys if a symbol is large.
    A stored partition whose inputs have not changed is skipped, unless ``force``. Iterating over the rows raises
    MissingPartition if the bronze partition is missing.
    """
    partition = TableSlice.of_feed("silver", feed).partition(key)
    around, inputs, source = _sources(feed, key, store)
    result = SilverPartition(key, source, around, chosen_symbols(inputs[0]))
    stored = None if force else stored_partition(store, partition)
    if is_current(stored, source, inputs):
        result.unchanged = stored
        result.rows = read_pieces(store, partition, order=silver_schema(feed).id_column)
    else:
        result.rows = prefetch(_cleaned(feed, result, store, now), _FRAMES_AHEAD)
    return result


def up_to_date(feed: Feed, keys: Sequence[str], store: LakeStore) -> set[str]:
    """Those of the partitions ``keys`` whose stored rows ``silver_partition`` would not change."""
    current = set()
    for key in keys:
        _, inputs, source = _sources(feed, key, store)
        stored = stored_partition(store, TableSlice.of_feed("silver", feed).partition(key))
        if is_current(stored, source, inputs):
            current.add(key)
    return current


def stale_successors(feed: Feed, keys: Sequence[str], store: LakeStore, now: datetime) -> Iterator[SilverPartition]:
    """Rebuild the stored partitions next to ``keys`` that the files of ``keys`` have made outdated.

    ``keys`` are the partitions that a run has built. So no stored partition depends on the order in which its
    neighbours were built. The outermost of ``keys`` are checked too, because another run may have stored their
    neighbours meanwhile.
    """
    run_keys = set(keys)
    outer = {key for key in keys if not run_keys.issuperset(neighbour_keys(feed, key))}
    near = sorted(outer.union(*(neighbour_keys(feed, key) for key in outer)))
    for key in stale(feed, near, store):
        yield silver_partition(feed, key, store, now)


def stale(feed: Feed, keys: Sequence[str], store: LakeStore) -> list[str]:
    """Those of ``keys`` whose stored silver comes from other files, or other versions of files, than bronze now holds.

    If a footer has no input fingerprint, modification times are compared. Returns no partition whose bronze or silver
    is missing, and none of archive types whose rows never lie in the files of a neighbour.
    """
    neighbours = {other for key in keys for other in neighbour_keys(feed, key)}
    if not neighbours:
        return []
    near = sorted(neighbours.union(keys))
    bronze = find_keys(store, TableSlice.of_feed("bronze", feed), near)
    silver = find_keys(store, TableSlice.of_feed("silver", feed), keys)
    outdated = []
    for key in (key for key in keys if key in bronze and key in silver):
        around, inputs, source = _sources(feed, key, store)
        stored = stored_partition(store, TableSlice.of_feed("silver", feed).partition(key))
        if stored is None or source == UNKNOWN:
            sources = (key, *(other.key for other in around.neighbours))
            is_stale = any(bronze.get(partition, silver[key]) > silver[key] for partition in sources)
        else:
            is_stale = not is_current(stored, source, inputs)
        if is_stale:
            outdated.append(key)
    return outdated


def _sources(feed: Feed, key: str, store: LakeStore) -> tuple[Neighbourhood, list[StoredPartition | None], str]:
    """The neighbours that hold rows of a partition, all its stored input partitions, and their fingerprint."""
    around = Neighbourhood.find(feed, key, store)
    bronze = stored_partition(store, TableSlice.of_feed("bronze", feed).partition(key))
    inputs = [bronze, *(neighbour.stored for neighbour in around.neighbours)]
    # Rows do not depend on which symbols were chosen, but gold does.
    chosen = [f"{name} {entries}" for name, entries in chosen_symbols(bronze).facts().items()]
    return (
        around,
        inputs,
        sources_fingerprint("silver", silver_schema(feed), [*map(input_fingerprint, inputs), *chosen]),
    )


def _cleaned(feed: Feed, result: SilverPartition, store: LakeStore, now: datetime) -> Iterator[pl.DataFrame]:
    first, end = parse_partition(result.key, feed.cadence)
    for bronze in _pieces(feed, result.neighbourhood, store):
        cleaned = cleaner_of(feed)(bronze, feed, first, end)
        if cleaned.rejected.height:
            rejected = cleaned.rejected.with_columns(
                pl.lit(feed.table).alias("table"), pl.lit("silver").alias("layer"), pl.lit(result.key).alias("period")
            )
            record_rejected(store, feed, result.key, rejected.to_dicts(), now)
            for reason, count in cleaned.rejected.group_by("reason").len().iter_rows():
                result.reasons[reason] = result.reasons.get(reason, 0) + count
        yield cleaned.rows
    result.reasons = dict(sorted(result.reasons.items()))


def _pieces(feed: Feed, around: Neighbourhood, store: LakeStore) -> Iterator[pl.DataFrame]:
    pieces = around.pieces(store)
    if silver_schema(feed).archive_symbol == "symbol":
        return pieces
    # Silver is sorted by another symbol than bronze, so the partition is cleaned as a whole.
    whole = list(pieces)
    return iter([pl.concat(whole)] if whole else [])
