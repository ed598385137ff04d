"""Silver trades: single trades, and aggregates of the fills of one taker order at one price."""

from crypto_lakehouse.schemas.model import EVENT_CODEC, EVENT_ROWS, FLAG, FLOAT, INT, TEXT, TIME, Column, Schema

_HEAD = (
    Column("symbol", TEXT, "name", "Symbol as the exchange writes it."),
    Column("trade_id", INT, "1", "Id within the symbol; consecutive on a clean day."),
    Column("time", TIME, "UTC", "Time of the trade."),
    Column("price", FLOAT, "quote asset per base asset", "Price."),
    Column(
        "base_quantity",
        FLOAT,
        "base asset",
        "Amount traded. COIN-M trades: base_qty of the file; COIN-M aggregates: quote_quantity / price.",
    ),
    Column(
        "quote_quantity",
        FLOAT,
        "quote asset",
        "Value traded. COIN-M: contracts times the contract size in USD;"
        " spot and USD-M aggregates: price * base_quantity.",
    ),
    Column("contracts", INT, "contracts", "COIN-M: contracts traded. Null elsewhere.", nullable=True),
    Column("is_buyer_maker", FLAG, "true or false", "True if the seller was the taker."),
)
_SOURCE = Column("source", TEXT, "name", "Source of the row: archive_daily or archive_monthly.")
_SOURCE_OR_REST = Column("source", TEXT, "name", "Source of the row: archive_daily, archive_monthly or rest.")

AGG_TRADES = Schema(
    name="agg_trades",
    doc="Aggregate trades: one row per symbol and trade_id, sorted.",
    columns=(
        *_HEAD,
        Column("first_trade_id", INT, "1", "trade_id of the first single trade in it."),
        Column("last_trade_id", INT, "1", "trade_id of the last single trade in it."),
        _SOURCE_OR_REST,
    ),
    primary_key=("symbol", "trade_id"),
    time_column="time",
    row_group_rows=EVENT_ROWS,
    codec=EVENT_CODEC,
    id_column="trade_id",
)

TRADES = Schema(
    name="trades",
    doc="Single trades: one row per symbol and trade_id, sorted.",
    columns=(
        *_HEAD,
        Column(
            "is_best_match",
            FLAG,
            "true or false",
            "Spot: whether it was the best price. Null elsewhere.",
            nullable=True,
        ),
        _SOURCE,
    ),
    primary_key=("symbol", "trade_id"),
    time_column="time",
    row_group_rows=EVENT_ROWS,
    codec=EVENT_CODEC,
    id_column="trade_id",
)
