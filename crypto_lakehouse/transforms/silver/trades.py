"""Bronze trades and aggregate trades to silver: flags, amounts in common units for all markets, one row per id.

These tables have tens of millions of rows a day, so nothing here processes text row by row.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.schemas import Schema
from crypto_lakehouse.schemas.trades import AGG_TRADES, TRADES
from crypto_lakehouse.transforms.silver.clean import (
    Cleaned,
    Rule,
    canonical,
    clean,
    contract_size,
    epoch_to_time,
    time_rules,
    whole_contracts,
)


def clean_trades(bronze: pl.DataFrame, feed: Feed, first: date, end: date) -> Cleaned:
    """Silver trades of the partition [first, end), UTC days, from its bronze rows.

    A trade belongs to the day of its time. If the file of another day repeats it, that row is rejected as
    ``outside_partition``. If an id has several rows, the row with the earliest time is kept, then the greatest
    base_quantity, then the greatest price, then the last in the file. On inverse markets ``qty`` counts contracts,
    ``quote_quantity`` is contracts times the contract size in USD, and ``base_quantity`` is the file's base_qty.
    """
    inverse = feed.market.inverse
    best = "is_best_match" in feed.file_format.column_names
    return _clean(
        bronze,
        feed,
        first,
        end,
        schema=TRADES,
        file_id="id",
        file_time="time",
        file_quantity="qty",
        columns={
            "base_quantity": pl.col("base_qty" if inverse else "qty"),
            "quote_quantity": _usd(bronze, feed, "qty") if inverse else pl.col("quote_qty"),
            "is_best_match": _flag("is_best_match") if best else pl.lit(None, pl.Boolean),
        },
        rules=[_flag_rule("is_best_match")] if best else [],
    )


def clean_agg_trades(bronze: pl.DataFrame, feed: Feed, first: date, end: date) -> Cleaned:
    """Silver aggregate trades of the partition [first, end), UTC days, from its bronze rows.

    Days and repeated ids are treated as in ``clean_trades``. The file has one amount: ``base_quantity`` is that amount
    and ``quote_quantity`` is price times amount. On inverse markets the amount counts contracts: ``quote_quantity`` is
    contracts times the contract size in USD, and ``base_quantity`` is that divided by the price.
    """
    quantity, price = pl.col("quantity"), pl.col("price")
    inverse = feed.market.inverse
    value = _usd(bronze, feed, "quantity") if inverse else price * quantity
    return _clean(
        bronze,
        feed,
        first,
        end,
        schema=AGG_TRADES,
        file_id="agg_trade_id",
        file_time="transact_time",
        file_quantity="quantity",
        columns={
            "base_quantity": value / price if inverse else quantity,
            "quote_quantity": value,
            "first_trade_id": pl.col("first_trade_id"),
            "last_trade_id": pl.col("last_trade_id"),
        },
        rules=[
            Rule(
                "bad_trade_range",
                (canonical("first_trade_id") < 0) | (canonical("first_trade_id") > canonical("last_trade_id")),
                "0 <= first_trade_id <= last_trade_id does not hold",
            )
        ],
    )


def _clean(
    bronze: pl.DataFrame,
    feed: Feed,
    first: date,
    end: date,
    *,
    schema: Schema,
    file_id: str,
    file_time: str,
    file_quantity: str,
    columns: Mapping[str, pl.Expr],
    rules: list[Rule],
) -> Cleaned:
    """The cleaning that both tables share. Sign rules come before ``not_finite``, so that a price of 0, which makes an
    amount infinite, is reported as ``price_not_positive``.
    """
    inverse = feed.market.inverse
    contracts, whole = whole_contracts(file_quantity)
    price, base, quote = (canonical(name) for name in ("price", "base_quantity", "quote_quantity"))
    return clean(
        bronze,
        feed,
        schema,
        columns={
            "trade_id": pl.col(file_id),
            "time": epoch_to_time(file_time),
            "price": pl.col("price"),
            "contracts": contracts if inverse else pl.lit(None, pl.Int64),
            "is_buyer_maker": _flag("is_buyer_maker"),
            **columns,
        },
        rules=[
            *time_rules({file_time: canonical("time")}, first, end),
            Rule("negative_id", canonical("trade_id") < 0, f"{file_id} is negative"),
            Rule("price_not_positive", ~(price > 0), "the price is zero or negative"),
            # The file rounds the other amount of a tiny trade to 0.
            Rule(
                "quantity_not_positive",
                ~(pl.col(file_quantity) > 0) | (base < 0) | (quote < 0),
                f"{file_quantity} is zero or negative, or the other amount is negative",
            ),
            Rule(
                "not_finite",
                ~pl.all_horizontal(e.is_finite() for e in (price, base, quote)),
                "the price or an amount is NaN or infinite",
            ),
            _flag_rule("is_buyer_maker"),
            *([whole] if inverse else []),
            *rules,
        ],
        prefer=(-canonical("time").to_physical(), base, price),
        preferred="another row with this id is earlier, then has more base_quantity, a greater price, or stands later",
    )


def _usd(bronze: pl.DataFrame, feed: Feed, contracts: str) -> pl.Expr:
    return pl.col(contracts) * contract_size(feed.market, bronze["symbol"])


def _flag(column: str) -> pl.Expr:
    """Text ``true`` or ``True``, ``false`` or ``False`` as a boolean; any other text gives null."""
    text = pl.col(column)
    yes = (text == "true") | (text == "True")
    return pl.when(yes | (text == "false") | (text == "False")).then(yes)


def _flag_rule(name: str) -> Rule:
    return Rule("bad_flag", canonical(name).is_null(), f"{name} is neither true nor false")
