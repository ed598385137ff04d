"""The epoch registry: what changed in an archive over time, and on which days, as a table with sources.

Contains the lookups, which parsers, checks, the sample archive and the documentation use. The facts of an exchange are
in its own module (``binance_epochs.py``), the ``Epoch`` class is in ``model.py``. Callers decide what follows from a
fact. Facts that never changed are the formats of the files and the feeds, in the modules of the exchanges.
"""

from __future__ import annotations

from datetime import date

from crypto_lakehouse.catalog.exchanges import EXCHANGES
from crypto_lakehouse.catalog.model import ALLOWED_VALUES, EXCLUSIVE_TOPICS, TOPIC_VALUES, Epoch, Feed, Topic

EPOCHS: tuple[Epoch, ...] = tuple(epoch for exchange in EXCHANGES.values() for epoch in exchange.epochs)


def epochs_of(feed: Feed, topic: Topic | None = None) -> list[Epoch]:
    """The facts about a feed's files, in the order of the registry; of one topic, or of all."""
    return [epoch for epoch in EPOCHS if epoch.is_about(feed) and (topic is None or epoch.topic is topic)]


def epoch_value(feed: Feed, topic: Topic, day: date) -> str | None:
    """The value in force for the file of the UTC ``day``; None if the registry has none.

    >>> from crypto_lakehouse.catalog import feed
    >>> epoch_value(feed("binance", "spot", "trades"), Topic.TIME_UNIT, date(2025, 1, 1))
    'us'
    """
    return next((epoch.value for epoch in epochs_of(feed, topic) if epoch.holds_on(day)), None)


def known_faults(feed: Feed, first: date, end: date, symbol: str = "") -> list[Epoch]:
    """Known faults of the files of the UTC days [first, end), of all symbols or of one.

    >>> from crypto_lakehouse.catalog import feed
    >>> faults = known_faults(feed("binance", "spot", "agg_trades"), date(2021, 12, 14), date(2021, 12, 15))
    >>> [epoch.value for epoch in faults]
    ['truncated']
    """
    return [
        epoch
        for epoch in epochs_of(feed, Topic.BAD_DAYS)
        if (epoch.first is None or epoch.first < end)
        and (epoch.last is None or first <= epoch.last)
        and (not symbol or not epoch.symbols or symbol in epoch.symbols)
    ]


__all__ = [
    "ALLOWED_VALUES",
    "EPOCHS",
    "EXCLUSIVE_TOPICS",
    "TOPIC_VALUES",
    "Epoch",
    "Topic",
    "epoch_value",
    "epochs_of",
    "known_faults",
]
