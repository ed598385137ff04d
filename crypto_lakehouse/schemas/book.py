"""Silver tables of the order book: its depth within bands, and the best bid and ask."""

from crypto_lakehouse.schemas.model import EVENT_CODEC, EVENT_ROWS, FLOAT, INT, TEXT, TIME, Column, Schema

_SYMBOL = Column("symbol", TEXT, "name", "Symbol as the exchange writes it.")
_SOURCE = Column("source", TEXT, "name", "Source of the row: archive_daily or archive_monthly.")

BOOK_DEPTH = Schema(
    name="book_depth",
    doc="Depth of the order book: one row per symbol, time and band, about every 30 s.",
    columns=(
        _SYMBOL,
        Column("time", TIME, "UTC", "Time of the snapshot of the book; whole seconds."),
        Column("percentage", FLOAT, "percent of the mid price", "Edge of the band: below 0 bids, above 0 asks."),
        Column("depth", FLOAT, "base asset; COIN-M: contracts", "Amount between the mid price and the edge."),
        Column("notional", FLOAT, "quote asset; COIN-M: base asset", "Its value."),
        _SOURCE,
    ),
    primary_key=("symbol", "time", "percentage"),
    time_column="time",
)

BOOK_TICKER = Schema(
    name="book_ticker",
    doc="Best bid and ask at every change: one row per symbol and update_id.",
    columns=(
        _SYMBOL,
        Column("update_id", INT, "1", "Number of the change of the book; increases, with holes."),
        Column("transaction_time", TIME, "UTC", "When the book changed."),
        Column("event_time", TIME, "UTC", "When the exchange sent the change."),
        Column("best_bid_price", FLOAT, "quote asset per base asset", "Highest price bid."),
        Column("best_bid_quantity", FLOAT, "base asset; COIN-M: contracts", "Amount bid at it."),
        Column("best_ask_price", FLOAT, "quote asset per base asset", "Lowest price asked."),
        Column("best_ask_quantity", FLOAT, "base asset; COIN-M: contracts", "Amount asked at it."),
        _SOURCE,
    ),
    primary_key=("symbol", "update_id"),
    time_column="transaction_time",
    row_group_rows=EVENT_ROWS,
    codec=EVENT_CODEC,
    id_column="update_id",
)
