"""Silver tables that only futures have, beside funding: open interest and liquidations."""

from crypto_lakehouse.schemas.model import FLOAT, INT, TEXT, TIME, Column, Schema

_SYMBOL = Column("symbol", TEXT, "name", "Symbol as the exchange writes it.")
_SOURCE = Column("source", TEXT, "name", "Where the row is from: archive_daily or archive_monthly.")


def _ratio(name: str, doc: str) -> Column:
    return Column(name, FLOAT, "1", f"{doc}; null where the archive has a blank.", nullable=True)


OPEN_INTEREST = Schema(
    name="open_interest",
    doc="Open interest and long/short ratios: one row per symbol and five minutes, 288 on a whole day.",
    columns=(
        _SYMBOL,
        Column("period_start", TIME, "UTC", "Begin of the five minutes, whatever the archive's label meant then."),
        Column("label_time", TIME, "UTC", "The archive's own label: the period's end or begin, by the epoch."),
        Column("open_interest", FLOAT, "base asset; COIN-M: contracts", "Open interest.", nullable=True),
        Column("open_interest_value", FLOAT, "quote asset; COIN-M: base asset", "Its value.", nullable=True),
        _ratio("top_trader_account_long_short_ratio", "Long accounts per short account of the top traders"),
        _ratio("top_trader_position_long_short_ratio", "Long per short position of the top traders"),
        _ratio("account_long_short_ratio", "Long accounts per short account of all traders"),
        _ratio("taker_buy_sell_volume_ratio", "Volume that takers bought per volume that they sold"),
        _SOURCE,
    ),
    primary_key=("symbol", "period_start"),
    time_column="period_start",
)

LIQUIDATIONS = Schema(
    name="liquidations",
    doc="Liquidation orders. The archive numbers them not and wrote rows twice, so equal rows are one.",
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
