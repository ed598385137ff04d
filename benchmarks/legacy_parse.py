"""The legacy way from zips to Parquet, reimplemented by its rules: the baseline of the ingest.

A task of a process pool is one symbol: each zip is read as a list of lines, a header line is skipped, Polars' lazy CSV
reader parses the list, ten columns stay, times become milliseconds UTC, and one Parquet file is written per zip. There
is no sha256, no CRC beyond zipfile's, and no sorting.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from zipfile import ZipFile

import polars as pl

from benchmarks.legacy_bars import KLINE_COLUMNS

_KEPT = {
    "open_time": pl.Int64,
    "open": pl.Float64,
    "high": pl.Float64,
    "low": pl.Float64,
    "close": pl.Float64,
    "volume": pl.Float64,
    "quote_volume": pl.Float64,
    "count": pl.Int64,
    "taker_buy_volume": pl.Float64,
    "taker_buy_quote_volume": pl.Float64,
}
_NAMES = ["open_time", "open", "high", "low", "close", "volume", "close_time", *list(_KEPT)[6:], "ignore"]


def parse_symbol(zips: list[str], target: str) -> int:
    """Write one Parquet file per zip into the folder ``target``; return their number."""
    folder = Path(target)
    folder.mkdir(parents=True, exist_ok=True)
    for name in zips:
        with ZipFile(name) as archive:
            lines = archive.open(archive.namelist()[0]).readlines()
        if lines[0].startswith(b"open_time"):
            lines = lines[1:]
        rows = pl.scan_csv(lines, has_header=False, new_columns=_NAMES, schema_overrides=_KEPT).select(list(_KEPT))
        in_us = pl.col("open_time").max() >= 10**15
        time = pl.when(in_us).then(pl.from_epoch("open_time", "us")).otherwise(pl.from_epoch("open_time", "ms"))
        rows = rows.with_columns(time.dt.replace_time_zone("UTC").dt.cast_time_unit("ms").alias("open_time"))
        rows = rows.rename(dict(zip(_KEPT, KLINE_COLUMNS.values(), strict=True)))
        rows.collect().write_parquet(folder / f"{Path(name).stem}.parquet")
    return len(zips)


def parse_all(pool: ProcessPoolExecutor, symbols: dict[str, list[str]], target: Path) -> int:
    """Parse the zips of all symbols in the pool; return the number of files."""
    tasks = [pool.submit(parse_symbol, zips, str(target / symbol)) for symbol, zips in symbols.items()]
    return sum(task.result() for task in tasks)
