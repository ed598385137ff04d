"""Opening the archive of an exchange. The only module that knows which source belongs to which exchange."""

from __future__ import annotations

from dataclasses import dataclass

from crypto_lakehouse.archive.binance import BinanceArchive
from crypto_lakehouse.archive.model import ArchiveSource
from crypto_lakehouse.catalog import EXCHANGES


@dataclass(frozen=True, slots=True)
class Limits:
    """How an archive is asked: parallel requests, attempts per request, longest silence and least bytes a second."""

    concurrency: int = 128
    attempts: int = 5
    timeout: float = 60.0
    least_rate: float = 1000.0


def open_source(exchange: str, archive_url: str, listing_url: str, limits: Limits) -> ArchiveSource:
    """The archive of an exchange at these URLs, with no more parallel requests than the exchange allows.

    Raises KeyError for an unknown exchange, ValueError for invalid URLs and limits.
    """
    concurrency = min(limits.concurrency, EXCHANGES[exchange].max_concurrency)
    source = {"binance": BinanceArchive}[exchange]
    return source(archive_url, listing_url, concurrency, limits.attempts, limits.timeout, limits.least_rate)
