"""Bronze klines to silver klines: canonical columns and units, price and volume rules, one row per interval."""

from __future__ import annotations

from datetime import date

import polars as pl

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.schemas.klines import KLINES
from crypto_lakehouse.transforms.clean import (
    Cleaned,
    Rule,
    epoch_to_time,
    midnight,
    one_row_per_key,
    source_name,
    split_by_rules,
)

# Canonical columns are made beside the file's, with this prefix: both have a quote_volume, and the
# file's own columns are still needed as the text of rejected rows.
_P = "canonical_"
_PRICES = ("open", "high", "low", "close")
_VOLUMES = ("base_volume", "quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume")


def clean_klines(bronze: pl.DataFrame, feed: Feed, first: date, end: date) -> Cleaned:
    """Silver klines of the partition [first, end), UTC days, from its bronze rows.

    Open times off the interval's grid (2017-12, after the halts of 2018-02) are kept and snapped down
    to it. Where a key comes more than once, the row with the most trades is kept, then the one with
    the greatest base_volume, then the last in the file; the others are rejected with their reason.
    On inverse markets ``base_volume`` is the file's quote_volume column and ``quote_volume`` is
    contracts times the contract size in USD
    (https://github.com/binance/binance-public-data/issues/267).
    """
    raw_columns = feed.file_format.column_names
    canonical = bronze.with_columns(
        _snapped(epoch_to_time("open_time"), feed).alias(f"{_P}open_time"),
        epoch_to_time("close_time").alias(f"{_P}close_time"),
        *(pl.col(name).alias(_P + name) for name in _PRICES),
        pl.col("count").alias(f"{_P}trade_count"),
        *_volumes(feed),
        pl.lit(source_name(feed)).alias(f"{_P}source"),
        pl.col("symbol").alias(f"{_P}symbol"),
    )
    split = split_by_rules(canonical, _rules(feed, first, end), raw_columns)
    kept = one_row_per_key(
        split.rows,
        key=(f"{_P}symbol", f"{_P}open_time"),
        prefer=(f"{_P}trade_count", f"{_P}base_volume"),
        values=[_P + name for name in KLINES.column_names],
        raw_columns=raw_columns,
        rule="another row of this symbol and open_time has more trades, then more base_volume, then stands later",
    )
    rows = kept.rows.select(pl.col(_P + name).alias(name) for name in KLINES.column_names)
    return Cleaned(rows, pl.concat([split.rejected, kept.rejected]))


def _snapped(time: pl.Expr, feed: Feed) -> pl.Expr:
    """Down to the interval's grid. Multi-day bars are keyed by what the exchange states."""
    assert feed.interval is not None
    length = feed.interval.length
    return time.dt.truncate(length) if length is not None and length.days < 1 else time


def _volumes(feed: Feed) -> list[pl.Expr]:
    if not feed.market.inverse:
        return [
            pl.col("volume").alias(f"{_P}base_volume"),
            pl.col("quote_volume").alias(f"{_P}quote_volume"),
            pl.col("taker_buy_volume").alias(f"{_P}taker_buy_base_volume"),
            pl.col("taker_buy_quote_volume").alias(f"{_P}taker_buy_quote_volume"),
            pl.lit(None, pl.Int64).alias(f"{_P}contracts"),
        ]
    market = feed.market
    size = (
        pl.col("symbol")
        .str.split("_")
        .list.first()
        .replace_strict(dict(market.contract_sizes), default=market.contract_size_default, return_dtype=pl.Float64)
    )
    return [
        pl.col("quote_volume").alias(f"{_P}base_volume"),
        (pl.col("volume") * size).alias(f"{_P}quote_volume"),
        pl.col("taker_buy_quote_volume").alias(f"{_P}taker_buy_base_volume"),
        (pl.col("taker_buy_volume") * size).alias(f"{_P}taker_buy_quote_volume"),
        pl.col("volume").cast(pl.Int64, strict=False).alias(f"{_P}contracts"),
    ]


def _rules(feed: Feed, first: date, end: date) -> list[Rule]:
    def column(name: str) -> pl.Expr:
        return pl.col(_P + name)

    prices = [column(name) for name in _PRICES]
    volumes = [column(name) for name in _VOLUMES]
    body = [column("open"), column("close")]
    rules = [
        Rule(
            "bad_time",
            column("open_time").is_null() | column("close_time").is_null(),
            "open_time or close_time is no time in ms, us or ns",
        ),
        Rule(
            "outside_partition",
            ~column("open_time").is_between(midnight(first), midnight(end), closed="left"),
            f"open_time is not within [{first}, {end}) UTC, which the file is named for",
        ),
        Rule("close_before_open", column("close_time") < column("open_time"), "close_time is before open_time"),
        Rule(
            "not_finite",
            ~pl.all_horizontal(e.is_finite() for e in (*prices, *volumes)),
            "a price or volume is NaN or infinite",
        ),
        Rule("price_not_positive", ~pl.all_horizontal(e > 0 for e in prices), "a price is zero or negative"),
        Rule(
            "price_order",
            (column("low") > pl.min_horizontal(*body)) | (column("high") < pl.max_horizontal(*body)),
            "low <= open, close <= high does not hold",
        ),
        Rule(
            "negative_volume",
            pl.any_horizontal(e < 0 for e in (*volumes, column("trade_count"))),
            "a volume or the trade count is negative",
        ),
        Rule(
            "taker_over_volume",
            (column("taker_buy_base_volume") > column("base_volume"))
            | (column("taker_buy_quote_volume") > column("quote_volume")),
            "takers bought more than was traded",
        ),
    ]
    if feed.market.inverse:
        rules.append(
            Rule("contracts_not_whole", pl.col("volume") != column("contracts"), "contracts is no whole number")
        )
    return rules
