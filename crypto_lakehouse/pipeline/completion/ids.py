"""Requests by id for events whose ids have no holes: aggregate trades.

A gap is a jump of ids between two rows of a day, or a whole day without rows. It is requested page by page, each page
from the id after the last one of the page before: requests by time would lose events of one millisecond. What was
missed at the ends of a file cannot be seen from its ids, so it is not requested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from crypto_lakehouse.archive.model import ArchiveSource
from crypto_lakehouse.catalog import Feed, parse_partition
from crypto_lakehouse.catalog.rest import RestEndpoint
from crypto_lakehouse.lake.storage.answers import record_answers
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.completion.answered import Answers, Row, partition_span
from crypto_lakehouse.pipeline.completion.sending import Client, Counts, Sender
from crypto_lakehouse.pipeline.completion.wanted import WITHIN_REACH
from crypto_lakehouse.pipeline.neighbours import Neighbourhood
from crypto_lakehouse.rest.model import AnswerStatus, RestAnswer
from crypto_lakehouse.rest.requests import RestRequest, from_milliseconds
from crypto_lakehouse.schemas import silver_schema
from crypto_lakehouse.schemas.rest import answer_column
from crypto_lakehouse.transforms.answers import answer_frame
from crypto_lakehouse.transforms.rest.gaps import Gap, gaps_between, uncovered
from crypto_lakehouse.transforms.rest.missing import MARGIN, Settled
from crypto_lakehouse.transforms.silver.cleaners import cleaner_of

_MS = timedelta(milliseconds=1)
# A symbol without a file in so many days before a day, and on it, is not requested: it may have ended years ago.
_LISTED_WITHIN = timedelta(days=7)


@dataclass(slots=True)
class IdDay:
    """One partition: the gaps in the ids of the archive's rows, by symbol, and the answers about it.

    [``start``, ``end``) is the part of it that the exchange still answers. ``listed`` are symbols without a row on the
    day that had files shortly before.
    """

    key: str
    start: datetime
    end: datetime
    gaps: dict[str, list[Gap]]
    answers: Answers
    listed: set[str]


class IdRequests:
    """Requests to an endpoint by id, for the partitions ``keys``: like ``EndpointRequests``."""

    def __init__(
        self,
        feed: Feed,
        store: LakeStore,
        client: Client | None,
        now: Callable[[], datetime],
        endpoint: RestEndpoint,
        symbols: Iterable[str],
        keys: Sequence[str],
        source: ArchiveSource,
    ) -> None:
        self._feed, self._store, self._sender = feed, store, Sender(feed, store, client)
        self._now, self.endpoint = now, endpoint
        self.symbols = [symbol for symbol in symbols if endpoint.has_symbol(symbol)]
        answers = Answers.read(store, feed, keys)
        self.days = [self._day(key, answers[key]) for key in keys]
        absent = {s for day in self.days if day.start < day.end for s in self.symbols if s not in day.gaps}
        if absent:
            self._find_listed(sorted(absent), keys, source)

    def probe(self, counts: Mapping[str, Counts]) -> None:
        """Nothing is to be found out before the requests."""

    def request(self, number: int, counts: Counts) -> None:
        """Request the gaps of the partition of this number. Raises RestError; answers before it are stored."""
        day = self.days[number]
        wanted = [(symbol, gap) for symbol in self.symbols for gap in self._wanted(day, symbol)]
        requests = [
            RestRequest(self.endpoint, symbol, gap.start, gap.end, from_id=gap.first_id) for symbol, gap in wanted
        ]
        # Where the next page of a gap continues, by symbol and end of the gap.
        settled = {(symbol, gap.end): gap.start for symbol, gap in wanted}
        for answers in self._sender.sent(requests):
            rows = list(filter(None, (self._row(answer, settled, day.key) for answer in answers)))
            record_answers(self._store, self._feed, day.key, rows)
            for row in rows:
                counts.add(row)

    def complete_keys(self) -> set[str]:
        """The partitions of which nothing is to be requested now."""
        return {day.key for day in self.days if not any(self._wanted(day, symbol) for symbol in self.symbols)}

    def _day(self, key: str, answers: Answers) -> IdDay:
        start, end = partition_span(self._feed, key)
        now = self._now()
        if self.endpoint.reach is not None:
            start = max(start, now - self.endpoint.reach + WITHIN_REACH)
        day = IdDay(key, start, min(end, now - MARGIN), {}, answers, set())
        if day.start < day.end:
            day.gaps = archive_gaps(self._feed, key, self._store)
        return day

    @property
    def _id(self) -> str:
        return self.endpoint.answer.id_column or ""

    def _find_listed(self, symbols: Sequence[str], keys: Sequence[str], source: ArchiveSource) -> None:
        spans = [parse_partition(key, self._feed.cadence) for key in keys]
        first, end = min(start for start, _ in spans) - _LISTED_WITHIN, max(end for _, end in spans)
        files: dict[str, list[date]] = {}
        for file in source.files(self._feed, symbols, first, end):
            files.setdefault(file.symbol, []).append(date.fromisoformat(file.period))
        for day, (start, _) in zip(self.days, spans, strict=True):
            day.listed = {s for s, dates in files.items() if any(start - _LISTED_WITHIN <= d <= start for d in dates)}

    def _wanted(self, day: IdDay, symbol: str) -> list[Gap]:
        """The gaps of a symbol that no answer has settled, or that are to be asked again."""
        is_whole = symbol not in day.gaps
        if day.start >= day.end or (is_whole and symbol not in day.listed):
            return []
        whole = Gap(None, day.start, day.end)
        wanted = []
        for gap in [whole] if is_whole else day.gaps[symbol]:
            since = uncovered(gap, self._settled(day.answers, symbol))
            if since is None or gap.end <= day.start:
                continue
            wanted.append(gap if since == gap.start else self._continued(day.answers, symbol, gap, since))
        return wanted

    def _settled(self, answers: Answers, symbol: str) -> Iterator[tuple[datetime, datetime]]:
        """Spans that need no request: rows with ids are final, and what was confirmed empty is asked again later."""
        for row in answers.ledger:
            span = Settled(row["start"], row["end"], row["fetched_at"])
            if row["symbol"] == symbol and (row["status"] == AnswerStatus.ANSWERED or not span.is_due(self._now())):
                yield span.start, span.end

    def _continued(self, answers: Answers, symbol: str, gap: Gap, since: datetime) -> Gap:
        """What remains of a gap of which earlier pages were answered up to a time: from the id after their last."""
        rows = answers.rows(self._store, [symbol])
        event_id, time = (answer_column(self.endpoint, name) for name in (self._id, self.endpoint.time_column))
        times = pl.from_epoch(time, "ms").dt.replace_time_zone("UTC")
        last = rows.filter(times.is_between(gap.start, since))[event_id].max()
        return Gap(int(last) + 1 if isinstance(last, int) else gap.first_id, since - _MS, gap.end)

    def _row(self, answer: RestAnswer, settled: dict[tuple[str, datetime], datetime], key: str) -> Row | None:
        """The ledger row of a page: it settles the time from the page before to its last row, or to the gap's end."""
        request = answer.request
        assert request.end is not None
        place = request.symbol, request.end
        start, end = settled[place], min(request.end + _MS, partition_span(self._feed, key)[1])
        following, last = self._following(answer)
        if following is not None and last is not None:
            # The next page may start within the same millisecond.
            settled[place], end = last, last + _MS
        elif following is not None and following.start is not None:
            settled[place] = end = following.start
        return self._sender.row(answer, start, end, key)

    def _following(self, answer: RestAnswer) -> tuple[RestRequest | None, datetime | None]:
        """The request for the next page, and the time of the last row of this one; None where there is none."""
        if answer.status is AnswerStatus.REFUSED:
            return None, None
        # A body of another form is recorded as a refusal.
        with suppress(ValueError):
            rows = answer_frame(self.endpoint, answer.body).rows(named=True)
            last = from_milliseconds(rows[-1][self.endpoint.time_column]) if rows else None
            return answer.request.following(rows), last
        return None, None


def archive_gaps(feed: Feed, key: str, store: LakeStore) -> dict[str, list[Gap]]:
    """The gaps in the ids of the rows that silver takes from the archive's files, by symbol with rows."""
    first, end = parse_partition(key, feed.cadence)
    columns = ["symbol", silver_schema(feed).id_column or "", silver_schema(feed).time_column]
    gaps: dict[str, list[Gap]] = {}
    before: pl.DataFrame | None = None
    for piece in Neighbourhood.find(feed, key, store).pieces(store):
        rows = cleaner_of(feed)(piece, feed, first, end).rows.select(columns)
        rows = rows.with_columns(pl.col("symbol").cast(pl.String))
        for symbol, gap in gaps_between(rows if before is None else pl.concat([before, rows])):
            gaps.setdefault(symbol, []).append(gap)
        for symbol in rows["symbol"].unique():
            gaps.setdefault(symbol, [])
        before = rows.tail(1)
    return gaps
