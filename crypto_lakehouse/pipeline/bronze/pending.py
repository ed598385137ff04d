"""The files that a run of some partitions would fetch, from a listing: nothing is downloaded and nothing is stored."""

from __future__ import annotations

from collections.abc import Sequence

from crypto_lakehouse.archive.model import ArchiveFile
from crypto_lakehouse.lake.storage.ledger import read_states
from crypto_lakehouse.lake.storage.provenance import stored_partition
from crypto_lakehouse.pipeline.bronze.partitions import BronzeIngest
from crypto_lakehouse.pipeline.bronze.selection import Selection
from crypto_lakehouse.pipeline.reconcile import Problem, problem_of
from crypto_lakehouse.schemas.slices import TableSlice


def files_to_fetch(ingest: BronzeIngest, keys: Sequence[str]) -> list[ArchiveFile]:
    """The listed files that the partitions ``keys`` do not hold in that version, by partition and symbol.

    Raises ArchiveError if the archive cannot be listed.
    """
    feed, store = ingest.feed, ingest.store
    if not keys:
        return []
    states = read_states(store, feed, keys)
    bronze = TableSlice.of_feed("bronze", feed)
    is_stored = {key: stored_partition(store, bronze.partition(key)) is not None for key in keys}
    selection = Selection.of(feed, ingest.symbols, ingest.source.symbols(feed), states, keys)
    listed = ingest.source.files(feed, selection.symbols, selection.start, selection.end)

    def is_settled(file: ArchiveFile) -> bool:
        problem = problem_of(file, states[file.period].get(file.object_key))
        return is_stored[file.period] and problem in (None, Problem.QUARANTINED) and not ingest.force

    return [file for file in listed if selection.includes(file) and not is_settled(file)]
