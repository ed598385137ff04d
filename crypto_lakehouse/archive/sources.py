"""Opening the archive of an exchange: which layout belongs to which exchange."""

from __future__ import annotations

from dataclasses import replace

from crypto_lakehouse.archive.binance import BinanceLayout
from crypto_lakehouse.archive.layout import Layout
from crypto_lakehouse.archive.limits import Limits
from crypto_lakehouse.archive.model import ArchiveSource
from crypto_lakehouse.catalog import EXCHANGES

LAYOUTS: dict[str, Layout] = {
    "binance": BinanceLayout(),
}


def open_source(exchange: str, archive_url: str, listing_url: str, limits: Limits | None = None) -> ArchiveSource:
    """The archive of an exchange at these URLs, with no more parallel requests than the exchange allows.

    Raises KeyError for an exchange without a layout, ValueError for invalid URLs.
    """
    if exchange not in LAYOUTS:
        raise KeyError(f"no layout of the archive of {exchange}; add it to LAYOUTS in archive/sources.py")
    # The HTTP client takes a tenth of a second to import; most commands open no archive.
    from crypto_lakehouse.archive.listed import ListedArchive

    limits = limits or Limits()
    limits = replace(limits, concurrency=min(limits.concurrency, EXCHANGES[exchange].max_concurrency))
    return ListedArchive(LAYOUTS[exchange], archive_url, listing_url, limits)
