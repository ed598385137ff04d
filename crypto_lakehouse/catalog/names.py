"""Names that come from outside (symbols, dates, months), checked before they touch a path, URL or SQL.

Contains every such check; no other module builds a path from an unchecked name.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date, timedelta
from functools import lru_cache

from crypto_lakehouse.catalog.model import Cadence

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
# Symbols with letters outside ASCII exist on Binance since 2025; separators, dots and blanks do not.
_SYMBOL = re.compile(r"\w{1,40}(?:[-_]\w{1,20}){0,3}", re.UNICODE)
# Not \d, which also matches the digits of other scripts.
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")


def check_name(name: str) -> str:
    """Return ``name`` if it is a safe table, exchange or market name, else raise ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name: use lower-case letters, digits and '_', such as klines_1m")
    return name


def check_symbol(name: str) -> str:
    """Return ``name`` if it is a safe symbol (``BTCUSDT``, ``BTCUSD_PERP``); raise ValueError otherwise."""
    if not _SYMBOL.fullmatch(name):
        raise ValueError(f"{name!r} is not a symbol: use letters, digits, '_' and '-', such as BTCUSDT")
    return name


def check_digits(text: str) -> str:
    """Return ``text``. Raises ValueError, which names the digit, if it has one of another script (``１``, ``٣``)."""
    for letter in text:
        if letter.isdigit() and not letter.isascii():
            raise ValueError(f"{letter!r} in {text!r} is not one of the digits 0 to 9")
    return text


def check_number(text: str) -> str:
    """Return ``text``. Raises ValueError if only Python accepts it as a number: ``1_0``, or digits of other scripts."""
    if "_" in check_digits(text):
        raise ValueError(f"{text!r} is not a number: write it without '_'")
    return text


def parse_date(text: str) -> date:
    """Parse ``YYYY-MM-DD``. Raises ValueError for anything else, and for days that do not exist."""
    if not _DATE.fullmatch(text):
        raise ValueError(f"{text!r} is not a date of the form YYYY-MM-DD")
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"there is no day {text!r}: {too_late(text) or error}") from None


def too_late(text: str) -> str:
    """How many days the month of a text that starts with ``YYYY-MM-DD`` has, if the day is after its end; else empty.

    >>> too_late("2026-11-31T12:00"), too_late("2026-11-30"), too_late("2026-13-31")
    ('2026-11 has 30 days', '', '')
    """
    if not _DATE.fullmatch(text[:10]):
        return ""
    year, month, day = map(int, text[:10].split("-"))
    if not (year >= 1 and 1 <= month <= 12) or day <= (days := monthrange(year, month)[1]):
        return ""
    return f"{text[:7]} has {days} days"


# Every listing of a table repeats the same days.
@lru_cache(maxsize=16_384)
def parse_partition(key: str, cadence: Cadence) -> tuple[date, date]:
    """UTC days [start, end) of the partition ``key``: its first day, and the day after its last.

    Keys are ``YYYY-MM-DD`` for daily and ``YYYY-MM`` for monthly feeds. Raises ValueError for any other form.

    >>> parse_partition("2024-02", Cadence.MONTHLY)
    (datetime.date(2024, 2, 1), datetime.date(2024, 3, 1))
    """
    if cadence is Cadence.DAILY:
        first = parse_date(key)
        return first, _day_after(first, 1)
    if not _MONTH.fullmatch(key):
        raise ValueError(f"{key!r} is not a month of the form YYYY-MM")
    first = parse_date(f"{key}-01")
    return first, _day_after(first, monthrange(first.year, first.month)[1])


def _day_after(first: date, days: int) -> date:
    try:
        return first + timedelta(days=days)
    except OverflowError:
        raise ValueError(f"{first} is too late: dates end on {date.max}") from None


def partition_key(day: date, cadence: Cadence) -> str:
    """Key of the partition that holds the UTC ``day``."""
    text = day.isoformat()
    return text if cadence is Cadence.DAILY else text[: len("YYYY-MM")]


def partition_keys(first: date, end: date, cadence: Cadence) -> list[str]:
    """Keys of all partitions that hold a day of [first, end), in order."""
    days = ((first + timedelta(days=i)) for i in range((end - first).days))
    return list(dict.fromkeys(partition_key(day, cadence) for day in days))
