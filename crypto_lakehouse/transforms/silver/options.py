"""Bronze options tables to silver: the volatility index, and hourly summaries of contracts."""

from __future__ import annotations

from datetime import date

import polars as pl

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.schemas.options import OPTION_SUMMARIES, VOLATILITY_INDEX
from crypto_lakehouse.transforms.silver.clean import (
    Cleaned,
    Rule,
    canonical,
    clean,
    epoch_to_time,
    file_symbol_rule,
    text_to_time,
    time_rules,
    value_rules,
)

# Underlying, day of expiry, strike, call or put: BTC-230526-25000-C, DOGE-230526-0.075-P.
_CONTRACT = r"^[A-Z0-9]{1,20}-[0-9]{6}-[0-9]{1,12}(\.[0-9]{1,12})?-[CP]$"
_TYPES = {"C": "C", "P": "P", "CALL": "C", "PUT": "P"}
_NOT_NEGATIVE = {
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "contracts": "volume_contracts",
    "quote_volume": "volume_usdt",
    "best_bid_price": "best_bid_price",
    "best_ask_price": "best_ask_price",
    "best_bid_quantity": "best_bid_qty",
    "best_ask_quantity": "best_ask_qty",
    "mark_price": "mark_price",
    "open_interest_contracts": "openinterest_contracts",
    "open_interest_value": "openinterest_usdt",
}
# Greeks have a sign, and the exchange wrote -1 for a volatility that it could not compute.
_OF_EITHER_SIGN = {
    "best_bid_iv": "best_buy_iv",
    "best_ask_iv": "best_sell_iv",
    "mark_iv": "mark_iv",
    "delta": "delta",
    "gamma": "gamma",
    "vega": "vega",
    "theta": "theta",
}


def clean_volatility_index(bronze: pl.DataFrame, feed: Feed, first: date, end: date) -> Cleaned:
    """Silver volatility index of the partition [first, end), UTC days, from its bronze rows.

    If an instant has several rows, the last row in the file is kept.
    """
    value = canonical("index_value")
    return clean(
        bronze,
        feed,
        VOLATILITY_INDEX,
        columns={
            "time": epoch_to_time("calc_time"),
            **{name: pl.col(name) for name in ("base_asset", "quote_asset", "index_value")},
        },
        rules=[
            *time_rules({"calc_time": canonical("time")}, first, end),
            file_symbol_rule("file_symbol"),
            Rule("not_finite", ~value.is_finite(), "index_value is NaN or infinite"),
            Rule("value_not_positive", ~(value > 0), "index_value is zero or negative"),
        ],
        preferred="another row of this symbol and time stands later in the file",
    )


def summary_time() -> pl.Expr:
    """The file's date and hour, 0 to 23, as a time; any other value gives null."""
    hour = pl.col("hour")
    begin = text_to_time(pl.concat_str(pl.col("date"), pl.lit(" 00:00:00")))
    return begin + pl.duration(hours=pl.when(hour.is_between(0, 23)).then(hour))


def clean_option_summaries(bronze: pl.DataFrame, feed: Feed, first: date, end: date) -> Cleaned:
    """Silver option summaries of the partition [first, end), UTC days, from its bronze rows.

    The archive files rows by underlying; ``symbol`` of a silver row is the contract. ``time`` is the file's date and
    hour, 0 to 23. Blanks are null. If a contract has several rows for an hour, the row with the most values is kept,
    then the last in the file.
    """
    values = {**_NOT_NEGATIVE, **_OF_EITHER_SIGN}
    low, high = canonical("low"), canonical("high")
    body = [canonical("open"), canonical("close")]
    return clean(
        bronze,
        feed,
        OPTION_SUMMARIES,
        columns={
            "symbol": pl.col("file_symbol"),
            "time": summary_time(),
            "underlying": pl.col("underlying"),
            "option_type": pl.col("type").replace_strict(_TYPES, default=None, return_dtype=pl.String),
            "strike": pl.col("strike"),
            **{name: pl.col(column) for name, column in values.items()},
        },
        rules=[
            *time_rules(
                {"date": canonical("time")}, first, end, "day of the form YYYY-MM-DD, or hour is not within 0 to 23"
            ),
            Rule("bad_contract", ~canonical("symbol").str.contains(_CONTRACT), "symbol is no name of a contract"),
            file_symbol_rule("underlying"),
            Rule("unknown_option_type", canonical("option_type").is_null(), "type is neither C nor P"),
            Rule(
                "strike_not_positive",
                ~(canonical("strike").is_finite() & (canonical("strike") > 0)),
                "the strike price is NaN, infinite, zero or negative",
            ),
            *value_rules(
                finite=[canonical(name) for name in values], not_negative=[canonical(name) for name in _NOT_NEGATIVE]
            ),
            # Compare only the prices that are not null.
            Rule(
                "price_order",
                ((low > pl.min_horizontal(*body)) | (high < pl.max_horizontal(*body)) | (low > high)).fill_null(False),
                "low <= open, close <= high does not hold",
            ),
        ],
        prefer=(pl.sum_horizontal(canonical(name).is_not_null() for name in values),),
        preferred="another row of this contract and hour has more values, or as many and stands later in the file",
    )
