"""The requests to one endpoint about partitions of a feed: probes, then what is missing; each answer is stored.

What is missing is decided in ``wanted.py`` and ``probes.py``. ``partitions.py`` builds partitions of the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from crypto_lakehouse.archive.model import ArchiveSource
from crypto_lakehouse.catalog import Feed, partition_key
from crypto_lakehouse.catalog.rest import RestEndpoint
from crypto_lakehouse.lake.storage.answers import record_answers
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.completion.answered import Answers, Row
from crypto_lakehouse.pipeline.completion.probes import first_request, probes
from crypto_lakehouse.pipeline.completion.sending import Client, Counts, Sender, batches
from crypto_lakehouse.pipeline.completion.wanted import Day
from crypto_lakehouse.rest.model import AnswerStatus, RestAnswer
from crypto_lakehouse.rest.requests import from_milliseconds
from crypto_lakehouse.transforms.answers import answer_frame
from crypto_lakehouse.transforms.rest.missing import Settled, Times
from crypto_lakehouse.transforms.silver.clean import midnight

# A listing of a year needs one request for each symbol.
_SHORTLY = timedelta(days=365)


class EndpointRequests:
    """Requests to an endpoint about the symbols that it has, for the partitions ``keys``.

    ``present`` has the times at which silver has rows of the archive, by partition and symbol. Without a ``client`` it
    only knows what is missing.
    """

    def __init__(
        self,
        feed: Feed,
        store: LakeStore,
        client: Client | None,
        now: Callable[[], datetime],
        endpoint: RestEndpoint,
        symbols: Iterable[str],
        present: Mapping[str, dict[str, Times]],
        source: ArchiveSource,
    ) -> None:
        self._source, self._feed, self._store, self._sender = source, feed, store, Sender(feed, store, client)
        self._now, self.endpoint = now, endpoint
        self.symbols = [symbol for symbol in symbols if endpoint.has_symbol(symbol)]
        self._first: dict[str, datetime] = {}
        answers = Answers.read(store, feed, list(dict.fromkeys([*present, self._first_key])))
        for row in answers[self._first_key].ledger:
            self._take_first(row)
        self.days = [Day.of(answers[key], endpoint, times, store, self._first, now()) for key, times in present.items()]

    def probe(self, counts: Mapping[str, Counts]) -> None:
        """Find out on which days symbols can have rows, where nothing is known of them. Raises RestError."""
        if self.days:
            self._find_first(counts)
            self._probe(counts)

    def request(self, number: int, counts: Counts) -> None:
        """Request what is missing of the partition of this number. Raises RestError; answers before it are stored."""
        day = self.days[number]
        for answers in self._sender.sent(day.requests(self.symbols, self._now())):
            rows = [self._sender.row(answer, answer.request.start, answer.request.end, day.key) for answer in answers]
            self._record(day, list(filter(None, rows)), counts)

    def complete_keys(self) -> set[str]:
        """The partitions of which nothing is to be requested now."""
        now = self._now()
        return {day.key for day in self.days if not any(day.missing(symbol, now).size for symbol in self.symbols)}

    def _find_first(self, counts: Mapping[str, Counts]) -> None:
        """Find the first row of the symbols of which nothing is known at the start of the days.

        Those with files shortly before the days have begun: the archive is asked for them, because its listings cost
        nothing of the exchange's limits.
        """
        open_ones = [symbol for symbol in self.symbols if _begins_open(symbol, self.days)]
        first_day = self.days[0].start.date()
        earlier = self._source.files(self._feed, open_ones, first_day - _SHORTLY, first_day) if open_ones else []
        begun = {file.symbol for file in earlier}
        requests = [first_request(self.endpoint, symbol, self._since) for symbol in open_ones if symbol not in begun]
        for answers in self._sender.sent(filter(None, requests)):
            rows = list(filter(None, map(self._first_row, answers)))
            record_answers(self._store, self._feed, self._first_key, rows)
            for row in rows:
                self._take_first(row)
                counts[self.days[0].key].add(row)

    def _take_first(self, row: Row) -> None:
        """Note the first row of a symbol from the ledger row of a ``first_request``; ignore any other ledger row."""
        request = first_request(self.endpoint, row["symbol"], self._since)
        assert self.endpoint.step is not None
        if request is None or row["request"] != request.canonical:
            return
        if row["status"] == AnswerStatus.ANSWERED:
            self._first[row["symbol"]] = row["end"] - self.endpoint.step
        elif not Settled(row["start"], row["end"], row["fetched_at"]).is_due(self._now()):
            # The exchange has no row of the symbol, or does not know it.
            self._first[row["symbol"]] = row["end"]

    def _probe(self, counts: Mapping[str, Counts]) -> None:
        """Find out on which days symbols have rows, where nothing is known of several days."""
        for batch in batches(probes(self.symbols, self.days)):
            by_request = {probe.request.canonical: probe for probe in batch}
            for answers in self._sender.sent(probe.request for probe in batch):
                of_days: dict[str, list[Row]] = {}
                for answer in answers:
                    for day, start, end in by_request[answer.request.canonical].settles(_time_of(answer)):
                        if row := self._sender.row(answer, start, end, day.key):
                            of_days.setdefault(day.key, []).append(row)
                for day in self.days:
                    self._record(day, of_days.get(day.key, []), counts[day.key])

    def _first_row(self, answer: RestAnswer) -> Row | None:
        """The ledger row of an answer to ``first_request``: it settles the time up to the first row."""
        assert self.endpoint.step is not None
        first = _time_of(answer)
        end = answer.server_time if first is None else first + self.endpoint.step
        return self._sender.row(answer, self._since, end, self._first_key)

    def _record(self, day: Day, rows: list[Row], counts: Counts) -> None:
        record_answers(self._store, self._feed, day.key, rows)
        for row in rows:
            counts.add(row)
            day.settle(row["symbol"], Settled(row["start"], row["end"], row["fetched_at"]))

    @property
    def _since(self) -> datetime:
        return midnight(self._feed.first_date)

    @property
    def _first_key(self) -> str:
        """The partition of what was asked about the whole history of a symbol."""
        return partition_key(self._feed.first_date, self._feed.cadence)


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
