"""Bronze partitions to silver partitions: clean their rows, fill in those of REST answers, and record rejected ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
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
from crypto_lakehouse.pipeline.completion.silver_rows import answered_keys, rest_rows, stored_answers
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

    ``is_answered`` says whether REST answers about it are stored, ``rest_rows`` how many of its rows come from them.
    ``rows`` is an iterator of frames in order, to consume once; ``reasons`` and ``provenance()`` are complete at its
    end.
    If the inputs have not changed, ``unchanged`` is the stored partition, ``rows`` are its rows, and the caller may
    skip them.
    """

    key: str
    input_fingerprint: str
    neighbourhood: Neighbourhood
    chosen: ChosenSymbols
    is_answered: bool = False
    rest_rows: int = 0
    rows: Iterator[pl.DataFrame] = field(default_factory=lambda: iter(()))
    reasons: dict[str, int] = field(default_factory=dict)
    unchanged: StoredPartition | None = None

    def provenance(self) -> Provenance:
        """The provenance: the input fingerprint, ``quarantined_rows`` and ``quarantine_reasons``, the symbols that were
        chosen, and, where they are not 0, ``rows_from_neighbours``, ``rows_to_neighbours`` and ``rest_rows``.
        """
        if self.unchanged is not None:
            return self.unchanged.provenance
        counts = {
            "rows_from_neighbours": self.neighbourhood.received,
            "rows_to_neighbours": self.neighbourhood.handed_over,
            "rest_rows": self.rest_rows,
        }
        facts = {
            "quarantined_rows": sum(self.reasons.values()),
            "quarantine_reasons": self.reasons,
            **{name: count for name, count in counts.items() if count},
            **self.chosen.facts(),
        }
        return Provenance(self.input_fingerprint, facts)


def silver_partition(
    feed: Feed,
    key: str,
    store: LakeStore,
    now: datetime,
    force: bool = False,
    answered: Collection[str] | None = None,
) -> SilverPartition:
    """Clean one stored bronze partition; rejected rows go to the quarantine with their reason.

    Rows of stored REST answers fill the keys that the archive's files do not have; those with other values than the
    archive's row go to the quarantine. ``answered`` are the partitions with stored answers; None lists them.

    The result includes rows of the partition from the files of its neighbours, and excludes rows of its own files that
    belong to a neighbour. It is cleaned in pieces of whole symbols, or of whole primary keys if a symbol is large.
    A stored partition whose inputs have not changed is skipped, unless ``force``. Iterating over the rows raises
    MissingPartition if the bronze partition is missing.
    """
    partition = TableSlice.of_feed("silver", feed).partition(key)
    answered = answered_keys(feed, store) if answered is None else answered
    around, inputs, source = _sources(feed, key, store, answered)
    result = SilverPartition(key, source, around, chosen_symbols(inputs[0]), key in answered)
    stored = None if force else stored_partition(store, partition)
    if is_current(stored, source, inputs):
        result.unchanged = stored
        result.rows = read_pieces(store, partition, order=silver_schema(feed).id_column)
    else:
        result.rows = prefetch(_cleaned(feed, result, store, now), _FRAMES_AHEAD)
    return result


def up_to_date(feed: Feed, keys: Sequence[str], store: LakeStore) -> set[str]:
    """Those of the partitions ``keys`` whose stored rows ``silver_partition`` would not change."""
    current, answered = set(), answered_keys(feed, store) if keys else ()
    for key in keys:
        _, inputs, source = _sources(feed, key, store, answered)
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
    outdated, answered = [], answered_keys(feed, store)
    for key in (key for key in keys if key in bronze and key in silver):
        around, inputs, source = _sources(feed, key, store, answered)
        stored = stored_partition(store, TableSlice.of_feed("silver", feed).partition(key))
        if stored is None or source == UNKNOWN:
            sources = (key, *(other.key for other in around.neighbours))
            is_stale = any(bronze.get(partition, silver[key]) > silver[key] for partition in sources)
        else:
            is_stale = not is_current(stored, source, inputs)
        if is_stale:
            outdated.append(key)
    return outdated


def _sources(
    feed: Feed, key: str, store: LakeStore, answered: Collection[str]
) -> tuple[Neighbourhood, list[StoredPartition | None], str]:
    """The neighbours that hold rows of a partition, all its stored input partitions, and their fingerprint."""
    around = Neighbourhood.find(feed, key, store)
    bronze = stored_partition(store, TableSlice.of_feed("bronze", feed).partition(key))
    inputs = [bronze, *(neighbour.stored for neighbour in around.neighbours)]
    facts = [input_fingerprint(each) for each in inputs]
    # Rows do not depend on which symbols were chosen, but gold does.
    facts += [f"{name} {entries}" for name, entries in chosen_symbols(bronze).facts().items()]
    if key in answered:
        rest, fingerprints = stored_answers(feed, key, store)
        inputs, facts = [*inputs, rest], [*facts, *fingerprints]
    return around, inputs, sources_fingerprint("silver", silver_schema(feed), facts)


def _cleaned(feed: Feed, result: SilverPartition, store: LakeStore, now: datetime) -> Iterator[pl.DataFrame]:
    first, end = parse_partition(result.key, feed.cadence)
    rest, bad = rest_rows(feed, result.key, store) if result.is_answered else (None, None)
    for bronze in _pieces(feed, result.neighbourhood, store):
        cleaned = cleaner_of(feed)(bronze, feed, first, end)
        _reject(feed, result, store, cleaned.rejected, now)
        yield cleaned.rows if rest is None else rest.merged(cleaned.rows)
    if rest is not None and bad is not None:
        if (others := rest.others()) is not None:
            yield others
        _reject(feed, result, store, pl.concat([bad, rest.differing]), now)
        result.rest_rows = rest.filled
    result.reasons = dict(sorted(result.reasons.items()))


def _reject(feed: Feed, result: SilverPartition, store: LakeStore, rejected: pl.DataFrame, now: datetime) -> None:
    """Put rows with REJECTED_COLUMNS into the quarantine, and count them."""
    if rejected.is_empty():
        return
    facts = {"table": feed.table, "layer": "silver", "period": result.key}
    rows = rejected.with_columns(pl.lit(value).alias(name) for name, value in facts.items())
    record_rejected(store, feed, result.key, rows.to_dicts(), now)
    for reason, count in rejected.group_by("reason").len().iter_rows():
        result.reasons[reason] = result.reasons.get(reason, 0) + count


def _pieces(feed: Feed, around: Neighbourhood, store: LakeStore) -> Iterator[pl.DataFrame]:
    pieces = around.pieces(store)
    if silver_schema(feed).archive_symbol == "symbol":
        return pieces
    # Silver is sorted by another symbol than bronze, so the partition is cleaned as a whole.
    whole = list(pieces)
    return iter([pl.concat(whole)] if whole else [])
