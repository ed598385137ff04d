"""From which columns of bronze the columns of silver are made, by the expressions of the cleaners."""

from __future__ import annotations

import polars as pl

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.schemas import bronze_schema
from crypto_lakehouse.transforms.silver.cleaners import cleaner_of


def silver_columns(feed: Feed) -> dict[str, list[str]]:
    """Each silver column of a feed with the columns of bronze that it is made of; none for constants.

    >>> from crypto_lakehouse.catalog import feed
    >>> silver_columns(feed("binance", "cm", "klines_1m"))["quote_volume"]
    ['volume']
    """
    schema = bronze_schema(feed)
    cleaned = cleaner_of(feed)(pl.DataFrame(schema.empty()), feed, feed.first_date, feed.first_date)
    known = set(schema.column_names)
    # What a cleaner finds out about a whole file follows from the times in it.
    return {
        name: list(dict.fromkeys(root if root in known else schema.time_column for root in made.meta.root_names()))
        for name, made in cleaned.expressions.items()
    }
