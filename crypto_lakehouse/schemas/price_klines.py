"""Silver klines of computed prices, at which no trades happen: mark price, index price, premium index."""

from crypto_lakehouse.schemas.model import FLOAT, INT, TEXT, TIME, Column, Schema

PRICE_KLINES = Schema(
    name="price_klines",
    doc="Klines of the mark price, the index price or the premium index: one row per symbol and open_time."
    " Rows of settled contracts stay; the column `is_after_end` marks them, if a read names it:"
    " `lake.read(columns=...)`. The files, SQL and `describe` do not have it.",
    columns=(
        Column("symbol", TEXT, "name", "Symbol as the exchange writes it; COIN-M index prices: the pair (BTCUSD)."),
        Column("open_time", TIME, "UTC", "Start of the interval, rounded down to the interval's grid."),
        Column("close_time", TIME, "UTC", "Last instant of the interval as the exchange states it, inclusive."),
        Column("open", FLOAT, "quote asset per base asset; premium: 1", "First value."),
        Column("high", FLOAT, "quote asset per base asset; premium: 1", "Highest value."),
        Column("low", FLOAT, "quote asset per base asset; premium: 1", "Lowest value."),
        Column("close", FLOAT, "quote asset per base asset; premium: 1", "Last value."),
        Column("sample_count", INT, "1", "Values in the interval: the archive's count column."),
        Column("source", TEXT, "name", "Source of the row: archive_daily, archive_monthly or rest."),
    ),
    primary_key=("symbol", "open_time"),
    time_column="open_time",
)
