"""Gold bars of gold.continuous_1m: time bars, and bars by traded value, volume or number of trades."""

from crypto_lakehouse.schemas.model import FLAG, FLOAT, INT, TEXT, TIME, Column, Schema

_HEAD = (
    Column("symbol", TEXT, "name", "Symbol as the exchange writes it."),
    Column("segment", INT, "1", "Segment of gold.continuous_1m; no bar spans a gap."),
)
_BODY = (
    Column("open", FLOAT, "quote asset per base asset", "open of the first minute."),
    Column("high", FLOAT, "quote asset per base asset", "Greatest high."),
    Column("low", FLOAT, "quote asset per base asset", "Least low."),
    Column("close", FLOAT, "quote asset per base asset", "close of the last minute."),
    Column("base_volume", FLOAT, "base asset", "Sum of base_volume."),
    Column("quote_volume", FLOAT, "quote asset", "Sum of quote_volume."),
    Column("trade_count", INT, "1", "Sum of trade_count."),
    Column("taker_buy_base_volume", FLOAT, "base asset", "Sum of taker_buy_base_volume."),
    Column("taker_buy_quote_volume", FLOAT, "quote asset", "Sum of taker_buy_quote_volume."),
    Column("contracts", INT, "contracts", "Sum of contracts; null except on COIN-M.", nullable=True),
    Column(
        "vwap",
        FLOAT,
        "quote asset per base asset",
        "quote_volume / base_volume of the bar, clamped to [low, high]; null without volume.",
        nullable=True,
    ),
    Column("first_minute", TIME, "UTC", "First traded minute; null where nothing was traded.", nullable=True),
    Column("last_minute", TIME, "UTC", "Last traded minute; null where nothing was traded.", nullable=True),
    Column("n_minutes", INT, "1", "Minutes of gold.continuous_1m in the bar."),
    Column("n_filled", INT, "1", "Minutes of n_minutes in which nothing was traded."),
)
_FUNDING = (
    Column(
        "funding_rate",
        FLOAT,
        "1",
        "First funding rate in the bar whose absolute value is above 0.000001; null without one.",
        nullable=True,
    ),
    Column("funding_price", FLOAT, "quote asset per base asset", "open of the minute of that event.", nullable=True),
    Column("funding_time", TIME, "UTC", "open_time of the minute of that event.", nullable=True),
    Column(
        "funding_sum",
        FLOAT,
        "1",
        "Sum of all funding rates in the bar; null on spot, and where the lake has no funding data for a minute.",
        nullable=True,
    ),
    Column("funding_count", INT, "1", "Funding events in the bar; null where funding_sum is.", nullable=True),
)

BARS = Schema(
    name="bars",
    doc="Time bars of gold.continuous_1m: one row per symbol, segment and window with at least one minute, in the"
    " partition of the day on which the window closes.",
    columns=(
        *_HEAD,
        Column("offset", INT, "minutes", "Offset of the grid of windows from 00:00 UTC."),
        Column("open_time", TIME, "UTC", "Start of the window, inclusive."),
        Column("close_time", TIME, "UTC", "Last microsecond of the window, inclusive."),
        *_BODY,
        Column("complete", FLAG, "true or false", "Whether the archive has every minute of the window."),
        *_FUNDING,
    ),
    primary_key=("symbol", "offset", "open_time", "segment"),
    time_column="open_time",
)

ACTIVITY_BARS = Schema(
    name="activity_bars",
    doc="Bars that close in the minute in which the traded value, volume or number of trades since the start of the"
    " month reaches the next multiple of the threshold; an excess counts for the next bar.",
    columns=(
        *_HEAD,
        Column("open_time", TIME, "UTC", "open_time of the bar's first minute."),
        Column("close_time", TIME, "UTC", "Last microsecond of the bar's last minute, inclusive."),
        *_BODY,
        Column("complete", FLAG, "true or false", "False for the unfinished bar at the end of a month or a segment."),
    ),
    primary_key=("symbol", "open_time"),
    time_column="open_time",
)
