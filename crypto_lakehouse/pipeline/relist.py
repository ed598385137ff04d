"""List the whole archive again: files of stored partitions that were replaced, or that appeared, since they were built.

Sensors look back some weeks and at some symbols; archives replace files of years ago. This walk lists every symbol of
every stored partition, some partitions at a time. ``reconcile.py`` has the rule; orchestration decides what to run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from crypto_lakehouse.archive.model import ArchiveSource
from crypto_lakehouse.catalog import Feed, parse_partition
from crypto_lakehouse.catalog.archive_files import ArchiveFiles
from crypto_lakehouse.catalog.symbols import ChosenSymbols
from crypto_lakehouse.lake.storage.ledger import read_states
from crypto_lakehouse.lake.storage.partitions import list_keys
from crypto_lakehouse.lake.storage.provenance import stored_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.chosen_files import available_symbols, chosen_files
from crypto_lakehouse.pipeline.fingerprints import chosen_symbols
from crypto_lakehouse.pipeline.reconcile import Difference, Problem, chunks_of, differences
from crypto_lakehouse.schemas.slices import TableSlice


def relisted(feed: Feed, source: ArchiveSource, store: LakeStore, files: ArchiveFiles) -> Iterator[Difference]:
    """Yield the files that the stored partitions of a feed do not hold in the version that the archive lists.

    A file counts if a run has chosen its symbol for the partition, or if the ledger knows it. Quarantined files of the
    listed version do not count: a run would not fetch them again. Memory holds the files of some partitions at a time.
    Raises ArchiveError if the archive cannot be listed, LakeError if the storage fails.
    """
    bronze = TableSlice.of_feed("bronze", feed)
    keys = [key for key in list_keys(store, bronze) if feed.covers(parse_partition(key, feed.cadence)[0])]
    available = available_symbols(feed, source, files) if keys else []
    for chunk in chunks_of(keys, len(available)):
        chosen = {key: chosen_symbols(stored_partition(store, bronze.partition(key))) for key in chunk}
        for span in _without_holes(feed, chunk):
            yield from _of_span(feed, source, store, span, chosen, available, files)


def _of_span(
    feed: Feed,
    source: ArchiveSource,
    store: LakeStore,
    span: Sequence[str],
    chosen: dict[str, ChosenSymbols],
    available: Sequence[str],
    files: ArchiveFiles,
) -> Iterator[Difference]:
    states = read_states(store, feed, span)
    known = {key: {row["symbol"] for row in states[key].values()} for key in span}
    selected = {entries: entries.select(available) for entries in {chosen[key] for key in span}}
    symbols = {*set(available).intersection(*[set().union(*known.values())]), *set().union(*selected.values())}
    start, end = parse_partition(span[0], feed.cadence)[0], parse_partition(span[-1], feed.cadence)[1]
    listed = chosen_files(feed, source, sorted(symbols), start, end, states, files)
    for difference in differences(listed, states):
        key, symbol = difference.period, difference.symbol
        is_wanted = symbol in known[key] or symbol in selected[chosen[key]]
        if is_wanted and difference.problem is not Problem.QUARANTINED:
            yield difference


def _without_holes(feed: Feed, keys: Sequence[str]) -> Iterator[list[str]]:
    """Cut sorted keys where partitions between them are missing."""
    span: list[str] = []
    for key in keys:
        if span and parse_partition(span[-1], feed.cadence)[1] != parse_partition(key, feed.cadence)[0]:
            yield span
            span = []
        span.append(key)
    if span:
        yield span
