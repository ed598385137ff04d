"""gold.instruments: every instrument listed in a market up to a day, with the facts known on that day."""

import pyarrow as pa

from crypto_lakehouse.schemas.model import FLAG, FLOAT, INT, TEXT, Column, Schema

_DAY = pa.date32()

INSTRUMENTS = Schema(
    name="instruments",
    doc="Every instrument that the archive has up to the day of the partition, including delisted ones, with the facts"
    " known on that day. An instrument was listed on a day D iff first_day <= D <= last_day.",
    columns=(
        Column(
            "instrument_id",
            TEXT,
            "name",
            "exchange:market:symbol; from a symbol's second listing on, also its number: binance:spot:LUNAUSDT:2.",
        ),
        Column("symbol", TEXT, "name", "Symbol as the exchange writes it."),
        Column("listing", INT, "1", "Number of the symbol's listing, from 1; a relisted name is another instrument."),
        Column("base_asset", TEXT, "name", "Asset that is traded; null if the name does not show it.", nullable=True),
        Column(
            "quote_asset", TEXT, "name", "Asset that prices are in; null if the name does not show it.", nullable=True
        ),
        Column("contract_type", TEXT, "name", "spot, perpetual or delivery."),
        Column("delivery_date", _DAY, "UTC", "Day of delivery in the name; null for others.", nullable=True),
        Column(
            "contract_size", FLOAT, "USD a contract", "Value of one contract on COIN-M; null elsewhere.", nullable=True
        ),
        Column("is_leveraged", FLAG, "true or false", "Whether it is a leveraged token (BTCUP, ETHBEAR)."),
        Column("is_stable_pair", FLAG, "true or false", "Whether base and quote both are stable or fiat."),
        Column("is_settled", FLAG, "true or false", "Whether the name is that of a settled contract."),
        Column("settled_of", TEXT, "name", "Name under which a settled contract was traded.", nullable=True),
        Column("renamed_from", TEXT, "name", "Symbol that this one continues.", nullable=True),
        Column("renamed_to", TEXT, "name", "Symbol that continues this one, once it is listed.", nullable=True),
        Column("first_day", _DAY, "UTC", "First day of the listing for which the archive has a file."),
        Column("last_day", _DAY, "UTC", "Last such day, up to the day of the partition."),
    ),
    primary_key=("symbol", "listing"),
    time_column="first_day",
)
