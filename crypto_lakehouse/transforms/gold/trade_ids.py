"""Check the ids of trades: which exist, which are missing, and which are repeated from an earlier day.

This module needs only ids and times of silver rows. It can process a day in chunks: ``before`` then holds the last ids
of the earlier chunks (``later_ids``), ``merge_summaries`` joins summaries, and the other results are concatenated. The
pipeline chooses the days and reads them.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from crypto_lakehouse.schemas.trade_ids import ID_CONTINUITY

_TIME = pl.Datetime("us", "UTC")


def no_ids() -> pl.DataFrame:
    """An empty table of last ids (symbol, last_id, last_time), for when the time before is unknown."""
    return pl.DataFrame(schema={"symbol": pl.String, "last_id": pl.Int64, "last_time": _TIME})


def id_summary(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per symbol of silver trades or agg_trades, in any order: rows, first_id, last_id, first_time, last_time.

    The times are those of the rows with the first and the last id.
    """
    at_first, at_last = pl.col("trade_id").arg_min(), pl.col("trade_id").arg_max()
    return (
        rows.group_by("symbol")
        .agg(
            rows=pl.len().cast(pl.Int64),
            first_id=pl.col("trade_id").min(),
            last_id=pl.col("trade_id").max(),
            first_time=pl.col("time").get(at_first),
            last_time=pl.col("time").get(at_last),
        )
        .sort("symbol")
    )


def merge_summaries(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Join the summaries of chunks (at least one, in any order) to the summary of all rows."""
    return (
        pl.concat(parts)
        .group_by("symbol")
        .agg(
            pl.col("rows").sum(),
            pl.col("first_id").min(),
            pl.col("last_id").max(),
            pl.col("first_time").get(pl.col("first_id").arg_min()),
            pl.col("last_time").get(pl.col("last_id").arg_max()),
        )
        .sort("symbol")
    )


def later_ids(before: pl.DataFrame, summary: pl.DataFrame) -> pl.DataFrame:
    """Last ids after the rows of ``summary``: the greater id of both sides; if equal, that of ``before``."""
    both = pl.concat([before, summary.select(before.columns)])
    greatest = both.sort("symbol", "last_id", descending=[False, True], maintain_order=True)
    return greatest.unique("symbol", keep="first", maintain_order=True)


def missing_ranges(rows: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """Ranges of missing ids (MISSING_IDS) within ``rows``, and between ``before`` and ``rows``.

    ``rows`` may be in any order; a chunk must hold every row between its first and its last id. For a symbol that is
    not in ``before``, no id counts as missing before its first row. No id up to ``last_id`` of ``before`` counts as
    missing either, because earlier rows may have it.
    """
    known = (
        rows.select("symbol", "trade_id", "time")
        .sort("symbol", "trade_id")
        .join(before, on="symbol", how="left", maintain_order="left")
        .with_columns(
            pl.when(pl.col("symbol") == pl.col("symbol").shift(1)).then(pl.col(name).shift(1)).alias(f"prior_{name}")
            for name in ("trade_id", "time")
        )
    )
    inner = (pl.col("prior_trade_id") > pl.col("last_id")).fill_null(pl.col("last_id").is_null())
    after_holes = known.with_columns(
        id_before=pl.when(inner).then("prior_trade_id").otherwise("last_id"),
        time_before=pl.when(inner).then("prior_time").otherwise("last_time"),
    ).filter(pl.col("trade_id") > pl.col("id_before") + 1)
    return after_holes.select(
        "symbol",
        first_missing_id=pl.col("id_before") + 1,
        last_missing_id=pl.col("trade_id") - 1,
        missing_ids=pl.col("trade_id") - pl.col("id_before") - 1,
        refused=pl.lit(False),
        time_before="time_before",
        time_after="time",
    )


def mark_refused(ranges: pl.DataFrame, refused: pl.DataFrame) -> pl.DataFrame:
    """Cut the ranges (MISSING_IDS) around the ids of ``refused`` (symbol, trade_id), and mark these ids as refused.

    Marks and cuts of an earlier call are undone first, so the result depends only on the last ``refused``.
    """
    whole = _uncut(ranges)
    inside = (
        refused.unique()
        .sort("symbol", "trade_id")
        .join_asof(
            whole.sort("symbol", "first_missing_id"),
            left_on="trade_id",
            right_on="first_missing_id",
            by="symbol",
            coalesce=False,
            check_sortedness=False,
        )
        .filter(pl.col("trade_id") <= pl.col("last_missing_id"))
    )
    run = (pl.col("trade_id") - pl.int_range(pl.len())).alias("run")
    runs = inside.group_by("symbol", "first_missing_id", "last_missing_id", "time_before", "time_after", run).agg(
        start=pl.col("trade_id").min(), end=pl.col("trade_id").max()
    )
    runs = runs.sort("symbol", "start")
    gap = ["symbol", "first_missing_id"]
    lead = runs.with_columns(
        end=pl.col("start") - 1, start=pl.coalesce(pl.col("end").shift().over(gap) + 1, "first_missing_id")
    )
    tail = runs.group_by(gap, maintain_order=True).last().with_columns(start=pl.col("end") + 1, end="last_missing_id")
    others = pl.concat([lead, tail.select(lead.columns)]).filter(pl.col("start") <= pl.col("end"))
    untouched = whole.join(runs, on=gap, how="anti")
    pieces = [
        piece.select(
            "symbol",
            first_missing_id="start",
            last_missing_id="end",
            missing_ids=pl.col("end") - pl.col("start") + 1,
            refused=pl.lit(mark),
            time_before="time_before",
            time_after="time_after",
        )
        for piece, mark in ((runs, True), (others, False))
    ]
    return pl.concat([untouched, *pieces]).sort("symbol", "first_missing_id")


def _uncut(ranges: pl.DataFrame) -> pl.DataFrame:
    """The ranges before any marks: joins adjacent ranges."""
    touches = (pl.col("first_missing_id") == pl.col("last_missing_id").shift().over("symbol") + 1).fill_null(False)
    return (
        ranges.sort("symbol", "first_missing_id")
        .group_by("symbol", (~touches).cum_sum().alias("whole"), maintain_order=True)
        .agg(
            pl.col("first_missing_id").first(),
            pl.col("last_missing_id").last(),
            pl.col("missing_ids").sum(),
            refused=pl.lit(False).first(),
            time_before=pl.col("time_before").first(),
            time_after=pl.col("time_after").first(),
        )
        .drop("whole")
    )


def repeated_ids(rows: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """The number of rows per symbol (symbol, repeated_ids) whose id is not above ``last_id`` of the day before.

    For a day in chunks, add up the numbers of the chunks, each with the same ``before``.
    """
    known = rows.select("symbol", "trade_id").join(before, on="symbol")
    repeated = known.filter(pl.col("trade_id") <= pl.col("last_id"))
    return repeated.group_by("symbol").agg(repeated_ids=pl.len().cast(pl.Int64)).sort("symbol")


def id_continuity(
    summary: pl.DataFrame,
    missing: pl.DataFrame,
    repeated: pl.DataFrame,
    before: pl.DataFrame,
    bronze_rows: pl.DataFrame | None,
) -> pl.DataFrame:
    """One row per symbol of a day (ID_CONTINUITY), from the results for its rows.

    ``repeated`` may have several rows per symbol, which are added up. ``before`` has the last ids of the day before.
    ``bronze_rows`` (symbol, len) counts the bronze rows of the day; None if bronze does not have the day.
    """
    lost = missing.group_by("symbol").agg(
        pl.col("missing_ids").sum(),
        missing_ranges=pl.len().cast(pl.Int64),
        refused_ids=pl.col("missing_ids").filter("refused").sum(),
    )
    counts = repeated.group_by("symbol").agg(pl.col("repeated_ids").sum())
    in_bronze = summary.select("symbol", len=pl.lit(None, pl.Int64)) if bronze_rows is None else bronze_rows
    joined = (
        summary.join(lost, on="symbol", how="left")
        .join(counts, on="symbol", how="left")
        .join(in_bronze, on="symbol", how="left")
        .join(before.rename({"last_id": "before_id", "last_time": "before_time"}), on="symbol", how="left")
    )
    return (
        joined.with_columns(
            pl.col("missing_ids", "missing_ranges", "refused_ids", "repeated_ids").fill_null(0),
            removed_rows=pl.col("len").cast(pl.Int64) - pl.col("rows"),
        )
        .select(ID_CONTINUITY.column_names)
        .sort("symbol")
    )


def id_findings(continuity: pl.DataFrame) -> list[tuple[str, str]]:
    """Findings (symbol, description) for missing, refused and repeated ids of one day (ID_CONTINUITY)."""
    findings = []
    for row in continuity.sort("symbol").iter_rows(named=True):
        if row["missing_ids"]:
            text = f"{row['missing_ids']} ids are missing in {row['missing_ranges']} ranges"
            if row["refused_ids"]:
                text += f", {row['refused_ids']} of them refused here: see the quarantine"
            findings.append((row["symbol"], text))
        if row["repeated_ids"]:
            text = f"{row['repeated_ids']} ids are not above {row['before_id']}, the last id of the day before"
            findings.append((row["symbol"], text))
    return findings
