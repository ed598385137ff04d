"""The stored answers about a partition: what they settled, their rows, and the bronze partition that holds them.

A partition of answers is a function of the ledger and the stored bytes alone, so it can be rebuilt from them. What to
request is decided in ``wanted.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from crypto_lakehouse.catalog import Feed, parse_partition
from crypto_lakehouse.catalog.rest import RestEndpoint, rest_endpoints_of
from crypto_lakehouse.lake.storage.answers import read_answers, read_body
from crypto_lakehouse.lake.storage.provenance import Provenance
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.fingerprints import sources_fingerprint
from crypto_lakehouse.rest.requests import milliseconds
from crypto_lakehouse.schemas.rest import answer_column, rest_schema
from crypto_lakehouse.transforms.answers import answer_frame
from crypto_lakehouse.transforms.rest.missing import Settled
from crypto_lakehouse.transforms.silver.clean import midnight

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answers:
    """The rows of the ledger about one partition, oldest first."""

    feed: Feed
    key: str
    ledger: Sequence[Row]

    @classmethod
    def read(cls, store: LakeStore, feed: Feed, keys: Sequence[str]) -> dict[str, Answers]:
        """The answers about each partition, in one read. Raises DamagedFile if the ledger cannot be read."""
        of_keys: dict[str, list[Row]] = {key: [] for key in keys}
        for row in read_answers(store, feed, keys).iter_rows(named=True):
            of_keys[row["period"]].append(row)
        return {key: cls(feed, key, rows) for key, rows in of_keys.items()}

    def settled(self, endpoint: RestEndpoint) -> dict[str, list[Settled]]:
        """The spans of each symbol that answers of an endpoint have settled."""
        spans: dict[str, list[Settled]] = {}
        for row in self.ledger:
            if path_of(row["request"]) == endpoint.path:
                spans.setdefault(row["symbol"], []).append(Settled(row["start"], row["end"], row["fetched_at"]))
        return spans

    @property
    def fingerprint(self) -> str:
        """The input fingerprint of the bronze partition of these answers."""
        facts = [
            f"{row['request']} {row['start']} {row['end']} {row['sha256']} {row['fetched_at']}" for row in self._counted
        ]
        return sources_fingerprint("bronze", rest_schema(self.feed), sorted(facts))

    @property
    def provenance(self) -> Provenance:
        """The provenance of the bronze partition of these answers."""
        return Provenance(self.fingerprint)

    def rows(self, store: LakeStore, symbols: Sequence[str] | None = None) -> pl.DataFrame:
        """Rows of the answers (about ``symbols``, if given) in the bronze schema of answers, in any order.

        Raises DamagedFile if the bytes of an answer are missing or damaged, ValueError if they have another form.
        """
        schema = rest_schema(self.feed)
        frames = [pl.DataFrame(schema.empty())]
        for row in self._counted:
            if symbols is not None and row["symbol"] not in symbols:
                continue
            body = read_body(store, self.feed, row["symbol"], self.key, row["sha256"])
            endpoint = endpoint_of(self.feed, row["request"])
            names = {name: answer_column(endpoint, name) for name in endpoint.answer.column_names}
            frames.append(
                self._within(endpoint, body, row)
                .rename(names)
                .with_columns(
                    pl.lit(row["symbol"]).alias("symbol"),
                    pl.lit(row["request"]).alias("source_key"),
                    pl.lit(row["sha256"]).alias("source_sha256"),
                    pl.lit(row["fetched_at"]).cast(pl.Datetime("us", "UTC")).alias("fetched_at"),
                )
            )
        return pl.concat(frames, how="diagonal").select(schema.column_names)

    def _within(self, endpoint: RestEndpoint, body: bytes, row: Row) -> pl.DataFrame:
        start, end = partition_span(self.feed, self.key)
        return rows_within(endpoint, body, max(row["start"], start), min(row["end"], end))

    @property
    def _counted(self) -> list[Row]:
        """The newest answer with rows to each request."""
        newest = {row["request"]: row for row in self.ledger if row["status"] == "answered"}
        return [newest[request] for request in sorted(newest)]


def rows_within(endpoint: RestEndpoint, body: bytes, start: datetime, end: datetime) -> pl.DataFrame:
    """The rows of an answer with times in [start, end) UTC, and their numbers in the answer, ``source_line``.

    Raises ValueError for a body of another form.
    """
    time = pl.col(endpoint.time_column)
    return answer_frame(endpoint, body).filter((time >= milliseconds(start)) & (time < milliseconds(end)))


def endpoint_of(feed: Feed, request: str) -> RestEndpoint:
    """The endpoint of a request in the ledger. Raises LookupError if the catalogue does not know it."""
    for endpoint in rest_endpoints_of(feed):
        if endpoint.path == path_of(request):
            return endpoint
    raise LookupError(f"{feed.name} has no REST endpoint {path_of(request)}")


def path_of(request: str) -> str:
    """The path of a canonical request.

    >>> path_of("/fapi/v1/klines?interval=1m&symbol=BTCUSDT")
    '/fapi/v1/klines'
    """
    return request.partition("?")[0]


def partition_span(feed: Feed, key: str) -> tuple[datetime, datetime]:
    """The UTC times [start, end) of a partition."""
    first, end = parse_partition(key, feed.cadence)
    return midnight(first), midnight(end)
