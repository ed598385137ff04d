"""Silver klines: one row per symbol and interval start, in canonical columns and units."""

from crypto_lakehouse.schemas.model import FLOAT, INT, TEXT, TIME, Column, Schema

KLINES = Schema(
    name="klines",
    doc="Klines in canonical columns: one row per symbol and open_time, sorted, validated.",
    columns=(
        Column("symbol", TEXT, "name", "Symbol as the exchange writes it."),
        Column("open_time", TIME, "UTC", "Start of the interval, rounded down to the interval's grid."),
        Column("close_time", TIME, "UTC", "Last instant of the interval as the exchange states it, inclusive."),
        Column("open", FLOAT, "quote asset per base asset", "First price."),
        Column("high", FLOAT, "quote asset per base asset", "Highest price."),
        Column("low", FLOAT, "quote asset per base asset", "Lowest price."),
        Column("close", FLOAT, "quote asset per base asset", "Last price."),
        Column("base_volume", FLOAT, "base asset", "Traded volume. COIN-M: the archive's quote_volume column."),
        Column(
            "quote_volume",
            FLOAT,
            "quote asset",
            "Traded value. COIN-M: contracts times the contract size in USD.",
        ),
        Column("trade_count", INT, "1", "Number of trades."),
        Column("taker_buy_base_volume", FLOAT, "base asset", "Volume in which the taker bought."),
        Column("taker_buy_quote_volume", FLOAT, "quote asset", "Value in which the taker bought."),
        Column("contracts", INT, "contracts", "COIN-M: contracts traded. Null elsewhere.", nullable=True),
        Column("source", TEXT, "name", "Source of the row: archive_daily, archive_monthly or rest."),
    ),
    primary_key=("symbol", "open_time"),
    time_column="open_time",
)
