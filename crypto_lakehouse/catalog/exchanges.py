"""The registry of exchanges: one entry for each, from its own module.

Contains nothing else. ``catalog`` joins markets and feeds of all exchanges, ``epochs.py`` and ``listings.py`` the
facts about them, ``instruments.py`` the names of symbols. No other module imports an exchange's own module.
"""

from __future__ import annotations

from crypto_lakehouse.catalog.binance import BINANCE
from crypto_lakehouse.catalog.model import Exchange

_ENTRIES = (
    BINANCE,
)  # fmt: skip
EXCHANGES: dict[str, Exchange] = {exchange.name: exchange for exchange in _ENTRIES}

DEFAULT_EXCHANGE = BINANCE.name
"""The exchange of commands and settings that name none."""
