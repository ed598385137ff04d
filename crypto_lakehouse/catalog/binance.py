"""Binance: its entry in the registry, with markets and feeds of its public archive, as data.

The formats of the files are in ``binance_files.py``, what changed over time is in ``binance_epochs.py``, the names of
symbols are in ``binance_names.py``. ``archive`` lists and fetches files; ``transforms`` parses them. The facts
come from the archive's own files and listings (https://data.binance.vision) and
https://github.com/binance/binance-public-data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from crypto_lakehouse.catalog import binance_files as files
from crypto_lakehouse.catalog.binance_epochs import EPOCHS
from crypto_lakehouse.catalog.binance_listings import RELISTINGS, RENAMES
from crypto_lakehouse.catalog.binance_names import ASSETS, parse_symbol
from crypto_lakehouse.catalog.intervals import INTERVALS, MONTHLY_ONLY
from crypto_lakehouse.catalog.model import Cadence, Exchange, Feed, FileFormat, Market

EXCHANGE = "binance"

SPOT = Market(EXCHANGE, "spot", "Binance spot", "spot", date(2017, 8, 17))
_FUTURES = ("futures", "future", "perpetual", "perp", "swap")
UM = Market(
    EXCHANGE,
    "um",
    "Binance USD-M futures",
    "futures/um",
    date(2019, 9, 8),
    aliases=(*_FUTURES, "usd-m", "usds-m", "usdt-m", "usdc-m", "linear", "fapi"),
)
CM = Market(
    EXCHANGE,
    "cm",
    "Binance COIN-M futures",
    "futures/cm",
    date(2020, 8, 10),
    inverse=True,
    contract_sizes={"BTCUSD": 100.0},
    contract_size_default=10.0,
    aliases=(*_FUTURES, "coin-m", "coin", "inverse", "dapi", "delivery"),
)
OPTION = Market(
    EXCHANGE,
    "option",
    "Binance options",
    "option",
    date(2023, 5, 18),
    aliases=("options", "eoptions", "eapi", "vanilla"),
)
MARKETS = (SPOT, UM, CM, OPTION)

# Only spot has 1s klines. A month of them has 2.7 million rows, so it is not held in memory to be cut into days.
_SPOT_ONLY = ("1s",)
_BOTH = (Cadence.DAILY, Cadence.MONTHLY)
_DAILY, _MONTHLY = (Cadence.DAILY,), (Cadence.MONTHLY,)


@dataclass(frozen=True, slots=True)
class _Type:
    """One folder name of the archive, in the markets that have it; it fills one table, or one for each interval.

    The lake reads daily files where both cadences exist: monthly files have missed days and held wrong values where
    the daily file agrees with the REST API (https://github.com/binance/binance-public-data/issues/475). Daily feeds
    of ``compacted`` types are also stored by month; monthly feeds already are. A setting (``archive_files.py``) chooses
    monthly files of klines, whose months are small.
    """

    archive_type: str
    table: str
    schema: str
    formats: tuple[tuple[Market, FileFormat], ...]
    archived: tuple[Cadence, ...]
    description: str
    first_dates: Mapping[str, date] | None = None
    last_dates: Mapping[str, date] | None = None
    by_interval: bool = False
    compacted: bool = False

    def feeds(self) -> Iterator[Feed]:
        for market, file_format in self.formats:
            for interval in INTERVALS.values() if self.by_interval else (None,):
                name = interval.name if interval else ""
                if name in _SPOT_ONLY and (market is not SPOT):
                    continue
                archived = _MONTHLY if name in MONTHLY_ONLY else self.archived
                has_small_months = archived == _BOTH and self.by_interval and name not in _SPOT_ONLY
                yield Feed(
                    market=market,
                    table=f"{self.table}_{name}" if interval else self.table,
                    schema=self.schema,
                    archive_type=self.archive_type,
                    interval=interval,
                    cadence=archived[0],
                    file_format=file_format,
                    first_date=(self.first_dates or {}).get(market.name, market.first_date),
                    last_date=(self.last_dates or {}).get(market.name),
                    description=self.description.format(market=market.title, interval=name),
                    archived=archived,
                    compacted=self.compacted and archived[0] is Cadence.DAILY,
                    monthly_folder=f"data/{market.archive_path}/monthly/{self.archive_type}/"
                    if has_small_months
                    else "",
                )


def _same(file_format: FileFormat, *markets: Market) -> tuple[tuple[Market, FileFormat], ...]:
    return tuple((market, file_format) for market in markets)


_TYPES = (
    _Type(
        "klines",
        "klines",
        "klines",
        _same(files.KLINES, SPOT, UM, CM),
        _BOTH,
        "{interval} klines of {market}, as the exchange publishes them.",
        by_interval=True,
        compacted=True,
    ),
    _Type(
        "aggTrades",
        "agg_trades",
        "agg_trades",
        ((SPOT, files.SPOT_AGG_TRADES), *_same(files.AGG_TRADES, UM, CM)),
        _BOTH,
        "Aggregate trades of {market}: fills of one taker order at one price, as one row.",
    ),
    _Type(
        "trades",
        "trades",
        "trades",
        ((SPOT, files.SPOT_TRADES), (UM, files.TRADES), (CM, files.CM_TRADES)),
        _BOTH,
        "Single trades of {market}.",
    ),
    _Type(
        "fundingRate",
        "funding_rates",
        "funding_rates",
        _same(files.FUNDING_RATE, UM, CM),
        _MONTHLY,
        "Funding rates of the perpetual contracts of {market}, one row per funding event.",
        first_dates={"um": date(2020, 1, 1), "cm": date(2020, 8, 1)},
    ),
    _Type(
        "indexPriceKlines",
        "index_klines",
        "price_klines",
        _same(files.KLINES, UM, CM),
        _BOTH,
        "{interval} klines of the index price of {market}.",
        by_interval=True,
        compacted=True,
    ),
    _Type(
        "markPriceKlines",
        "mark_klines",
        "price_klines",
        _same(files.KLINES, UM, CM),
        _BOTH,
        "{interval} klines of the mark price of {market}.",
        by_interval=True,
        compacted=True,
    ),
    _Type(
        "premiumIndexKlines",
        "premium_klines",
        "price_klines",
        _same(files.KLINES, UM, CM),
        _BOTH,
        "{interval} klines of the premium index of {market}, as a fraction of the index price.",
        by_interval=True,
        compacted=True,
    ),
    _Type(
        "metrics",
        "open_interest",
        "open_interest",
        _same(files.METRICS, UM, CM),
        _DAILY,
        "Open interest and long/short ratios of {market} every five minutes.",
        first_dates={"um": date(2020, 9, 1), "cm": date(2020, 9, 1)},
    ),
    _Type(
        "bookDepth",
        "book_depth",
        "book_depth",
        _same(files.BOOK_DEPTH, UM, CM),
        _DAILY,
        "Depth of the order book of {market} within bands around the mid price, about every 30 s.",
        first_dates={"um": date(2023, 1, 1), "cm": date(2023, 1, 1)},
    ),
    _Type(
        "bookTicker",
        "book_ticker",
        "book_ticker",
        _same(files.BOOK_TICKER, UM, CM),
        _BOTH,
        "Best bid and ask of {market} at every change.",
        first_dates={"um": date(2023, 5, 16), "cm": date(2023, 5, 16)},
        last_dates={"um": date(2024, 3, 30), "cm": date(2024, 10, 14)},
    ),
    _Type(
        "liquidationSnapshot",
        "liquidations",
        "liquidations",
        _same(files.LIQUIDATION_SNAPSHOT, CM),
        _DAILY,
        "Liquidation orders of {market}.",
        first_dates={"cm": date(2023, 6, 25)},
        last_dates={"cm": date(2024, 10, 14)},
    ),
    _Type(
        "BVOLIndex",
        "volatility_index",
        "volatility_index",
        _same(files.BVOL_INDEX, OPTION),
        _DAILY,
        "Implied volatility index of {market}, one value a second.",
        first_dates={"option": date(2023, 6, 20)},
    ),
    _Type(
        "EOHSummary",
        "option_summaries",
        "option_summaries",
        _same(files.EOH_SUMMARY, OPTION),
        _DAILY,
        "Prices, volumes, greeks and open interest of every contract of {market} at the end of each hour.",
        last_dates={"option": date(2023, 10, 23)},
    ),
)

FEEDS: tuple[Feed, ...] = tuple(feed for kind in _TYPES for feed in kind.feeds())

BINANCE = Exchange(
    name=EXCHANGE,
    archive_url="https://data.binance.vision",
    listing_url="https://s3-ap-northeast-1.amazonaws.com/data.binance.vision",
    folders="data/{market}/{daily|monthly}/{type}/{symbol}/[{interval}/]",
    markets=MARKETS,
    feeds=FEEDS,
    assets=ASSETS,
    parse_symbol=parse_symbol,
    max_concurrency=512,
    epochs=EPOCHS,
    relistings=RELISTINGS,
    renames=RENAMES,
)
