"""The epoch registry: what changed in an archive over time, and on which days, as a table with sources.

Here belong facts about files that depend on the date or on the market, each with where it was seen or claimed.
Parsers, checks, the sample archive and the documentation read them; what follows from a fact is theirs.
Facts that never changed are the formats in ``binance_files.py`` and the feeds in ``binance.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from crypto_lakehouse.catalog.model import Feed

_ISSUES = "https://github.com/binance/binance-public-data/issues/"
_FUTURES = ("um", "cm")
_TRADED = ("spot", "um", "cm")
_PRICE_KLINES = ("indexPriceKlines", "markPriceKlines", "premiumIndexKlines")


class Topic(StrEnum):
    """What a fact is about; the values that ``Epoch.value`` can have are in brackets."""

    HEADER = "header"  # never, sniff, always
    TIME_UNIT = "time_unit"  # ms, us, text
    LABEL = "label"  # period_start, period_end
    BANDS = "bands"  # edges in percent, without sign: "1,2,3,4,5"
    COLUMN_MEANING = "column_meaning"
    DUPLICATES = "duplicates"
    JITTER = "jitter"
    INTERVAL = "interval"
    ALIGNMENT = "alignment"
    CADENCE = "cadence"
    WITNESS = "witness"
    BAD_DAYS = "bad_days"


@dataclass(frozen=True, slots=True)
class Epoch:
    """One fact about the files of a type for the UTC days ``first`` to ``last``, both inclusive; None is open.

    ``value`` is for programs (see ``Topic``), ``what`` for people, ``source`` says where it was seen.
    """

    exchange: str
    market: str
    archive_type: str
    topic: Topic
    value: str
    first: date | None
    last: date | None
    what: str
    source: str

    def holds_on(self, day: date) -> bool:
        """Whether the fact holds for the file of this UTC day."""
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)


def _facts(
    markets: Iterable[str],
    types: Iterable[str],
    topic: Topic,
    value: str,
    what: str,
    source: str,
    first: date | None = None,
    last: date | None = None,
) -> Iterator[Epoch]:
    for market in markets:
        for archive_type in types:
            yield Epoch("binance", market, archive_type, topic, value, first, last, what, source)


_SEEN = "seen in files"
EPOCHS: tuple[Epoch, ...] = (
    *_facts(("spot",), ("klines", "aggTrades", "trades"), Topic.HEADER, "never", "No header line.", _SEEN),
    *_facts(
        _FUTURES,
        ("klines", "aggTrades", "trades", *_PRICE_KLINES),
        Topic.HEADER,
        "sniff",
        "A header line or none, after the day on which the file was made, not after its data.",
        f"{_ISSUES}177, {_ISSUES}278",
    ),
    *_facts(
        _FUTURES,
        ("fundingRate", "metrics", "bookDepth", "bookTicker"),
        Topic.HEADER,
        "always",
        "A header line.",
        _SEEN,
    ),
    *_facts(("cm",), ("liquidationSnapshot",), Topic.HEADER, "always", "A header line.", _SEEN),
    *_facts(("option",), ("BVOLIndex", "EOHSummary"), Topic.HEADER, "always", "A header line.", _SEEN),
    *_facts(
        ("spot",),
        ("klines", "aggTrades", "trades"),
        Topic.TIME_UNIT,
        "ms",
        "Times in milliseconds.",
        _SEEN,
        last=date(2024, 12, 31),
    ),
    *_facts(
        ("spot",),
        ("klines", "aggTrades", "trades"),
        Topic.TIME_UNIT,
        "us",
        "Times in microseconds; close_time ends in 999999.",
        _SEEN,
        first=date(2025, 1, 1),
    ),
    *_facts(
        _FUTURES,
        ("klines", "aggTrades", "trades", "fundingRate", "bookTicker", *_PRICE_KLINES),
        Topic.TIME_UNIT,
        "ms",
        "Times in milliseconds, also in 2026.",
        _SEEN,
    ),
    *_facts(("cm",), ("liquidationSnapshot",), Topic.TIME_UNIT, "ms", "Times in milliseconds.", _SEEN),
    *_facts(("option",), ("BVOLIndex",), Topic.TIME_UNIT, "ms", "Times in milliseconds.", _SEEN),
    *_facts(_FUTURES, ("metrics", "bookDepth"), Topic.TIME_UNIT, "text", "Times as text, whole seconds, UTC.", _SEEN),
    *_facts(("option",), ("EOHSummary",), Topic.TIME_UNIT, "text", "Date as text, hour as a number, UTC.", _SEEN),
    *_facts(
        ("um",),
        ("metrics",),
        Topic.LABEL,
        "period_end",
        "create_time is the end of its five minutes: 00:05 to 00:00 of the next day.",
        f"{_ISSUES}491",
        last=date(2026, 6, 24),
    ),
    *_facts(
        ("um",),
        ("metrics",),
        Topic.LABEL,
        "period_start",
        "create_time is the begin of its five minutes: 00:00 to 23:55. 2026-06-25 00:00 so stands in two files.",
        f"{_ISSUES}491",
        first=date(2026, 6, 25),
    ),
    *_facts(
        ("cm",),
        ("metrics",),
        Topic.LABEL,
        "period_start",
        "create_time is the begin of its five minutes.",
        f"{_ISSUES}491",
    ),
    *_facts(
        _FUTURES,
        ("bookDepth",),
        Topic.BANDS,
        "1,2,3,4,5",
        "Ten bands, written as whole numbers.",
        _SEEN,
        last=date(2026, 1, 14),
    ),
    *_facts(
        _FUTURES,
        ("bookDepth",),
        Topic.BANDS,
        "0.2,1,2,3,4,5",
        "Twelve bands, written with two decimals (-5.00), ±0.20 new; 2026-01-15 holds both forms.",
        "claimed in the reference of the archive",
        first=date(2026, 1, 15),
    ),
)


def epochs_of(feed: Feed, topic: Topic | None = None) -> list[Epoch]:
    """The facts about a feed's files, in the order of the registry; of one topic, or of all."""
    return [
        epoch
        for epoch in EPOCHS
        if (epoch.exchange, epoch.market, epoch.archive_type) == (feed.exchange, feed.market.name, feed.archive_type)
        and (topic is None or epoch.topic is topic)
    ]


def epoch_value(feed: Feed, topic: Topic, day: date) -> str | None:
    """The value in force for the file of the UTC ``day``; None where the registry knows none.

    >>> from crypto_lakehouse.catalog import feed
    >>> epoch_value(feed("binance", "spot", "trades"), Topic.TIME_UNIT, date(2025, 1, 1))
    'us'
    """
    return next((epoch.value for epoch in epochs_of(feed, topic) if epoch.holds_on(day)), None)
