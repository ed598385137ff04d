"""Facts that symbol names do not show: names reused for another instrument, and coins that were renamed.

Contains the known facts of all exchanges, and the rule that detects relistings for which no source exists. The facts
of an exchange are in its own module (``binance_listings.py``). ``transforms/gold/universe.py`` derives instruments
from them.
"""

from __future__ import annotations

from crypto_lakehouse.catalog.exchanges import EXCHANGES
from crypto_lakehouse.catalog.model import Relisting, Rename

RELIST_HOLE_DAYS = 7
"""A hole of at least this many days in a symbol's daily files starts another listing.

Days missing from the archive by mistake are single days. A week without a market means another instrument: a position
held over it is not the same as before. Shorter pauses in which a coin was swapped are in ``RELISTINGS``.
"""

RELISTINGS: tuple[Relisting, ...] = tuple(known for exchange in EXCHANGES.values() for known in exchange.relistings)
RENAMES: tuple[Rename, ...] = tuple(known for exchange in EXCHANGES.values() for known in exchange.renames)
