"""Stretches of bars that are not ordinary: filled ones, and pauses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

_MICROSECOND = timedelta(microseconds=1)
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Stretch:
    """A range of time [start, end] of a picture that is ``filled``, a ``gap`` or has ``no bars``."""

    kind: str
    start: datetime
    end: datetime


def stretches(bars: pl.DataFrame) -> list[Stretch]:
    """Return the stretches of bars that are mostly filled, and the pauses between bars, in order of time.

    A bar is filled if nothing was traded in at least half of its minutes. A pause is a gap if it starts a new segment.
    """
    found: list[Stretch] = []
    before: dict[str, Any] | None = None
    columns = ("open_time", "close_time", "segment", "n_filled", "n_minutes")
    for bar in bars.select(columns).iter_rows(named=True):
        if before is not None:
            pause = bar["open_time"] > before["close_time"] + _MICROSECOND
            if bar["segment"] != before["segment"] or pause:
                kind = "gap" if bar["segment"] != before["segment"] else "no bars"
                found.append(Stretch(kind, before["close_time"] + _MICROSECOND, bar["open_time"]))
        if bar["n_minutes"] and bar["n_filled"] >= _HALF * bar["n_minutes"]:
            end = bar["close_time"] + _MICROSECOND
            if found and found[-1].kind == "filled" and found[-1].end == bar["open_time"]:
                found[-1] = Stretch("filled", found[-1].start, end)
            else:
                found.append(Stretch("filled", bar["open_time"], end))
        before = bar
    return found
