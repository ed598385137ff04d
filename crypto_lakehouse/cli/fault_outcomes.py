"""What a lake says about each fault of the faulty archive, read back from its tables, and compared with the truth.

``fault_drill.py`` builds the lake.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import polars as pl

from crypto_lakehouse.lake.reader.lakehouse import Lakehouse
from crypto_lakehouse.lake.reader.warn import LakeWarning
from crypto_lakehouse.sample.faults import FAULTS, MARKET, TABLE, Fault

_MINUTE = timedelta(minutes=1)
_SILVER, _MISSING, _WITNESSES = f"silver.{TABLE}", "gold.missing_minutes", "gold.witnesses"
# The UTC day of a row of each table.
_DAYS = {
    _SILVER: pl.col("open_time").dt.date(),
    _MISSING: pl.col("start").dt.date(),
    _WITNESSES: pl.col("day").dt.date(),
}
# Columns of a kline in the file, by position, and their names in silver.
_COMPARED = {1: "open", 2: "high", 3: "low", 4: "close", 5: "base_volume", 7: "quote_volume", 8: "trade_count"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the tables of a lake say about the minutes, the symbols and the day of a fault; empty if nothing."""

    fault: Fault
    silver: str
    missing_minutes: str
    witnesses: str
    others: str


def outcomes(lake: Lakehouse) -> list[Outcome]:
    """What the lake says about each fault now."""
    return [
        Outcome(fault, _silver(lake, fault), _missing(lake, fault), _witnesses(lake, fault), _others(lake, fault))
        for fault in FAULTS
    ]


def report(before: Sequence[Outcome], after: Sequence[Outcome]) -> str:
    """The outcomes as a table in Markdown; a fault that heals has a second row."""
    names = ("fault", "symbol and day", "the archive", "rows of silver", "`missing_minutes`", "`witnesses`", "others")
    lines = [_line(names), _line(["---"] * len(names))]
    for first, second in zip(before, after, strict=True):
        fault = first.fault
        place = f"{fault.symbol or 'all'} {fault.period}"
        lines.append(_line((f"`{fault.name}`", place, fault.text, *_cells(first))))
        if fault.heals:
            lines.append(_line(("", "", "Later it publishes the right file.", *_cells(second))))
    return "\n".join(lines) + "\n"


def differences(lake: Lakehouse, truth: Path) -> pl.DataFrame:
    """The minutes in which silver is not what the daily files below ``truth`` have: other values, or no row there.

    Columns: symbol, open_time (UTC), the compared columns, and those of the truth with ``_true`` after their names.
    """
    names = list(_COMPARED.values())
    stored = lake.scan(_SILVER, market=MARKET).select("symbol", "open_time", *names).collect()
    paths = sorted(truth.glob(f"data/futures/{MARKET}/daily/klines/*/1m/*.zip"))
    true = pl.concat([_true_rows(path) for path in paths]).cast(stored.schema)
    both = stored.join(true, on=["symbol", "open_time"], how="full", coalesce=True, suffix="_true")
    return both.filter(pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_true")) for name in names))


def _true_rows(path: Path) -> pl.DataFrame:
    with zipfile.ZipFile(path) as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    rows = [line.split(",") for line in lines if line[0].isdigit()]
    values = {name: [float(row[at]) for row in rows] for at, name in _COMPARED.items()}
    times = [datetime.fromtimestamp(int(row[0]) / 1000, UTC) for row in rows]
    return pl.DataFrame({"symbol": [path.name.split("-")[0]] * len(rows), "open_time": times, **values})


def _cells(outcome: Outcome) -> tuple[str, ...]:
    return outcome.silver, outcome.missing_minutes, outcome.witnesses, outcome.others


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _span(fault: Fault) -> tuple[datetime, datetime]:
    """The minutes of a fault as UTC times [start, end)."""
    midnight = datetime.combine(fault.day, time(), UTC)
    first, end = fault.minutes
    return midnight + first * _MINUTE, midnight + end * _MINUTE


def _rows(lake: Lakehouse, table: str, fault: Fault) -> pl.DataFrame:
    """The rows of the fault's day and symbol in a table."""
    with warnings.catch_warnings():
        # A log without rows is not there yet: nothing was replaced or rejected.
        warnings.simplefilter("ignore", LakeWarning)
        rows = lake.scan(table, market=MARKET)
    # In logs the time column says when a row was written.
    day = pl.col("period") == fault.period if "period" in rows.collect_schema() else _DAYS[table] == fault.day
    return rows.filter(day, pl.col("symbol") == fault.symbol if fault.symbol else True).collect()


def _counted(rows: pl.DataFrame, name: str, number: pl.Expr) -> str:
    """Sums by the values of a column: ``archive_hole 120``."""
    sums = rows.group_by(name).agg(number.alias("number")).sort(name)
    return ", ".join(f"{value} {count:,}" for value, count in sums.select(name, "number").iter_rows())


def _silver(lake: Lakehouse, fault: Fault) -> str:
    start, end = _span(fault)
    rows = _rows(lake, _SILVER, fault).filter(pl.col("open_time").is_between(start, end, closed="left"))
    return _counted(rows, "source", pl.len()) or "none"


def _missing(lake: Lakehouse, fault: Fault) -> str:
    start, end = _span(fault)
    rows = _rows(lake, _MISSING, fault).filter((pl.col("start") < end) & (pl.col("end") > start))
    return _counted(rows, "reason", pl.col("minutes").sum())


def _witnesses(lake: Lakehouse, fault: Fault) -> str:
    return ", ".join(_rows(lake, _WITNESSES, fault)["verdict"]) if fault.symbol else ""


def _others(lake: Lakehouse, fault: Fault) -> str:
    """What the quarantine, the revisions and the instruments say about the symbol and day."""
    if not fault.symbol:
        return ""
    found = []
    for reason in _rows(lake, "quarantine.rejected", fault)["reason"].unique().sort():
        found.append(f"`quarantine.rejected`: {reason}")
    revisions = _rows(lake, "ledger.revisions", fault)
    for row in revisions.iter_rows(named=True):
        numbers = ", ".join(f"{name} {row[name]:,}" for name in ("added", "removed", "changed") if row[name])
        found.append(f"`ledger.revisions`: {numbers}")
    last = lake.scan("gold.instruments", market=MARKET).filter(pl.col("symbol") == fault.symbol).collect()
    for row in last.filter(pl.col("last_day") < fault.day).iter_rows(named=True):
        found.append(f"`instruments`: last day {row['last_day']}")
    return "; ".join(found)
