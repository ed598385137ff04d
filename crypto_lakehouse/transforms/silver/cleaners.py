"""The cleaner of each silver schema: bronze rows of a feed to silver rows and rejected rows.

The cleaners are in the other modules of this package. ``pipeline/silver.py`` applies them to partitions.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import polars as pl

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.transforms.silver.book import clean_book_depth, clean_book_ticker
from crypto_lakehouse.transforms.silver.clean import Cleaned
from crypto_lakehouse.transforms.silver.funding import clean_funding_rates
from crypto_lakehouse.transforms.silver.futures import clean_liquidations, clean_open_interest
from crypto_lakehouse.transforms.silver.klines import clean_klines, clean_price_klines
from crypto_lakehouse.transforms.silver.options import clean_option_summaries, clean_volatility_index
from crypto_lakehouse.transforms.silver.trades import clean_agg_trades, clean_trades

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


def cleaner_of(feed: Feed) -> Callable[[pl.DataFrame, Feed, date, date], Cleaned]:
    """The cleaner of a feed's rows. Raises KeyError, which says where to add one."""
    try:
        return CLEANERS[feed.schema]
    except KeyError:
        raise KeyError(
            f"{feed.name}: no cleaner of {feed.schema}; add it to CLEANERS in transforms/silver/cleaners.py"
        ) from None
