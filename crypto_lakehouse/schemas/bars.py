"""Gold bars: klines of a longer interval, made from silver one-minute klines."""

from crypto_lakehouse.schemas.model import FLAG, FLOAT, INT, TEXT, TIME, Column, Schema

BARS = Schema(
    name="bars",
    doc="Bars resampled from silver.klines_1m: one row per symbol and window that has at least one minute.",
    columns=(
        Column("symbol", TEXT, "name", "Symbol as the exchange writes it."),
        Column("open_time", TIME, "UTC", "Begin of the window, inclusive."),
        Column("close_time", TIME, "UTC", "Last microsecond of the window, inclusive."),
        Column("open", FLOAT, "quote asset per base asset", "open of the first minute present."),
        Column("high", FLOAT, "quote asset per base asset", "Greatest high."),
        Column("low", FLOAT, "quote asset per base asset", "Least low."),
        Column("close", FLOAT, "quote asset per base asset", "close of the last minute present."),
        Column("base_volume", FLOAT, "base asset", "Sum of base_volume."),
        Column("quote_volume", FLOAT, "quote asset", "Sum of quote_volume."),
        Column("trade_count", INT, "1", "Sum of trade_count."),
        Column("taker_buy_base_volume", FLOAT, "base asset", "Sum of taker_buy_base_volume."),
        Column("taker_buy_quote_volume", FLOAT, "quote asset", "Sum of taker_buy_quote_volume."),
        Column("contracts", INT, "contracts", "Sum of contracts; null but on COIN-M.", nullable=True),
        Column(
            "vwap",
            FLOAT,
            "quote asset per base asset",
            "quote_volume / base_volume of the bar, held within [low, high]; null without volume.",
            nullable=True,
        ),
        Column("first_minute", TIME, "UTC", "open_time of the first minute present."),
        Column("last_minute", TIME, "UTC", "open_time of the last minute present."),
        Column("n_minutes", INT, "1", "Minutes present."),
        Column("complete", FLAG, "true or false", "Whether every minute of the window is present."),
    ),
    primary_key=("symbol", "open_time"),
    time_column="open_time",
)
