"""Numbers of a market across its symbols, from bars of one interval: breadth, and correlation of returns.

A return compares a bar with the bar just before it, of the same symbol and segment, if something was traded in both:
none reaches across a gap, a missing day, or a window without trades.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

COLUMNS = ("symbol", "segment", "open_time", "close_time", "close", "first_minute")
"""The columns of bars that are needed."""
LEAST_RETURNS = 3
"""A correlation needs so many common returns; with two it is always 1 or -1."""

_MICROSECOND = pl.duration(microseconds=1)
# A moving mean of one price differs from it in the last digits.
_EQUAL = 1e-12


def breadth(bars: pl.DataFrame, average: int) -> pl.DataFrame:
    """Count, for each window, the symbols that rise, fall, and are above their moving average.

    A symbol rises in a window if its return is above 0, and falls if it is below. Its moving average is the mean of the
    closes of ``average`` windows without interruption, the own one included.

    Returns one row per open_time, ascending: ``symbols`` with a return, ``advancing`` and ``declining`` of them,
    ``averaged`` symbols with a moving average, ``above`` of them; ``advancing_share`` is advancing / symbols and
    ``above_share`` is above / averaged, null where nothing is counted. Windows without any count are left out.
    """
    mean = pl.col("close").rolling_mean(average).over("symbol", "stretch")
    counts = (
        _returns(bars)
        .with_columns(mean=mean)
        .group_by("open_time")
        .agg(
            symbols=pl.col("change").count(),
            advancing=(pl.col("change") > 0).sum(),
            declining=(pl.col("change") < 0).sum(),
            averaged=pl.col("mean").count(),
            above=(pl.col("close") > pl.col("mean") * (1 + _EQUAL)).sum(),
        )
        .cast({pl.UInt32: pl.Int64})
    )
    return (
        counts.filter((pl.col("symbols") > 0) | (pl.col("averaged") > 0))
        .with_columns(
            advancing_share=_share("advancing", "symbols"),
            above_share=_share("above", "averaged"),
        )
        .sort("open_time")
    )


def correlation(bars: pl.DataFrame) -> pl.DataFrame:
    """Correlate the returns of each two symbols, over the windows in which both have one.

    Pearson's coefficient: the sum of (x - mean x)(y - mean y), divided by the root of the sum of squares of (x - mean
    x) times that of (y - mean y).

    Returns one row per ordered pair: ``symbol``, ``other``, ``correlation``, and ``returns``, the number of common
    windows. The correlation is null below three of them, and for a symbol whose price does not move.
    """
    rows = _returns(bars).unique(["symbol", "open_time"], keep="last", maintain_order=True)
    wide = rows.pivot("symbol", index="open_time", values="change", sort_columns=True)
    symbols = wide.columns[1:]
    coefficients, counts = _pearson(wide.select(pl.col(symbols).fill_null(float("nan"))).to_numpy())
    return pl.DataFrame(
        {
            "symbol": [symbol for symbol in symbols for _ in symbols],
            "other": symbols * len(symbols),
            "correlation": coefficients.ravel(),
            "returns": counts.ravel(),
        },
        schema={"symbol": pl.String, "other": pl.String, "correlation": pl.Float64, "returns": pl.Int64},
    ).with_columns(pl.col("correlation").fill_nan(None))


def _returns(bars: pl.DataFrame) -> pl.DataFrame:
    """Add ``stretch``, the number of the stretch of bars without interruption, and ``change``, the return."""
    follows = (pl.col("open_time") == pl.col("close_time").shift(1) + _MICROSECOND) & (
        pl.col("segment") == pl.col("segment").shift(1)
    )
    traded = bars.filter(pl.col("first_minute").is_not_null()).sort("symbol", "open_time", "segment")
    return traded.with_columns(stretch=(~follows).fill_null(True).cum_sum().over("symbol")).with_columns(
        change=(pl.col("close") / pl.col("close").shift(1) - 1).over("symbol", "stretch")
    )


def _share(part: str, whole: str) -> pl.Expr:
    return pl.when(pl.col(whole) > 0).then(pl.col(part) / pl.col(whole))


def _pearson(changes: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Coefficients of each two columns and the number of rows in which both have a value; NaN where there is none."""
    size = changes.shape[1]
    present = ~np.isnan(changes)
    coefficients = np.full((size, size), np.nan)
    counts: Any = present.T.astype(np.int64) @ present.astype(np.int64)
    for first in range(size):
        for second in range(first, size):
            both = present[:, first] & present[:, second]
            if counts[first, second] < LEAST_RETURNS:
                continue
            x, y = (changes[both, column] - changes[both, column].mean() for column in (first, second))
            scale = np.sqrt((x @ x) * (y @ y))
            if scale > 0:
                value = min(1.0, max(-1.0, float(x @ y) / float(scale)))
                coefficients[first, second] = coefficients[second, first] = value
    return coefficients, counts
