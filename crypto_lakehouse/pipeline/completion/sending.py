"""Sending requests and storing their answers: the bytes, then a row of the ledger for the time that they settle.

What is requested is decided in ``endpoint.py`` and ``ids.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Protocol, TypeVar

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.lake.storage.answers import keep_body
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.completion.answered import Row, rows_within
from crypto_lakehouse.pipeline.completion.wanted import complete_until
from crypto_lakehouse.rest.model import AnswerStatus, RestAnswer, RestError
from crypto_lakehouse.rest.requests import RestRequest
from crypto_lakehouse.transforms.rest.missing import MARGIN

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
class Sender:
    """Sends requests about a feed, and stores the bytes of answers. Without a ``client`` nothing can be sent."""

    feed: Feed
    store: LakeStore
    client: Client | None

    def sent(self, requests: Iterable[RestRequest]) -> Iterator[list[RestAnswer]]:
        """The answers to requests in small groups, as they arrive.

        If the exchange fails, what it answered before comes before the error.
        """
        for batch in batches(requests):
            assert self.client is not None
            group: list[RestAnswer] = []
            try:
                for answer in self.client.answers(batch):
                    group.append(answer)
                    if len(group) >= _BATCH:
                        yield group
                        group = []
            except RestError:
                if group:
                    yield group
                raise
            if group:
                yield group

    def row(self, answer: RestAnswer, start: datetime | None, end: datetime | None, key: str) -> Row | None:
        """The ledger row of an answer about [start, end), after its bytes are stored; None if all of it is too new."""
        endpoint = answer.request.endpoint
        assert start is not None
        assert end is not None
        # The forming bar and what follows it are not settled, whatever this machine's clock says.
        if endpoint.step is None:
            end = min(end, answer.server_time - MARGIN)
        else:
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


def batches(items: Iterable[T]) -> Iterator[list[T]]:
    """The items in lists of a limited length."""
    remaining = iter(items)
    while batch := list(islice(remaining, _BATCH)):
        yield batch
