"""The legacy way from parsed klines to continuous minutes and bars, reimplemented by its rules: a baseline.

A task of a process pool is one symbol, whose klines of all days are one Parquet file. Traded minutes get a VWAP and the
funding rate of their minute, a calendar of all minutes is filled with the last close, and the series is split at gaps.
A task of resampling is one symbol and interval: it reads the minutes once, runs ``group_by_dynamic`` once per offset,
and writes each offset as its own Parquet file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import polars as pl

KLINE_COLUMNS = {
    "open_time": "candle_begin_time",
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "base_volume": "volume",
    "quote_volume": "quote_volume",
    "trade_count": "trade_num",
    "taker_buy_base_volume": "taker_buy_base_asset_volume",
    "taker_buy_quote_volume": "taker_buy_quote_asset_volume",
}
"""Columns of silver.klines_1m that a parsed legacy file has, with their names there."""

_T = "candle_begin_time"
_SUMS = list(KLINE_COLUMNS.values())[5:]
_DAY, _CHANGE = timedelta(days=1), 0.1
_PAID = 1e-6


def spawned_pool(processes: int) -> ProcessPoolExecutor:
    """Return a pool whose processes have started and imported their modules, with one Polars thread each."""
    before = os.environ.get("POLARS_MAX_THREADS")
    os.environ["POLARS_MAX_THREADS"] = "1"
    try:
        pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
        # Every submitted task may start another process.
        for task in [pool.submit(_ready) for _ in range(processes)]:
            task.result()
    finally:
        if before is None:
            del os.environ["POLARS_MAX_THREADS"]
        else:
            os.environ["POLARS_MAX_THREADS"] = before
    return pool


def continuous_all(pool: ProcessPoolExecutor, klines: Path, funding: Path, target: Path) -> int:
    """Write the continuous minutes of all symbols into ``target``; return the number of files."""
    target.mkdir(parents=True, exist_ok=True)
    names = sorted(path.name for path in klines.iterdir())
    return sum(pool.map(_continuous, *zip(*((klines / n, funding / n, target / n) for n in names), strict=True)))


def bars_all(
    pool: ProcessPoolExecutor,
    minutes: Path,
    target: Path,
    kinds: Iterable[tuple[timedelta | None, Sequence[timedelta]]],
) -> int:
    """Write bars of each interval and offset, of all symbols, into ``target``; return the number of files."""
    names = sorted(path.name for path in minutes.iterdir())
    tasks = [
        pool.submit(_bars, minutes / name, target / str(interval // timedelta(minutes=1)), interval, offsets)
        for interval, offsets in kinds
        if interval is not None
        for name in names
    ]
    return sum(task.result() for task in tasks)


def _ready() -> int:
    return pl.DataFrame({"a": [1]}).height


def _continuous(klines: Path, funding: Path, target: Path) -> int:
    traded = pl.read_parquet(klines).filter(pl.col("volume") > 0).unique(_T, keep="last").sort(_T)
    traded = traded.with_columns(
        vwap_1m=(pl.col("quote_volume") / pl.col("volume")).clip(pl.col("low"), pl.col("high"))
    )
    rates = pl.read_parquet(funding)
    traded = traded.join(rates, on=_T, how="left").with_columns(pl.col("funding_rate").fill_null(0.0))
    calendar = traded.select(pl.datetime_range(pl.col(_T).min(), pl.col(_T).max(), "1m").alias(_T))
    filled = calendar.join(traded, on=_T, how="left", maintain_order="left").with_columns(
        pl.col("close").forward_fill(), pl.col(*_SUMS, "funding_rate").fill_null(0)
    )
    filled = filled.with_columns(pl.col("open", "high", "low").fill_null(pl.col("close")))
    filled = filled.with_columns(pl.col("vwap_1m").fill_null(pl.col("open")))
    silence = pl.col(_T) - pl.col("previous")
    change = pl.col("open") / pl.col("close").shift(1) - 1
    gaps = (
        traded.with_columns(previous=pl.col(_T).shift(1))
        .filter(((silence > _DAY) & (change.abs() > _CHANGE)) | ((silence > 2 * _DAY) & (change.abs() > 0)))
        .select("previous", _T)
    )
    begin = filled[_T][0]
    files = 0
    for previous, resumed in gaps.iter_rows():
        filled.filter(pl.col(_T).is_between(begin, previous)).write_parquet(
            target.with_name(f"SP{files}_{target.name}")
        )
        begin, files = resumed, files + 1
    filled.filter(pl.col(_T) >= begin).write_parquet(target)
    return files + 1


def _bars(minutes: Path, target: Path, interval: timedelta, offsets: Sequence[timedelta]) -> int:
    rows = pl.read_parquet(minutes)
    paid = pl.col("funding_rate").abs() > _PAID
    for offset in offsets:
        made = (
            rows.group_by_dynamic(_T, every=interval, offset=offset)
            .agg(
                begin=pl.col(_T).first(),
                end=pl.col(_T).last() + timedelta(minutes=1),
                open=pl.col("open").first(),
                high=pl.col("high").max(),
                low=pl.col("low").min(),
                close=pl.col("close").last(),
                **{name: pl.col(name).sum() for name in _SUMS},
                vwap_1m_open=pl.col("vwap_1m").first(),
                funding_rate=pl.col("funding_rate").filter(paid).first(),
                funding_price=pl.col("open").filter(paid).first(),
                funding_time=pl.col(_T).filter(paid).first(),
            )
            .filter((pl.col(_T) + interval == pl.col("end")) | (pl.col(_T) < pl.col(_T).max()))
        )
        folder = target / str(offset // timedelta(minutes=1))
        folder.mkdir(parents=True, exist_ok=True)
        made.write_parquet(folder / minutes.name)
    return len(offsets)
