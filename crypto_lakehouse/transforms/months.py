"""The rows of a monthly file by UTC day.

Pure. ``parse.py`` reads the file; rows stay as they are, also those that silver will reject.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from crypto_lakehouse.transforms.parse import RejectedRow
from crypto_lakehouse.transforms.silver.clean import epoch_to_time, within


def days_of_rows(times: pl.Series, first: date, end: date) -> pl.Series:
    """The UTC day of each row of a monthly file of [first, end), in the order of the file.

    A row whose time is not in the month belongs to the day of the row before it, or of the first row that is in the
    month: so each row is in exactly one partition, whose cleaner rejects it. All days are null if no row is in the
    month.

    Parameters
    ----------
    times
        Integers since the Unix epoch, in ms, us or ns.

    >>> from datetime import date
    >>> times = pl.Series([1704067200000, 5, 1704153600000])
    >>> days_of_rows(times, date(2024, 1, 1), date(2024, 2, 1)).dt.day().to_list()
    [1, 1, 2]
    """
    time = epoch_to_time("time")
    day = pl.when(within(time, first, end)).then(time.dt.date())
    return pl.DataFrame({"time": times}).select(day.forward_fill().backward_fill()).to_series()


def refused_by_day(refused: Sequence[RejectedRow], lines: pl.Series, days: pl.Series) -> dict[date, list[RejectedRow]]:
    """Lines that are no rows, by the day of the last row before them, or of the first row.

    ``lines`` and ``days`` are the line and the day of each row, in the order of the file.
    """
    by_day: dict[date, list[RejectedRow]] = {}
    for row in refused:
        position = max(0, int(lines.search_sorted(row.line)) - 1)
        by_day.setdefault(days[position], []).append(row)
    return by_day
