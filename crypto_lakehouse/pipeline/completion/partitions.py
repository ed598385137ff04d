"""Bronze partitions of REST answers: find what is missing, request exactly that, store the answers, build a partition.

What is missing is decided in ``wanted.py`` and ``probes.py``, ``endpoint.py`` requests it, the partition is built in
``answered.py``, and silver merges it with the archive's rows (``pipeline/silver.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from crypto_lakehouse.archive.model import ArchiveSource
from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.catalog.archive_files import ArchiveFiles
from crypto_lakehouse.catalog.rest import Paging, rest_endpoints_of
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.storage.provenance import Provenance, StoredPartition, stored_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.chosen_files import available_symbols
from crypto_lakehouse.pipeline.completion.answered import Answers
from crypto_lakehouse.pipeline.completion.endpoint import EndpointRequests
from crypto_lakehouse.pipeline.completion.ids import IdRequests
from crypto_lakehouse.pipeline.completion.sending import Client, Counts
from crypto_lakehouse.pipeline.completion.wanted import archive_times
from crypto_lakehouse.schemas.slices import TableSlice


@dataclass(frozen=True, slots=True)
class AnsweredPartition:
    """A bronze partition of answers, its provenance, and what was requested for it.

    ``unchanged`` is the stored partition if its answers have not changed; then ``rows`` has no rows.
    """

    key: str
    rows: pl.DataFrame
    provenance: Provenance
    counts: Counts
    unchanged: StoredPartition | None = None


@dataclass(slots=True)
class Completion:
    """Completes partitions of a feed that the exchange's REST interface can answer.

    Attributes
    ----------
    source
        The archive: it knows which symbols there are.
    client
        Sends the requests; None if nothing is sent.
    symbols
        Only these symbols are completed.
    now
        The clock, UTC.
    force
        Rebuild partitions from the stored answers, even if they have not changed.
    files
        Which files of the archive are used where it has daily and monthly ones.
    """

    feed: Feed
    source: ArchiveSource
    store: LakeStore
    client: Client | None
    symbols: SymbolFilter
    now: Callable[[], datetime]
    force: bool = False
    files: ArchiveFiles = ArchiveFiles.DAILY

    def partitions(self, keys: Sequence[str]) -> Iterator[AnsweredPartition]:
        """Yield the partitions ``keys``, in order, each after its answers are stored.

        The bronze partitions of the archive's files must be stored. Answers are stored in batches, so that a run that
        is killed asks again for few of them.

        Raises
        ------
        RestError
            The exchange cannot be used now; answers that came before are stored.
        ArchiveError
            The archive cannot be listed.
        """
        counts = {key: Counts() for key in keys}
        endpoints = self._endpoints(keys)
        for each in endpoints:
            each.probe(counts)
        for number, key in enumerate(keys):
            for each in endpoints:
                each.request(number, counts[key])
            yield self._partition(key, counts[key])

    def up_to_date(self, keys: Sequence[str]) -> set[str]:
        """Those of the partitions, whose bronze must be stored, that ``partitions`` would leave as they are.

        Lists the symbols of the archive, and sends no request to the exchange.
        """
        if self.force or not keys:
            return set()
        current = set(keys)
        for each in self._endpoints(keys):
            current &= each.complete_keys()
        answers = Answers.read(self.store, self.feed, sorted(current))
        return {key for key in current if self._stored(answers[key]) is not None}

    def _endpoints(self, keys: Sequence[str]) -> list[EndpointRequests] | list[IdRequests]:
        """The requests to each endpoint that answers columns of the feed."""
        listed = self.symbols.select(available_symbols(self.feed, self.source, self.files))
        endpoints = rest_endpoints_of(self.feed)
        common = (self.feed, self.store, self.client, self.now)
        if endpoints[0].paging is Paging.ID:
            return [IdRequests(*common, endpoint, listed, keys, self.source) for endpoint in endpoints]
        present = {key: archive_times(self.feed, key, self.store) for key in keys}
        return [EndpointRequests(*common, endpoint, listed, present, self.source) for endpoint in endpoints]

    def _partition(self, key: str, counts: Counts) -> AnsweredPartition:
        answers = Answers.read(self.store, self.feed, [key])[key]
        stored = None if self.force else self._stored(answers)
        if stored is not None:
            counts.rows = stored.info.rows
            return AnsweredPartition(key, pl.DataFrame(), answers.provenance, counts, stored)
        rows = answers.rows(self.store)
        counts.rows = rows.height
        return AnsweredPartition(key, rows, answers.provenance, counts)

    def _stored(self, answers: Answers) -> StoredPartition | None:
        """The stored partition of answers if it holds exactly these."""
        stored = stored_partition(self.store, TableSlice.of_answers(self.feed).partition(answers.key))
        return stored if stored and stored.provenance.input_fingerprint == answers.fingerprint else None
