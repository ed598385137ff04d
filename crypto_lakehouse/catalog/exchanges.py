"""The registry of exchanges: one entry for each, from its own module, and one for its REST API if it has one.

Contains nothing else. ``catalog`` joins markets and feeds of all exchanges, ``epochs.py`` and ``listings.py`` the
facts about them, ``instruments.py`` the names of symbols. No other module imports an exchange's own module.
"""

from __future__ import annotations

from crypto_lakehouse.catalog.binance import BINANCE
from crypto_lakehouse.catalog.binance_rest import BINANCE_REST
from crypto_lakehouse.catalog.model import Exchange
from crypto_lakehouse.catalog.rest_model import RestApi

_ENTRIES = (
    BINANCE,
)  # fmt: skip
EXCHANGES: dict[str, Exchange] = {exchange.name: exchange for exchange in _ENTRIES}

REST_APIS: dict[str, RestApi] = {api.exchange: api for api in (BINANCE_REST,)}
"""The REST APIs that fill what an archive does not have; ``rest.py`` looks them up."""

DEFAULT_EXCHANGE = BINANCE.name
"""The exchange of commands and settings that name none."""
