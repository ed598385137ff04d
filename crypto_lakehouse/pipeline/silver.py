"""Bronze partitions to silver partitions: which transform cleans which table, and what it refused, recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from crypto_lakehouse.catalog import Feed, parse_partition
from crypto_lakehouse.lake.quarantine import record_rejected
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.transforms.book import clean_book_depth, clean_book_ticker
from crypto_lakehouse.transforms.clean import Cleaned
from crypto_lakehouse.transforms.funding import clean_funding_rates
from crypto_lakehouse.transforms.futures import clean_liquidations, clean_open_interest
from crypto_lakehouse.transforms.klines import clean_klines, clean_price_klines
from crypto_lakehouse.transforms.options import clean_option_summaries, clean_volatility_index
from crypto_lakehouse.transforms.trades import clean_agg_trades, clean_trades

CLEANERS: dict[str, Callable[[pl.DataFrame, Feed, date, date], Cleaned]] = {
    "klines": clean_klines,
    "agg_trades": clean_agg_trades,
    "trades": clean_trades,
    "funding_rates": clean_funding_rates,
    "price_klines": clean_price_klines,
    "open_interest": clean_open_interest,
    "book_depth": clean_book_depth,
    "book_ticker": clean_book_ticker,
    "liquidations": clean_liquidations,
    "volatility_index": clean_volatility_index,
    "option_summaries": clean_option_summaries,
}


@dataclass(slots=True)
class SilverPartition:
    """One partition in the feed's silver schema, and how many bronze rows were refused, by reason."""

    key: str
    rows: pl.DataFrame
    reasons: dict[str, int]


def silver_partition(feed: Feed, key: str, bronze: pl.DataFrame, store: LakeStore, now: datetime) -> SilverPartition:
    """Clean one bronze partition; what it refuses goes to the quarantine with its reason."""
    first, end = parse_partition(key, feed.cadence)
    cleaned = CLEANERS[feed.schema](bronze, feed, first, end)
    rejected = cleaned.rejected.with_columns(
        pl.lit(feed.table).alias("table"), pl.lit("silver").alias("layer"), pl.lit(key).alias("period")
    )
    record_rejected(store, feed, key, rejected.to_dicts(), now)
    reasons = dict(cleaned.rejected.group_by("reason").len().sort("reason").iter_rows())
    return SilverPartition(key, cleaned.rows, reasons)
