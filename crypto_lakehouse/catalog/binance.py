"""Binance: markets, file formats and feeds of its public archive, as data.

Here belong the entries and the facts they rest on. Code that lists or fetches files lives in
``archive``, parsing in ``transforms``. Facts are from the archive's own files and listings
(https://data.binance.vision); columns from https://github.com/binance/binance-public-data.
"""

from __future__ import annotations

from datetime import date

from crypto_lakehouse.catalog.intervals import INTERVALS
from crypto_lakehouse.catalog.model import Cadence, Feed, FieldType, FileColumn, FileFormat, Market

EXCHANGE = "binance"

SPOT = Market(EXCHANGE, "spot", "Binance spot", "spot", date(2017, 8, 17))
UM = Market(EXCHANGE, "um", "Binance USD-M futures", "futures/um", date(2019, 9, 8))
CM = Market(
    EXCHANGE,
    "cm",
    "Binance COIN-M futures",
    "futures/cm",
    date(2020, 8, 10),
    inverse=True,
    contract_sizes={"BTCUSD": 100.0},
    contract_size_default=10.0,
)
MARKETS = (SPOT, UM, CM)

_INT, _FLOAT, _TEXT = FieldType.INT64, FieldType.FLOAT64, FieldType.STRING

KLINES = FileFormat(
    "klines",
    (
        FileColumn("open_time", _INT),
        FileColumn("open", _FLOAT),
        FileColumn("high", _FLOAT),
        FileColumn("low", _FLOAT),
        FileColumn("close", _FLOAT),
        FileColumn("volume", _FLOAT),
        FileColumn("close_time", _INT),
        FileColumn("quote_volume", _FLOAT, ("quote_asset_volume",)),
        FileColumn("count", _INT, ("number_of_trades", "trades")),
        FileColumn("taker_buy_volume", _FLOAT, ("taker_buy_base_asset_volume", "taker_buy_base_volume")),
        FileColumn("taker_buy_quote_volume", _FLOAT, ("taker_buy_quote_asset_volume",)),
        FileColumn("ignore", _TEXT),
    ),
    time_columns=("open_time", "close_time"),
)

FUNDING_RATE = FileFormat(
    "fundingRate",
    (
        FileColumn("calc_time", _INT),
        FileColumn("funding_interval_hours", _INT),
        FileColumn("last_funding_rate", _FLOAT),
    ),
    time_columns=("calc_time",),
)

# The archive has these intervals as monthly files only; 1s exists on spot alone.
_MONTHLY_ONLY = ("3d", "1w", "1mo")
_SPOT_ONLY = ("1s",)


def _klines() -> list[Feed]:
    return [
        Feed(
            market=market,
            table=f"klines_{interval.name}",
            schema="klines",
            archive_type="klines",
            interval=interval,
            cadence=Cadence.MONTHLY if interval.name in _MONTHLY_ONLY else Cadence.DAILY,
            file_format=KLINES,
            first_date=market.first_date,
            description=f"{interval.name} klines of {market.title}, as the exchange publishes them.",
        )
        for market in MARKETS
        for interval in INTERVALS.values()
        if market is SPOT or interval.name not in _SPOT_ONLY
    ]


def _funding_rates() -> list[Feed]:
    first_dates = {UM.name: date(2020, 1, 1), CM.name: date(2020, 8, 1)}
    return [
        Feed(
            market=market,
            table="funding_rates",
            schema="funding_rates",
            archive_type="fundingRate",
            interval=None,
            cadence=Cadence.MONTHLY,
            file_format=FUNDING_RATE,
            first_date=first_dates[market.name],
            description=f"Funding rates of the perpetual contracts of {market.title}, one row per funding event.",
        )
        for market in (UM, CM)
    ]


FEEDS: tuple[Feed, ...] = (*_klines(), *_funding_rates())
