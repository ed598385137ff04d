"""Listings of Binance that symbol names do not show: names reused for another instrument, and renamed coins.

Each fact has its source. ``listings.py`` joins the facts of all exchanges.
"""

from __future__ import annotations

from datetime import date

from crypto_lakehouse.catalog.model import Relisting, Rename

# Pauses in the archive's 1m klines after which another price was quoted: swaps of a coin at another ratio, forks,
# and coins that were delisted and listed again.
_PAUSES = "pause in the archive's 1m klines: nothing was traded in it, and trading resumed at another price level"
_PAUSED: dict[str, tuple[tuple[str, str, str], ...]] = {
    "spot": (
        ("BCC", "2018-11-15", "2018-11-20"),
        ("BNX", "2023-02-16", "2023-02-22"),
        ("BTCST", "2021-03-15", "2021-03-19"),
        ("COCOS", "2021-01-19", "2021-01-23"),
        ("CVC", "2022-12-09", "2023-05-12"),
        ("DREP", "2021-03-29", "2021-04-02"),
        ("FTT", "2022-11-15", "2023-09-22"),
        ("KEY", "2023-02-10", "2023-03-10"),
        ("LUNA", "2022-05-13", "2022-05-31"),
        ("QUICK", "2023-07-17", "2023-07-21"),
        ("STRAX", "2024-03-20", "2024-03-28"),
        ("SUN", "2021-06-14", "2021-06-18"),
        ("VEN", "2018-07-23", "2018-10-19"),
        ("VIDT", "2022-10-31", "2022-11-09"),
    ),
    "um": (
        ("BNX", "2023-02-11", "2023-02-22"),
        ("ICP", "2022-06-10", "2022-09-27"),
        ("TLM", "2022-06-09", "2023-03-30"),
    ),
}
RELISTINGS: tuple[Relisting, ...] = tuple(
    Relisting("binance", market, base, date.fromisoformat(last), date.fromisoformat(first), _PAUSES)
    for market, pauses in _PAUSED.items()
    for base, last, first in pauses
)

RENAMES: tuple[Rename, ...] = (
    Rename("binance", "spot", "NANO", "XNO", "names in the archive's listing"),
    Rename(
        "binance",
        "spot",
        "MATIC",
        "POL",
        "https://coingape.com/binance-announces-matic-to-pol-token-swap-support-is-breakout-imminent",
    ),
)
