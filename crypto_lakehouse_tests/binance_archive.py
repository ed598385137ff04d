"""Binance alone: its feeds, without those of other exchanges, and a client of its archive with limits as arguments."""

from __future__ import annotations

from crypto_lakehouse.archive.binance import BinanceLayout
from crypto_lakehouse.archive.limits import Limits
from crypto_lakehouse.archive.listed import ListedArchive
from crypto_lakehouse.catalog import feeds

BINANCE_FEEDS = [feed for feed in feeds() if feed.exchange == "binance"]


class BinanceArchive(ListedArchive):
    """The archive at these URLs."""

    def __init__(
        self,
        archive_url: str,
        listing_url: str,
        concurrency: int = 128,
        attempts: int = 5,
        timeout: float = 60.0,
        least_rate: float = 1000.0,
    ) -> None:
        super().__init__(BinanceLayout(), archive_url, listing_url, Limits(concurrency, attempts, timeout, least_rate))
