"""Bar intervals, by the names the archive uses. Calendar arithmetic on frames lives in ``transforms``."""

from __future__ import annotations

from datetime import timedelta

from crypto_lakehouse.catalog.model import Interval

_LENGTHS: dict[str, timedelta | None] = {
    "1s": timedelta(seconds=1),
    "1m": timedelta(minutes=1),
    "3m": timedelta(minutes=3),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "30m": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "2h": timedelta(hours=2),
    "4h": timedelta(hours=4),
    "6h": timedelta(hours=6),
    "8h": timedelta(hours=8),
    "12h": timedelta(hours=12),
    "1d": timedelta(days=1),
    "3d": timedelta(days=3),
    "1w": timedelta(weeks=1),
    "1mo": None,
}

INTERVALS: dict[str, Interval] = {name: Interval(name, length) for name, length in _LENGTHS.items()}

MONTHLY_ONLY = ("3d", "1w", "1mo")
"""Intervals that the archive has only as monthly files."""
