"""Compare stored rows with the epoch registry: units, bands, periods, intervals.

Each kind of rows has a function, listed by layer in BRONZE_CHECKS and SILVER_CHECKS. Frames are lazy and only
aggregates are collected, so a day may have any size. ``catalog.epochs`` is the registry; orchestration chooses the
partitions to check.

A finding is (symbol, description).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta

import polars as pl

from crypto_lakehouse.catalog import Feed, FieldType, parse_partition
from crypto_lakehouse.catalog.epochs import Epoch, Topic, epoch_value, epochs_of, known_faults
from crypto_lakehouse.transforms.silver.clean import midnight
from crypto_lakehouse.transforms.silver.futures import metrics_label

Finding = tuple[str, str]
EpochCheck = Callable[[pl.LazyFrame, Feed, date], list[Finding]]

_UNITS = {"ms": (10**12, 10**13), "us": (10**15, 10**16)}
# A band with at least this many rows and no change is frozen: five minutes at one row every 30 s.
_FEWEST_LOOKS = 10


def check_epochs(layer: str, rows: pl.LazyFrame, feed: Feed, key: str) -> list[Finding]:
    """Findings in the rows of one partition of ``layer`` (bronze, silver), with the known faults of the registry.

    ``rows`` have the schema of the feed's layer and may have more columns. Returns none if the registry has no fact to
    check. Raises ValueError if ``key`` is not a partition of the feed.
    """
    first, end = parse_partition(key, feed.cadence)
    check = checks_of(layer, feed)
    if check is None:
        return []
    return with_known(sorted(check(rows, feed, first)), feed, first, end)


def checks_of(layer: str, feed: Feed) -> EpochCheck | None:
    """The check of a feed's rows in the layer; None if the registry has no fact to check."""
    if layer == "bronze":
        if feed.schema in BRONZE_CHECKS:
            return BRONZE_CHECKS[feed.schema]
        times = [c for c in feed.file_format.columns if c.name in feed.file_format.time_columns]
        return check_time_unit if all(c.type is FieldType.INT64 for c in times) else None
    return SILVER_CHECKS.get(feed.schema) if layer == "silver" else None


def with_known(findings: list[Finding], feed: Feed, first: date, end: date) -> list[Finding]:
    """Findings in the files of the days [first, end), each with the known faults that the registry lists."""
    return [
        (symbol, "; ".join([text, *(_known(epoch) for epoch in known_faults(feed, first, end, symbol))]))
        for symbol, text in findings
    ]


def _known(epoch: Epoch) -> str:
    return f"known: {epoch.text} ({epoch.source})"


def _contradicted(feed: Feed, topic: Topic, day: date) -> str:
    """The facts of the registry for the day, with their sources, that rows contradict."""
    facts = [epoch for epoch in epochs_of(feed, topic) if epoch.holds_on(day)]
    return "; ".join(f"the registry says {fact.value}: {fact.text} ({fact.source})" for fact in facts)


def check_time_unit(rows: pl.LazyFrame, feed: Feed, day: date) -> list[Finding]:
    """Bronze: files whose times are not in the archive's unit of that day."""
    unit = epoch_value(feed, Topic.TIME_UNIT, day)
    if unit is None:
        return [("", f"the registry has no time unit of {feed.archive_type} on {day}: add it to the epochs")]
    low, high = _UNITS[unit]
    contradicted = _contradicted(feed, Topic.TIME_UNIT, day)
    counts = (
        rows.group_by("symbol", "source_key")
        .agg(
            (~pl.col(name).is_between(low, high, closed="left")).sum().alias(name)
            for name in feed.file_format.time_columns
        )
        .collect(engine="streaming")
    )
    return [
        (row["symbol"], f"{row['source_key']}: {row[name]:,} times in {name} are not in {unit}; {contradicted}")
        for row in counts.iter_rows(named=True)
        for name in feed.file_format.time_columns
        if row[name]
    ]


def check_labels(rows: pl.LazyFrame, feed: Feed, day: date) -> list[Finding]:
    """Bronze metrics: files whose labels contradict the registry, which says whether labels are period ends.

    A file from 00:05 to 00:00 of the next day labels period ends; one from 00:00 to 23:55 does not. No row is rejected
    for it, and no row counts as known too early: see ``known_time``.
    """
    value = epoch_value(feed, Topic.LABEL, day)
    if value is None:
        text = f"the registry does not say whether labels of {feed.archive_type} on {day} start or end a period: add it"
        return [("", text)]
    first, last = (metrics_label() == midnight(day + timedelta(days=n)) for n in (0, 1))
    files = (
        rows.group_by("symbol", "source_key").agg(first.any().alias("first"), last.any().alias("last")).sort("symbol")
    )
    ends = value == "period_end"
    other = (pl.col("first") & ~pl.col("last")) if ends else (pl.col("last") & ~pl.col("first"))
    faulty = files.filter(other).collect(engine="streaming")
    if faulty.is_empty():
        return []
    symbol, key, *_ = faulty.row(0)
    more = f" and {faulty.height - 1:,} more files have" if faulty.height > 1 else " has"
    seen = "00:00 to 23:55 of their own date" if ends else "00:05 to 00:00 of the next day"
    return [(symbol, f"{key}{more} labels of {seen}; {_contradicted(feed, Topic.LABEL, day)}")]


def check_bands(rows: pl.LazyFrame, feed: Feed, day: date) -> list[Finding]:
    """book_depth: bands that are not in the registry, and bands that never change while others do."""
    bands = (
        rows.group_by("symbol", "percentage")
        .agg(
            pl.len().alias("looks"),
            pl.all_horizontal(pl.col(name).min() == pl.col(name).max() for name in ("depth", "notional")).alias(
                "still"
            ),
        )
        .collect(engine="streaming")
        .sort("symbol", "percentage")
        .with_columns((~pl.col("still")).any().over("symbol").alias("others_move"))
    )
    edges = {float(edge) for edge in (epoch_value(feed, Topic.BANDS, day) or "").split(",") if edge}
    contradicted = _contradicted(feed, Topic.BANDS, day)
    frozen = [epoch for epoch in epochs_of(feed, Topic.FROZEN) if epoch.holds_on(day)]
    findings: list[Finding] = []
    for row in bands.iter_rows(named=True):
        band = row["percentage"]
        if abs(band) not in edges:
            names = ", ".join(f"±{edge:g}" for edge in sorted(edges))
            findings.append((row["symbol"], f"band {band:+g} % is not one of {names}; {contradicted}"))
        if row["still"] and row["others_move"] and row["looks"] >= _FEWEST_LOOKS:
            words = [_known(epoch) for epoch in frozen if band in {float(edge) for edge in epoch.value.split(",")}]
            text = f"frozen: band {band:+g} % never changes in {row['looks']:,} rows, while others do"
            findings.append((row["symbol"], "; ".join([text, *words])))
    return findings


def check_periods(rows: pl.LazyFrame, feed: Feed, day: date) -> list[Finding]:
    """open_interest: symbols with more or fewer rows than a whole day has."""
    expected = int(epoch_value(feed, Topic.ROWS, day) or 0)
    counts = rows.group_by("symbol").agg(pl.len().alias("n"), pl.col("label_time").min().alias("first"))
    different = counts.filter(pl.col("n") != expected).collect(engine="streaming")
    findings = []
    for symbol, n, first in different.iter_rows():
        may_be_before = first > midnight(day) and n < expected
        hint = "; the row of 00:00 may be in the file of the day before" if may_be_before else ""
        findings.append((symbol, f"{n:,} rows; a whole day has {expected:,}{hint}"))
    return findings


def check_funding(rows: pl.LazyFrame, feed: Feed, day: date) -> list[Finding]:
    """funding_rates: times too long after the hour, unknown intervals, events that are too early or too late.

    An event is on time if the distance to the event before is its own interval_hours, or the interval_hours of the
    event before: when the interval changes, either may apply.
    """
    most = timedelta(milliseconds=int(epoch_value(feed, Topic.JITTER, day) or 0))
    intervals = sorted(int(hours) for hours in (epoch_value(feed, Topic.INTERVAL, day) or "").split(",") if hours)
    step = pl.col("funding_hour").diff().over("symbol")
    hours = pl.duration(hours=pl.col("interval_hours"))
    events = rows.sort("symbol", "funding_hour").collect()
    marked = events.with_columns(
        (pl.col("funding_time") - pl.col("funding_hour") > most).alias("jitter"),
        (~pl.col("interval_hours").is_in(intervals)).alias("interval"),
        ((step != hours) & (step != hours.shift(1).over("symbol"))).fill_null(False).alias("step"),
    )
    known = ", ".join(map(str, intervals))
    texts = {
        "jitter": f"more than {most // timedelta(milliseconds=1)} ms after the hour",
        "interval": f"with an interval_hours that is not one of {known}",
        "step": "not interval_hours after the event before",
    }
    contradicted = {
        "jitter": f"; {_contradicted(feed, Topic.JITTER, day)}",
        "interval": f"; {_contradicted(feed, Topic.INTERVAL, day)}",
    }
    findings: list[Finding] = []
    for name, text in texts.items():
        bad = marked.filter(name).group_by("symbol", maintain_order=True).agg(pl.len(), pl.col("funding_time").first())
        findings += [
            (symbol, f"{n} events {text}, first {at:%Y-%m-%d %H:%M:%S}{contradicted.get(name, '')}")
            for symbol, n, at in bad.iter_rows()
        ]
    return findings


BRONZE_CHECKS: Mapping[str, EpochCheck] = {"open_interest": check_labels}
SILVER_CHECKS: Mapping[str, EpochCheck] = {
    "book_depth": check_bands,
    "open_interest": check_periods,
    "funding_rates": check_funding,
}
