"""Bronze order book tables to silver: depth within bands, best bid and ask."""

from __future__ import annotations

from datetime import date

import polars as pl

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.schemas.book import BOOK_DEPTH, BOOK_TICKER
from crypto_lakehouse.transforms.silver.clean import (
    TEXT_TIME,
    Cleaned,
    Rule,
    canonical,
    clean,
    epoch_to_time,
    text_to_time,
    time_rules,
)


def clean_book_depth(bronze: pl.DataFrame, feed: Feed, first: date, end: date) -> Cleaned:
    """Silver book depth of the partition [first, end), UTC days, from its bronze rows.

    ``percentage`` is the edge of a band on either side of the mid price. Bands that the epoch registry does not list
    for that day stay; the check ``epochs`` reports them. If a time has several rows of a band, the row with the
    greatest depth is kept, then the greatest notional, then the last in the file.
    """
    amounts = [canonical("depth"), canonical("notional")]
    return clean(
        bronze,
        feed,
        BOOK_DEPTH,
        columns={
            "time": text_to_time(pl.col("timestamp")),
            "percentage": pl.col("percentage"),
            "depth": pl.col("depth"),
            "notional": pl.col("notional"),
        },
        rules=[
            *time_rules({"timestamp": canonical("time")}, first, end, TEXT_TIME),
            Rule(
                "no_band",
                ~canonical("percentage").is_finite() | (canonical("percentage") == 0),
                "percentage is NaN, infinite or 0",
            ),
            Rule("not_finite", ~pl.all_horizontal(e.is_finite() for e in amounts), "an amount is NaN or infinite"),
            Rule("negative_depth", pl.any_horizontal(e < 0 for e in amounts), "depth or notional is negative"),
        ],
        prefer=amounts,
        preferred="another row of this symbol, time and band has more depth, then more notional, or stands later",
    )


def clean_book_ticker(bronze: pl.DataFrame, feed: Feed, first: date, end: date) -> Cleaned:
    """Silver best bid and ask of the partition [first, end), UTC days, from its bronze rows.

    A change belongs to the day of its transaction_time, the table's time. If the archive has it in the file of the
    next day, by its event_time, ``edges.py`` finds it there. A side without orders has amount and price 0 and is kept,
    and so is a book whose bid equals its ask. A bid above the ask is rejected. If several rows have the same
    update_id, the row with the latest event_time is kept, then the last in the file.
    """
    bid, ask = canonical("best_bid_price"), canonical("best_ask_price")
    bids, asks = canonical("best_bid_quantity"), canonical("best_ask_quantity")
    return clean(
        bronze,
        feed,
        BOOK_TICKER,
        columns={
            "update_id": pl.col("update_id"),
            "transaction_time": epoch_to_time("transaction_time"),
            "event_time": epoch_to_time("event_time"),
            "best_bid_price": pl.col("best_bid_price"),
            "best_bid_quantity": pl.col("best_bid_qty"),
            "best_ask_price": pl.col("best_ask_price"),
            "best_ask_quantity": pl.col("best_ask_qty"),
        },
        rules=[
            *time_rules({name: canonical(name) for name in ("transaction_time", "event_time")}, first, end),
            Rule("negative_id", canonical("update_id") < 0, "update_id is negative"),
            Rule(
                "not_finite",
                ~pl.all_horizontal(e.is_finite() for e in (bid, ask, bids, asks)),
                "a price or amount is NaN or infinite",
            ),
            Rule("negative_quantity", (bids < 0) | (asks < 0), "an amount is negative"),
            Rule(
                "price_not_positive",
                (bid < 0) | (ask < 0) | ((bid == 0) & (bids > 0)) | ((ask == 0) & (asks > 0)),
                "a price is negative, or zero on a side that has orders",
            ),
            Rule("crossed_book", (bid > ask) & (ask > 0), "the best bid is above the best ask"),
        ],
        prefer=(canonical("event_time"),),
        preferred="another row with this update_id has a later event_time, or as late and stands later in the file",
    )
