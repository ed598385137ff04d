"""Bronze partitions to silver partitions: which transform cleans which table, and what it refused, recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime

import polars as pl

from crypto_lakehouse.catalog import Feed, parse_partition
from crypto_lakehouse.lake.pieces import read_pieces
from crypto_lakehouse.lake.quarantine import record_rejected
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.pipeline.ahead import ahead
from crypto_lakehouse.schemas import bronze_schema, silver_schema
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

# Cleaned frames that wait for the writer, so that reading and cleaning overlap with encoding.
_FRAMES_AHEAD = 1


@dataclass(slots=True)
class SilverPartition:
    """One partition in the feed's silver schema, and how many bronze rows were refused, by reason.

    ``rows`` are frames in order, made while they are taken, once; ``reasons`` is known at their end.
    """

    key: str
    rows: Iterator[pl.DataFrame]
    reasons: dict[str, int] = field(default_factory=dict)


def silver_partition(feed: Feed, key: str, store: LakeStore, now: datetime) -> SilverPartition:
    """Clean one stored bronze partition; what it refuses goes to the quarantine with its reason.

    It is cleaned in pieces of whole symbols, and of whole primary keys where a symbol is large. Taking the
    rows raises MissingPartition if there is no bronze partition.
    """
    part = SilverPartition(key, iter(()))
    part.rows = ahead(_cleaned(feed, part, store, now), _FRAMES_AHEAD)
    return part


def _cleaned(feed: Feed, part: SilverPartition, store: LakeStore, now: datetime) -> Iterator[pl.DataFrame]:
    first, end = parse_partition(part.key, feed.cadence)
    for bronze in _pieces(feed, part.key, store):
        cleaned = CLEANERS[feed.schema](bronze, feed, first, end)
        if cleaned.rejected.height:
            rejected = cleaned.rejected.with_columns(
                pl.lit(feed.table).alias("table"), pl.lit("silver").alias("layer"), pl.lit(part.key).alias("period")
            )
            record_rejected(store, feed, part.key, rejected.to_dicts(), now)
            for reason, count in cleaned.rejected.group_by("reason").len().iter_rows():
                part.reasons[reason] = part.reasons.get(reason, 0) + count
        yield cleaned.rows
    part.reasons = dict(sorted(part.reasons.items()))


def _pieces(feed: Feed, key: str, store: LakeStore) -> Iterator[pl.DataFrame]:
    where = ("bronze", feed.table, feed.exchange, feed.market.name, key)
    pieces = read_pieces(store, *where, order=bronze_schema(feed).id_column)
    if silver_schema(feed).archive_symbol == "symbol":
        return pieces
    # Silver is in order of another symbol than bronze, so it is cleaned as a whole.
    whole = list(pieces)
    return iter([pl.concat(whole)] if whole else [])
