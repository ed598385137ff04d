"""Kinds of bars, by name: time bars of an interval on one or more offset grids, and activity bars.

Defines what ``LAKEHOUSE_BARS`` and ``Lakehouse.bars`` accept, and the name of the table that holds each kind.
``transforms`` computes the bars.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from crypto_lakehouse.catalog.intervals import INTERVALS
from crypto_lakehouse.catalog.model import Interval

BAR_INTERVALS = tuple(name for name in INTERVALS if name not in ("1s", "1m"))
ACTIVITIES = ("dollar", "volume", "tick")
LONGEST_MONTH = timedelta(days=31)
_OFFSET = re.compile(r"([1-9][0-9]{0,3})(m|h)")
_LENGTH = re.compile(r"([0-9]{1,5})(m|h|d)")
_THRESHOLD = re.compile(r"[1-9][0-9]{0,14}")


@dataclass(frozen=True, slots=True)
class TimeBars:
    """Bars of ``interval``; with ``step``, one variant per offset 0, step, 2 step, ... below the interval."""

    interval: Interval
    step: timedelta | None = None

    @property
    def name(self) -> str:
        """The name in settings: ``1h``, or ``1h:5m`` for twelve offsets."""
        return self.interval.name if self.step is None else f"{self.interval.name}:{offset_name(self.step)}"

    @property
    def table(self) -> str:
        """``bars_1h``, or ``bars_1h_by_5m``."""
        return f"bars_{self.name.replace(':', '_by_')}"

    @property
    def offsets(self) -> tuple[timedelta, ...]:
        """Offsets of the variants, ascending, from zero."""
        if self.step is None or self.interval.length is None:
            return (timedelta(0),)
        return tuple(self.step * i for i in range(self.interval.length // self.step))


@dataclass(frozen=True, slots=True)
class ActivityBars:
    """Bars that close once traded activity reaches ``threshold``.

    ``activity`` is ``dollar`` (quote_volume), ``volume`` (base_volume) or ``tick`` (trade_count).
    """

    activity: str
    threshold: int

    @property
    def name(self) -> str:
        """The name in settings: ``dollar:1000000``."""
        return f"{self.activity}:{self.threshold}"

    @property
    def table(self) -> str:
        """``bars_dollar_1000000``."""
        return f"bars_{self.activity}_{self.threshold}"


Bars = TimeBars | ActivityBars


def parse_bars(text: str) -> Bars:
    """One kind of bars from its name. Raises ValueError, which lists what is allowed.

    >>> parse_bars("1h:5m").table
    'bars_1h_by_5m'
    """
    name, colon, rest = text.strip().partition(":")
    if name in ACTIVITIES:
        if not _THRESHOLD.fullmatch(rest):
            raise ValueError(f"{text!r}: {name} bars need a threshold, a whole number, such as {name}:1000000")
        return ActivityBars(name, int(rest))
    if name not in BAR_INTERVALS:
        similar = _similar_interval(name)
        hint = f"did you mean {similar}? There are" if similar else "there are"
        raise ValueError(f"no bars {text!r}; {hint} {', '.join((*BAR_INTERVALS, *ACTIVITIES))}")
    interval = INTERVALS[name]
    if not colon:
        return TimeBars(interval)
    step = parse_offset(rest)
    if interval.length is None or not step or step >= interval.length:
        raise ValueError(f"{text!r}: the step of the offsets must be shorter than the interval, such as 1h:5m")
    return TimeBars(interval, step)


def is_bars(text: str) -> bool:
    """Whether a text names a kind of bars.

    >>> is_bars("1h"), is_bars("BTCUSDT")
    (True, False)
    """
    with suppress(ValueError):
        return bool(parse_bars(text))
    return False


def _similar_interval(name: str) -> str | None:
    """The interval of the same length, or of the same letters.

    >>> _similar_interval("60m"), _similar_interval("1H"), _similar_interval("7h")
    ('1h', '1h', None)
    """
    if match := _LENGTH.fullmatch(name.casefold()):
        length = int(match[1]) * {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}[match[2]]
        return next((known for known in BAR_INTERVALS if INTERVALS[known].length == length), None)
    return next((known for known in BAR_INTERVALS if known == name.casefold()), None)


def parse_bars_list(text: str) -> tuple[Bars, ...]:
    """A comma-separated list of kinds of bars, in order, without repeats; empty text returns none."""
    return tuple(dict.fromkeys(parse_bars(part) for part in text.split(",") if part.strip()))


def bars_of_table(table: str) -> Bars | None:
    """The kind of bars that a gold table holds; None if the name is not a table of bars.

    Only the registry of gold tables calls this, because the kinds of bars have no end and a lake does not hold the
    settings that it was built with: the name is all that a reader has. It counts only if its kind has that very name.
    ``bars_2h_by_1h`` would be a second name for ``bars_2h_by_60m``, and always empty.

    >>> bars_of_table("bars_1h_by_5m").name
    '1h:5m'
    """
    text = table.removeprefix("bars_")
    for name in (text, text.replace("_by_", ":"), text.replace("_", ":")):
        with suppress(ValueError):
            if (bars := parse_bars(name)).table == table:
                return bars
    return None


def parse_offset(text: str) -> timedelta:
    """A length in whole minutes or hours: ``5m``, ``1h``, ``0m``. Raises ValueError on anything else."""
    if text in ("0m", "0h"):
        return timedelta(0)
    if not (match := _OFFSET.fullmatch(text)):
        raise ValueError(f"{text!r} is not an offset such as 5m or 1h")
    count = int(match[1])
    return timedelta(minutes=count) if match[2] == "m" else timedelta(hours=count)


def offset_name(offset: timedelta) -> str:
    """An offset in minutes, as settings and exports write it: ``5m``."""
    return f"{offset // timedelta(minutes=1)}m"


def closing_lag(bars: Bars) -> timedelta:
    """Return how much later than its open_time a bar may close, beyond the day on which it opens.

    A bar is stored in the partition of the day on which it closes. So bars that open before ``t`` are in partitions
    that start before ``t + closing_lag``, and a partition needs the minutes of that many days before it.
    """
    if isinstance(bars, ActivityBars) or bars.interval.length is None:
        return LONGEST_MONTH
    # On the grid of offset zero, bars that divide a day close on the day on which they open.
    within_a_day = bars.step is None and timedelta(days=1) % bars.interval.length == timedelta(0)
    return timedelta(0) if within_a_day else bars.interval.length
