"""Silver tables that only futures have, except funding: open interest and liquidations."""

from crypto_lakehouse.schemas.model import FLAG, FLOAT, INT, TEXT, TIME, Column, Schema

_SYMBOL = Column("symbol", TEXT, "name", "Symbol as the exchange writes it.")
_SOURCE = Column("source", TEXT, "name", "Source of the row: archive_daily or archive_monthly.")
_SOURCE_OR_REST = Column(
    "source", TEXT, "name", "Source of the row: archive_daily, or rest. Ratios of rest rows have four decimals."
)


def _ratio(name: str, doc: str) -> Column:
    return Column(name, FLOAT, "1", f"{doc}; null where the archive has a blank.", nullable=True)


OPEN_INTEREST = Schema(
    name="open_interest",
    doc="Open interest and long/short ratios: one row per symbol and five minutes, 288 on a whole day. A row is in the"
    " partition of the day of its label, whichever file contains it; use it only from known_time on. Rows of settled"
    " contracts stay; the column `is_after_end` marks them, if a read names it: `lake.read(columns=...)`."
    " The files, SQL and `describe` do not have it.",
    columns=(
        _SYMBOL,
        Column("label_time", TIME, "UTC", "The archive's own label, rounded to five minutes."),
        Column(
            "period_start",
            TIME,
            "UTC",
            "Start of the five minutes, from the epoch registry's fact on labels of that day: label_time, or five"
            " minutes before it.",
        ),
        Column(
            "known_time",
            TIME,
            "UTC",
            "When the five minutes had certainly ended: label_time where it is proven to be their end, else five"
            " minutes after it. Neither case looks ahead.",
        ),
        Column(
            "is_label_proven",
            FLAG,
            "true or false",
            "Whether the file itself proves which end of the period the label is: labels of 00:05 to 00:00 do, labels"
            " of 00:00 to 23:55 do not.",
        ),
        Column("open_interest", FLOAT, "base asset; COIN-M: contracts", "Open interest.", nullable=True),
        Column("open_interest_value", FLOAT, "quote asset; COIN-M: base asset", "Its value.", nullable=True),
        _ratio("top_trader_account_long_short_ratio", "Long accounts per short account of the top traders"),
        _ratio("top_trader_position_long_short_ratio", "Long per short position of the top traders"),
        _ratio("account_long_short_ratio", "Long accounts per short account of all traders"),
        _ratio("taker_buy_sell_volume_ratio", "Volume that takers bought per volume that they sold"),
        _SOURCE_OR_REST,
    ),
    primary_key=("symbol", "label_time"),
    time_column="label_time",
)

LIQUIDATIONS = Schema(
    name="liquidations",
    doc="Liquidation orders. The archive gives them no ids and wrote rows twice, so equal rows become one.",
    columns=(
        _SYMBOL,
        Column("time", TIME, "UTC", "When the order was last changed."),
        Column("side", TEXT, "name", "BUY closes a short position, SELL a long one."),
        Column("order_type", TEXT, "name", "LIMIT or other, as the exchange writes it."),
        Column("time_in_force", TEXT, "name", "IOC or other, as the exchange writes it."),
        Column("order_status", TEXT, "name", "FILLED or other, as the exchange writes it."),
        Column("price", FLOAT, "quote asset per base asset", "Price of the order."),
        Column("average_price", FLOAT, "quote asset per base asset", "Mean price of its fills."),
        Column("original_contracts", INT, "contracts", "Size of the order."),
        Column("last_fill_contracts", INT, "contracts", "Size of the last fill."),
        Column("filled_contracts", INT, "contracts", "Sum of all fills."),
        _SOURCE,
    ),
    primary_key=(
        "symbol",
        "time",
        "side",
        "price",
        "average_price",
        "original_contracts",
        "last_fill_contracts",
        "filled_contracts",
        "order_type",
        "time_in_force",
        "order_status",
    ),
    time_column="time",
)
