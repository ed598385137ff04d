"""The CSV formats inside Binance's archive files: columns in file order, with all spellings seen in headers.

Contains only formats; ``binance.py`` maps markets and tables to them. A file's own column ``symbol`` is called
``file_symbol``, since ``symbol`` in bronze is the symbol of the archive folder.
"""

from __future__ import annotations

from crypto_lakehouse.catalog.model import FieldType, FileColumn, FileFormat

_INT, _FLOAT, _TEXT = FieldType.INT64, FieldType.FLOAT64, FieldType.STRING
_FILE_SYMBOL = FileColumn("file_symbol", _TEXT, ("symbol",))


def _blank(*names: str) -> tuple[FileColumn, ...]:
    return tuple(FileColumn(name, _FLOAT, may_be_blank=True) for name in names)


KLINES = FileFormat(
    "klines",
    (
        FileColumn("open_time", _INT),
        FileColumn("open", _FLOAT),
        FileColumn("high", _FLOAT),
        FileColumn("low", _FLOAT),
        FileColumn("close", _FLOAT),
        FileColumn("volume", _FLOAT),
        FileColumn("close_time", _INT),
        FileColumn("quote_volume", _FLOAT, ("quote_asset_volume",)),
        FileColumn("count", _INT, ("number_of_trades", "trades")),
        FileColumn("taker_buy_volume", _FLOAT, ("taker_buy_base_asset_volume", "taker_buy_base_volume")),
        FileColumn("taker_buy_quote_volume", _FLOAT, ("taker_buy_quote_asset_volume",)),
        FileColumn("ignore", _TEXT),
    ),
    time_columns=("open_time", "close_time"),
)

_AGG_TRADE = (
    FileColumn("agg_trade_id", _INT, ("a",)),
    FileColumn("price", _FLOAT, ("p",)),
    FileColumn("quantity", _FLOAT, ("q", "qty")),
    FileColumn("first_trade_id", _INT, ("f",)),
    FileColumn("last_trade_id", _INT, ("l",)),
    FileColumn("transact_time", _INT, ("t", "time", "timestamp")),
    FileColumn("is_buyer_maker", _TEXT, ("m",)),
)
_BEST_MATCH = FileColumn("is_best_match", _TEXT)
AGG_TRADES = FileFormat("aggTrades", _AGG_TRADE, ("transact_time",), id_column="agg_trade_id", large=True)
SPOT_AGG_TRADES = FileFormat(
    "spot aggTrades", (*_AGG_TRADE, _BEST_MATCH), ("transact_time",), id_column="agg_trade_id", large=True
)


def _trades(name: str, amount: FileColumn, *more: FileColumn) -> FileFormat:
    columns = (
        FileColumn("id", _INT, ("trade_id",)),
        FileColumn("price", _FLOAT),
        FileColumn("qty", _FLOAT, ("quantity",)),
        amount,
        FileColumn("time", _INT),
        FileColumn("is_buyer_maker", _TEXT),
        *more,
    )
    return FileFormat(name, columns, ("time",), id_column="id", large=True)


_QUOTE_QTY = FileColumn("quote_qty", _FLOAT, ("quote_quantity",))
TRADES = _trades("trades", _QUOTE_QTY)
SPOT_TRADES = _trades("spot trades", _QUOTE_QTY, _BEST_MATCH)
CM_TRADES = _trades("cm trades", FileColumn("base_qty", _FLOAT, ("base_quantity",)))

FUNDING_RATE = FileFormat(
    "fundingRate",
    (
        FileColumn("calc_time", _INT),
        FileColumn("funding_interval_hours", _INT),
        FileColumn("last_funding_rate", _FLOAT),
    ),
    time_columns=("calc_time",),
)

METRICS = FileFormat(
    "metrics",
    (
        FileColumn("create_time", _TEXT),
        _FILE_SYMBOL,
        *_blank(
            "sum_open_interest",
            "sum_open_interest_value",
            "count_toptrader_long_short_ratio",
            "sum_toptrader_long_short_ratio",
            "count_long_short_ratio",
            "sum_taker_long_short_vol_ratio",
        ),
    ),
    time_columns=("create_time",),
)

BOOK_DEPTH = FileFormat(
    "bookDepth",
    (
        FileColumn("timestamp", _TEXT),
        FileColumn("percentage", _FLOAT),
        FileColumn("depth", _FLOAT),
        FileColumn("notional", _FLOAT),
    ),
    time_columns=("timestamp",),
)

BOOK_TICKER = FileFormat(
    "bookTicker",
    (
        FileColumn("update_id", _INT),
        FileColumn("best_bid_price", _FLOAT),
        FileColumn("best_bid_qty", _FLOAT),
        FileColumn("best_ask_price", _FLOAT),
        FileColumn("best_ask_qty", _FLOAT),
        FileColumn("transaction_time", _INT),
        FileColumn("event_time", _INT),
    ),
    time_columns=("transaction_time", "event_time"),
    order_by="update_id",
    large=True,
)

LIQUIDATION_SNAPSHOT = FileFormat(
    "liquidationSnapshot",
    (
        FileColumn("time", _INT),
        FileColumn("side", _TEXT),
        FileColumn("order_type", _TEXT),
        FileColumn("time_in_force", _TEXT),
        FileColumn("original_quantity", _FLOAT),
        FileColumn("price", _FLOAT),
        FileColumn("average_price", _FLOAT),
        FileColumn("order_status", _TEXT),
        FileColumn("last_fill_quantity", _FLOAT),
        FileColumn("accumulated_fill_quantity", _FLOAT),
    ),
    time_columns=("time",),
)

BVOL_INDEX = FileFormat(
    "BVOLIndex",
    (
        FileColumn("calc_time", _INT),
        _FILE_SYMBOL,
        FileColumn("base_asset", _TEXT),
        FileColumn("quote_asset", _TEXT),
        FileColumn("index_value", _FLOAT),
    ),
    time_columns=("calc_time",),
)

EOH_SUMMARY = FileFormat(
    "EOHSummary",
    (
        FileColumn("date", _TEXT),
        FileColumn("hour", _INT),
        _FILE_SYMBOL,
        FileColumn("underlying", _TEXT),
        FileColumn("type", _TEXT),
        FileColumn("strike", _FLOAT),
        *_blank(
            "open",
            "high",
            "low",
            "close",
            "volume_contracts",
            "volume_usdt",
            "best_bid_price",
            "best_ask_price",
            "best_bid_qty",
            "best_ask_qty",
            "best_buy_iv",
            "best_sell_iv",
            "mark_price",
            "mark_iv",
            "delta",
            "gamma",
            "vega",
            "theta",
            "openinterest_contracts",
            "openinterest_usdt",
        ),
    ),
    time_columns=("date",),
)
