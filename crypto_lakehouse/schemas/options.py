"""Silver tables of the options market: the volatility index, and hourly summaries of contracts."""

from crypto_lakehouse.schemas.model import FLOAT, TEXT, TIME, Column, Schema

_SOURCE = Column("source", TEXT, "name", "Source of the row: archive_daily or archive_monthly.")

VOLATILITY_INDEX = Schema(
    name="volatility_index",
    doc="Implied volatility index: one row per symbol and instant, about one a second.",
    columns=(
        Column("symbol", TEXT, "name", "Name of the index, such as BTCBVOLUSDT."),
        Column("time", TIME, "UTC", "When it was computed."),
        Column("base_asset", TEXT, "name", "Asset whose volatility it is, as the archive names it."),
        Column("quote_asset", TEXT, "name", "Asset that prices are in."),
        Column("index_value", FLOAT, "percent a year", "Value of the index."),
        _SOURCE,
    ),
    primary_key=("symbol", "time"),
    time_column="time",
)


def _value(name: str, unit: str, doc: str) -> Column:
    return Column(name, FLOAT, unit, f"{doc}; null where the archive has a blank.", nullable=True)


OPTION_SUMMARIES = Schema(
    name="option_summaries",
    doc="Option contracts at each hour: one row per contract and hour.",
    columns=(
        Column("symbol", TEXT, "name", "Contract, such as BTC-230526-25000-C."),
        Column("time", TIME, "UTC", "Date and hour of the archive's row."),
        Column("underlying", TEXT, "name", "Symbol of the underlying, such as BTCUSDT."),
        Column("option_type", TEXT, "name", "C for calls, P for puts."),
        Column("strike", FLOAT, "quote asset", "Strike price."),
        _value("open", "quote asset", "First price of the hour"),
        _value("high", "quote asset", "Highest price of the hour"),
        _value("low", "quote asset", "Lowest price of the hour"),
        _value("close", "quote asset", "Last price of the hour"),
        _value("contracts", "contracts", "Volume of the hour"),
        _value("quote_volume", "quote asset", "Value traded in the hour"),
        _value("best_bid_price", "quote asset", "Highest price bid"),
        _value("best_ask_price", "quote asset", "Lowest price asked"),
        _value("best_bid_quantity", "contracts", "Amount bid at it"),
        _value("best_ask_quantity", "contracts", "Amount asked at it"),
        _value("best_bid_iv", "1 a year", "Implied volatility of the best bid"),
        _value("best_ask_iv", "1 a year", "Implied volatility of the best ask"),
        _value("mark_price", "quote asset", "Mark price"),
        _value("mark_iv", "1 a year", "Implied volatility of the mark price"),
        _value("delta", "1", "Delta"),
        _value("gamma", "1 per quote asset", "Gamma"),
        _value("vega", "quote asset", "Vega"),
        _value("theta", "quote asset a day", "Theta"),
        _value("open_interest_contracts", "contracts", "Open interest"),
        _value("open_interest_value", "quote asset", "Value of the open interest"),
        _SOURCE,
    ),
    primary_key=("symbol", "time"),
    time_column="time",
    archive_symbol="underlying",
)
