"""The files that a run of some partitions would fetch, from a listing: nothing is downloaded and nothing is stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from crypto_lakehouse.archive.model import ArchiveFile
from crypto_lakehouse.lake.storage.provenance import stored_partition
from crypto_lakehouse.pipeline.bronze.partitions import BronzeIngest
from crypto_lakehouse.pipeline.reconcile import Problem, problem_of
from crypto_lakehouse.schemas.slices import TableSlice


def files_to_fetch(ingest: BronzeIngest, keys: Sequence[str]) -> Iterator[ArchiveFile]:
    """Yield the listed files that the partitions ``keys`` do not hold in that version, by partition and symbol.

    A monthly file comes once.

    Raises ArchiveError if the archive cannot be listed, UnknownSymbolsError like the ingest.
    """
    bronze, seen = TableSlice.of_feed("bronze", ingest.feed), set[str]()
    for key, state, listed in ingest.listed(keys):
        is_stored = not ingest.force and stored_partition(ingest.store, bronze.partition(key)) is not None
        for _, files in listed:
            for file in files:
                problem = problem_of(file, state.get(file.object_key))
                is_pending = not is_stored or problem not in (None, Problem.QUARANTINED)
                if is_pending and file.object_key not in seen:
                    seen.add(file.object_key)
                    yield file
