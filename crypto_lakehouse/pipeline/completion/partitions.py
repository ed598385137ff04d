"""Bronze partitions of REST answers: find what is missing, request exactly that, store the answers, build a partition.

What is missing is decided in ``wanted.py`` and ``probes.py``, the partition is built in ``answered.py``, silver merges
it with the archive's rows (``pipeline/silver.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Protocol, TypeVar

import polars as pl

from crypto_lakehouse.archive.model import ArchiveSource
from crypto_lakehouse.catalog import Feed, partition_key
from crypto_lakehouse.catalog.archive_files import ArchiveFiles
from crypto_lakehouse.catalog.rest import RestEndpoint, rest_endpoint_of
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.storage.answers import keep_body, record_answers
from crypto_lakehouse.lake.storage.provenance import Provenance, StoredPartition, stored_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.chosen_files import available_symbols
from crypto_lakehouse.pipeline.completion.answered import Answers, Row, rows_within
from crypto_lakehouse.pipeline.completion.probes import first_request, probes
from crypto_lakehouse.pipeline.completion.wanted import Day, complete_until
from crypto_lakehouse.pipeline.fingerprints import UNKNOWN
from crypto_lakehouse.rest.model import AnswerStatus, RestAnswer
from crypto_lakehouse.rest.requests import RestRequest, from_milliseconds
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.answers import answer_frame
from crypto_lakehouse.transforms.rest.missing import Settled
from crypto_lakehouse.transforms.silver.clean import midnight

T = TypeVar("T")

# Answers that a killed run loses at most; they are requested again.
_BATCH = 64
_BAD_ANSWER = "bad_answer"


class Client(Protocol):
    """What sends requests: ``rest.client.RestClient``."""

    def answers(self, requests: Iterable[RestRequest]) -> Iterator[RestAnswer]:
        """Yield the answers as they arrive."""
        ...


@dataclass(slots=True)
class Counts:
    """What was requested for a partition: answers by status, and rows of the partition that come from answers."""

    answered: int = 0
    empty: int = 0
    refused: int = 0
    rows: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        """All answers."""
        return self.answered + self.empty + self.refused

    def add(self, row: Row) -> None:
        """Count a row of the ledger."""
        setattr(self, row["status"], getattr(self, row["status"]) + 1)
        if row["reason"]:
            self.reasons[row["reason"]] = self.reasons.get(row["reason"], 0) + 1


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
        days, symbols = self._days(keys), self._symbols()
        counts = {day.key: Counts() for day in days}
        self._find_first(days, symbols, counts)
        self._probe(days, symbols, counts)
        for day in days:
            for answers in self._sent(day.requests(symbols, self.now())):
                rows = [self._row(answer, answer.request.start, answer.request.end, day.key) for answer in answers]
                self._record(day, list(filter(None, rows)), counts[day.key])
            yield self._partition(day.key, counts[day.key])

    def up_to_date(self, keys: Sequence[str]) -> set[str]:
        """Those of the partitions, whose bronze must be stored, that ``partitions`` would leave as they are.

        Lists the symbols of the archive, and sends no request to the exchange.
        """
        if self.force or not keys:
            return set()
        symbols, now, current = self._symbols(), self.now(), set()
        for day in self._days(keys):
            stored = stored_partition(self.store, self._slice.partition(day.key))
            is_built = stored is not None and stored.provenance.input_fingerprint == day.answers.fingerprint
            if is_built and not any(day.missing(symbol, now).size for symbol in symbols):
                current.add(day.key)
        return current

    @property
    def endpoint(self) -> RestEndpoint:
        """The endpoint that answers the rows of the feed."""
        endpoint = rest_endpoint_of(self.feed)
        assert endpoint is not None
        return endpoint

    @property
    def _slice(self) -> TableSlice:
        return TableSlice.of_answers(self.feed)

    def _days(self, keys: Sequence[str]) -> list[Day]:
        answers = Answers.read(self.store, self.feed, list(dict.fromkeys([*keys, self._first_key])))
        first: dict[str, datetime] = {}
        for row in answers[self._first_key].ledger:
            self._take_first(row, first)
        now = self.now()
        return [Day.of(answers[key], self.endpoint, self.store, first, now) for key in keys]

    def _symbols(self) -> list[str]:
        listed = available_symbols(self.feed, self.source, self.files)
        return [symbol for symbol in self.symbols.select(listed) if self.endpoint.has_symbol(symbol)]

    def _find_first(self, days: Sequence[Day], symbols: Sequence[str], counts: Mapping[str, Counts]) -> None:
        """Find the first row of the symbols of which nothing is known at the start of the days."""
        requests = [
            first_request(self.endpoint, symbol, self._since) for symbol in symbols if _begins_open(symbol, days)
        ]
        for answers in self._sent(filter(None, requests)):
            rows = list(filter(None, map(self._first_row, answers)))
            record_answers(self.store, self.feed, self._first_key, rows)
            for row in rows:
                self._take_first(row, days[0].first)
                counts[days[0].key].add(row)

    def _take_first(self, row: Row, first: dict[str, datetime]) -> None:
        """Note the first row of a symbol from the ledger row of a ``first_request``; ignore any other ledger row."""
        request = first_request(self.endpoint, row["symbol"], self._since)
        assert self.endpoint.step is not None
        if request is None or row["request"] != request.canonical:
            return
        if row["status"] == AnswerStatus.ANSWERED:
            first[row["symbol"]] = row["end"] - self.endpoint.step
        elif not Settled(row["start"], row["end"], row["fetched_at"]).is_due(self.now()):
            # The exchange has no row of the symbol, or does not know it.
            first[row["symbol"]] = row["end"]

    def _probe(self, days: Sequence[Day], symbols: Sequence[str], counts: Mapping[str, Counts]) -> None:
        """Find out on which days symbols have rows, where nothing is known of several days."""
        for batch in _batches(probes(symbols, days)):
            by_request = {probe.request.canonical: probe for probe in batch}
            for answers in self._sent(probe.request for probe in batch):
                of_days: dict[str, list[Row]] = {}
                for answer in answers:
                    for day, start, end in by_request[answer.request.canonical].settles(_time_of(answer)):
                        if row := self._row(answer, start, end, day.key):
                            of_days.setdefault(day.key, []).append(row)
                for day in days:
                    self._record(day, of_days.get(day.key, []), counts[day.key])

    def _first_row(self, answer: RestAnswer) -> Row | None:
        """The ledger row of an answer to ``first_request``: it settles the time up to the first row."""
        assert self.endpoint.step is not None
        first = _time_of(answer)
        end = answer.server_time if first is None else first + self.endpoint.step
        return self._row(answer, self._since, end, self._first_key)

    def _sent(self, requests: Iterable[RestRequest]) -> Iterator[list[RestAnswer]]:
        """The answers to requests in batches. If the exchange fails, what it answered before comes before the error."""
        for batch in _batches(requests):
            assert self.client is not None
            answers: list[RestAnswer] = []
            try:
                answers.extend(self.client.answers(batch))
            except BaseException:
                if answers:
                    yield answers
                raise
            yield answers

    def _row(self, answer: RestAnswer, start: datetime | None, end: datetime | None, key: str) -> Row | None:
        """The ledger row of an answer about [start, end), after its bytes are stored; None if all of it is too new."""
        endpoint = answer.request.endpoint
        assert start is not None
        assert end is not None
        assert endpoint.step is not None
        # The forming bar and what follows it are not settled, whatever this machine's clock says.
        end = min(end, complete_until(start, end, endpoint.step, answer.server_time))
        if end <= start:
            return None
        row: Row = {
            "request": answer.request.canonical,
            "symbol": answer.request.symbol,
            "start": start,
            "end": end,
            "status": str(answer.status),
            "rows": 0,
            "sha256": None,
            "fetched_at": answer.fetched_at,
            "server_time": answer.server_time,
            "reason": answer.reason or None,
            "detail": answer.detail or None,
        }
        if answer.status is not AnswerStatus.ANSWERED:
            return row
        try:
            rows = rows_within(endpoint, answer.body, start, end).height
        except ValueError as error:
            return row | {"status": str(AnswerStatus.REFUSED), "reason": _BAD_ANSWER, "detail": str(error)}
        if not rows:
            return row | {"status": str(AnswerStatus.EMPTY)}
        sha256 = keep_body(self.store, self.feed, answer.request.symbol, key, answer.body)
        return row | {"rows": rows, "sha256": sha256}

    def _record(self, day: Day, rows: list[Row], counts: Counts) -> None:
        record_answers(self.store, self.feed, day.key, rows)
        for row in rows:
            counts.add(row)
            day.settle(row["symbol"], Settled(row["start"], row["end"], row["fetched_at"]))

    def _partition(self, key: str, counts: Counts) -> AnsweredPartition:
        answers = Answers.read(self.store, self.feed, [key])[key]
        stored = None if self.force else stored_partition(self.store, self._slice.partition(key))
        if stored is not None and stored.provenance.input_fingerprint == answers.fingerprint != UNKNOWN:
            counts.rows = stored.info.rows
            return AnsweredPartition(key, pl.DataFrame(), answers.provenance, counts, stored)
        rows = answers.rows(self.store)
        counts.rows = rows.height
        return AnsweredPartition(key, rows, answers.provenance, counts)

    @property
    def _since(self) -> datetime:
        return midnight(self.feed.first_date)

    @property
    def _first_key(self) -> str:
        """The partition of what was asked about the whole history of a symbol."""
        return partition_key(self.feed.first_date, self.feed.cadence)


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    remaining = iter(items)
    while batch := list(islice(remaining, _BATCH)):
        yield batch


def _begins_open(symbol: str, days: Sequence[Day]) -> bool:
    """Whether nothing is known of a symbol on the first of the days that is not settled."""
    for day in days:
        if symbol in day.present or symbol in day.first:
            return False
        if day.is_whole(symbol):
            return True
    return False


def _time_of(answer: RestAnswer) -> datetime | None:
    """The time of the one row of an answer; None if it has none."""
    if answer.status is not AnswerStatus.ANSWERED:
        return None
    endpoint = answer.request.endpoint
    try:
        times = answer_frame(endpoint, answer.body)[endpoint.time_column]
    except ValueError:
        return None
    return from_milliseconds(times[0]) if times.len() else None
