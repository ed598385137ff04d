"""Bronze klines to silver: canonical columns and units, price and volume rules, one row per interval.

Covers klines of trades, and klines of prices that are not traded (mark price, index price, premium index).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.schemas.klines import KLINES
from crypto_lakehouse.schemas.price_klines import PRICE_KLINES
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

_PRICES = ("open", "high", "low", "close")
_VOLUMES = ("base_volume", "quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume")
# The premium is a difference: zero and negative values are valid.
_ALWAYS_POSITIVE = {"indexPriceKlines": True, "markPriceKlines": True, "premiumIndexKlines": False}


def clean_klines(bronze: pl.DataFrame, feed: Feed, first: date, end: date) -> Cleaned:
    """Silver klines of the partition [first, end), UTC days, from its bronze rows.

    Rows with open times off the interval's grid (2017-12, after the halts of 2018-02) are kept, and the times are
    rounded down to the grid. If a key has several rows, the row with the most trades is kept, then the greatest
    base_volume, then the last in the file; the others are rejected with their reason. On inverse markets
    ``base_volume`` is the file's quote_volume column, and ``quote_volume`` is contracts times the contract size in USD
    (https://github.com/binance/binance-public-data/issues/267).
    """
    contracts, whole = whole_contracts("volume")
    volumes = [canonical(name) for name in _VOLUMES]
    return clean(
        bronze,
        feed,
        KLINES,
        columns={
            **_bar(feed),
            "trade_count": pl.col("count"),
            **dict(zip(_VOLUMES, _volumes(bronze, feed), strict=True)),
            "contracts": contracts if feed.market.inverse else pl.lit(None, pl.Int64),
        },
        rules=[
            *_bar_rules(feed, first, end, always_positive=True, volumes=volumes),
            Rule(
                "negative_volume",
                pl.any_horizontal(e < 0 for e in (*volumes, canonical("trade_count"))),
                "a volume or the trade count is negative",
            ),
            Rule(
                "taker_over_volume",
                (canonical("taker_buy_base_volume") > canonical("base_volume"))
                | (canonical("taker_buy_quote_volume") > canonical("quote_volume")),
                "takers bought more than was traded",
            ),
            *([whole] if feed.market.inverse else []),
        ],
        prefer=(canonical("trade_count"), canonical("base_volume")),
        preferred="another row of this symbol and open_time has more trades, then more base_volume, then stands later",
    )


def clean_price_klines(bronze: pl.DataFrame, feed: Feed, first: date, end: date) -> Cleaned:
    """Silver klines of a price that is not traded, of the partition [first, end), UTC days, from its bronze rows.

    Open times are rounded down as in ``clean_klines``. Mark and index prices are positive; the premium index may be
    negative. If a key has several rows, the row with the most samples is kept, then the last in the file. The file's
    volumes have no meaning here and are dropped.
    """
    return clean(
        bronze,
        feed,
        PRICE_KLINES,
        columns={**_bar(feed), "sample_count": pl.col("count")},
        rules=[
            *_bar_rules(feed, first, end, always_positive=_ALWAYS_POSITIVE[feed.archive_type]),
            Rule("negative_count", canonical("sample_count") < 0, "the count of samples is negative"),
        ],
        prefer=(canonical("sample_count"),),
        preferred="another row of this symbol and open_time has more samples, or as many and stands later",
    )


def _bar(feed: Feed) -> dict[str, pl.Expr]:
    return {
        "open_time": _snapped(epoch_to_time("open_time"), feed),
        "close_time": epoch_to_time("close_time"),
        **{name: pl.col(name) for name in _PRICES},
    }


def _snapped(time: pl.Expr, feed: Feed) -> pl.Expr:
    """The time rounded down to the interval's grid. Multi-day bars keep the exchange's time."""
    assert feed.interval is not None
    length = feed.interval.length
    return time.dt.truncate(length) if length is not None and length.days < 1 else time


def _volumes(bronze: pl.DataFrame, feed: Feed) -> list[pl.Expr]:
    """Expressions for _VOLUMES, in its order."""
    if not feed.market.inverse:
        return [pl.col(c) for c in ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")]
    size = contract_size(feed.market, bronze["symbol"])
    return [
        pl.col("quote_volume"),
        pl.col("volume") * size,
        pl.col("taker_buy_quote_volume"),
        pl.col("taker_buy_volume") * size,
    ]


def _bar_rules(
    feed: Feed, first: date, end: date, always_positive: bool, volumes: Sequence[pl.Expr] = ()
) -> list[Rule]:
    assert feed.interval is not None
    # From the file's own open time, before it is rounded down to the grid.
    interval_end = epoch_to_time("open_time").dt.offset_by(feed.interval.name)
    prices = [canonical(name) for name in _PRICES]
    body = [canonical("open"), canonical("close")]
    positive = Rule("price_not_positive", ~pl.all_horizontal(e > 0 for e in prices), "a price is zero or negative")
    return [
        *time_rules({name: canonical(name) for name in ("open_time", "close_time")}, first, end),
        Rule("close_before_open", canonical("close_time") < canonical("open_time"), "close_time is before open_time"),
        # A bar may close early, before a halt. A bar that closes late belongs to another interval.
        Rule(
            "close_after_interval",
            canonical("close_time") > interval_end,
            f"close_time is more than {feed.interval.name} after open_time",
        ),
        Rule(
            "not_finite",
            ~pl.all_horizontal(e.is_finite() for e in (*prices, *volumes)),
            "a price or volume is NaN or infinite",
        ),
        *([positive] if always_positive else []),
        Rule(
            "price_order",
            (canonical("low") > pl.min_horizontal(*body)) | (canonical("high") < pl.max_horizontal(*body)),
            "low <= open, close <= high does not hold",
        ),
    ]
