"""Binance's public REST API: the endpoints that answer rows of the archive's tables, with their limits and sources.

Contains facts only. ``rest.py`` looks them up; the package ``rest`` sends requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from crypto_lakehouse.catalog.binance_files import KLINES
from crypto_lakehouse.catalog.model import FieldType, FileColumn, FileFormat
from crypto_lakehouse.catalog.rest_model import (
    Overflow,
    Paging,
    RestApi,
    RestCost,
    RestEndpoint,
    RestPool,
    RestTime,
    RowShape,
)

_SPOT_DOCS = "https://github.com/binance/binance-spot-api-docs/blob/a5e0bc3/rest-api.md"
_UM_DOCS = "docstrings of binance-sdk-derivatives-trading-usds-futures 18.1.0"
_CM_DOCS = "docstrings of binance-sdk-derivatives-trading-coin-futures 14.1.0"
_DOCS = {"spot": _SPOT_DOCS, "um": _UM_DOCS, "cm": _CM_DOCS}
_PROBED = "probes of 2026-10-07 in dilettante-trading/polyoxide, docs/specs/binance/OBSERVED.md"

_HEADER = "X-MBX-USED-WEIGHT-1M"
_MINUTE, _FIVE_MINUTES = timedelta(minutes=1), timedelta(minutes=5)

SPOT_POOL = RestPool("spot", 6000, _MINUTE, _HEADER, _SPOT_DOCS)
# USD-M and COIN-M count together since 2026-06-30.
FUTURES_POOL = RestPool("futures", 2400, _MINUTE, _HEADER, f"{_PROBED}; that um and cm share it: notice of 2026-06")
FUNDING_POOL = RestPool("funding", 500, _FIVE_MINUTES, "", f"{_UM_DOCS}, funding_rate_history; {_PROBED}")
# Whether the limit holds for each path or for all together is unknown, so all are charged to one pool.
DATA_POOL = RestPool("futures_data", 1000, _FIVE_MINUTES, "", f"{_UM_DOCS}, open_interest_statistics")

_POOLS = {"spot": SPOT_POOL, "um": FUTURES_POOL, "cm": FUTURES_POOL}
_PREFIXES = {"spot": "/api/v3", "um": "/fapi/v1", "cm": "/dapi/v1"}
_ANY = 1_000_000


def _fixed(pool: RestPool, weight: int) -> tuple[RestCost, ...]:
    return (RestCost(pool, ((_ANY, weight),)),)


# The documented steps are [1, 100), [100, 500), [500, 1000]; measured ones reach 100, 500 and 1000. These limits cost
# the same under both.
_FUTURES_KLINES = (RestCost(FUTURES_POOL, ((99, 1), (499, 2), (1000, 5), (_ANY, 10))),)

_INT, _FLOAT, _TEXT = FieldType.INT64, FieldType.FLOAT64, FieldType.STRING
_FILE_SYMBOL = FileColumn("file_symbol", _TEXT, ("symbol",))

_AGG_TRADE = (
    FileColumn("a", _INT),
    FileColumn("p", _FLOAT),
    FileColumn("q", _FLOAT),
    FileColumn("f", _INT),
    FileColumn("l", _INT),
    FileColumn("T", _INT),
    FileColumn("m", _TEXT),
)
_AGG_TRADES = {
    "spot": FileFormat("REST aggTrades of spot", (*_AGG_TRADE, FileColumn("M", _TEXT)), ("T",), id_column="a"),
    # Quantity without the orders of retail price improvement; the archive's files have no such column.
    "um": FileFormat(
        "REST aggTrades of um", (*_AGG_TRADE, FileColumn("nq", _FLOAT, may_be_blank=True)), ("T",), id_column="a"
    ),
    "cm": FileFormat("REST aggTrades of cm", _AGG_TRADE, ("T",), id_column="a"),
}
_AGG_TRADE_COLUMNS = {
    "a": "agg_trade_id",
    "p": "price",
    "q": "quantity",
    "f": "first_trade_id",
    "l": "last_trade_id",
    "T": "transact_time",
    "m": "is_buyer_maker",
    "M": "is_best_match",
}

_FUNDING_RATE = FileFormat(
    "REST fundingRate",
    (
        _FILE_SYMBOL,
        FileColumn("fundingTime", _INT),
        FileColumn("fundingRate", _FLOAT),
        # Empty up to 2023-10-31T00:00.
        FileColumn("markPrice", _FLOAT, may_be_blank=True),
        FileColumn("rateType", _TEXT, may_be_blank=True),
    ),
    ("fundingTime",),
)


def _klines(role: str, name: str) -> RestEndpoint:
    is_spot, is_index = role == "spot", name == "indexPriceKlines"
    overflow = {"spot": Overflow.OLDEST, "um": Overflow.OLDEST, "cm": Overflow.NEWEST}[role]
    return RestEndpoint(
        role=role,
        path=f"{_PREFIXES[role]}/{name}",
        paging=Paging.TIME,
        max_limit=1000 if is_spot else 1500,
        default_limit=500,
        best_limit=1000 if is_spot else 499,
        costs=_fixed(SPOT_POOL, 2) if is_spot else _FUTURES_KLINES,
        answer=KLINES,
        row_shape=RowShape.LIST,
        overflow=Overflow.UNKNOWN if (role, name) == ("cm", "premiumIndexKlines") else overflow,
        source=_DOCS[role]
        if is_spot
        else f"{_DOCS[role]}; weights and limits: {_PROBED}; um keeps the oldest rows: claimed by ccxt",
        symbol_parameter="pair" if is_index else "symbol",
        max_span=timedelta(days=200) if role == "cm" else None,
    )


def _agg_trades(role: str) -> RestEndpoint:
    is_spot = role == "spot"
    return RestEndpoint(
        role=role,
        path=f"{_PREFIXES[role]}/aggTrades",
        paging=Paging.ID,
        max_limit=1000,
        default_limit=500,
        best_limit=1000,
        costs=_fixed(_POOLS[role], 4 if is_spot else 20),
        answer=_AGG_TRADES[role],
        row_shape=RowShape.OBJECT,
        overflow=Overflow.OLDEST,
        source=_DOCS[role] if is_spot else f"{_DOCS[role]}; reach: error -4166, measured on um only",
        reach=None if is_spot else timedelta(hours=48),
        # Of requests by time: futures document less than an hour.
        max_span=timedelta(hours=1),
        archive_columns=_AGG_TRADE_COLUMNS,
    )


def _funding(role: str) -> RestEndpoint:
    return RestEndpoint(
        role=role,
        path=f"{_PREFIXES[role]}/fundingRate",
        paging=Paging.TIME,
        max_limit=1000,
        default_limit=100,
        # One less than the maximum: events come up to 47 ms after the hour, so a window may hold one more.
        best_limit=999,
        # COIN-M documents a weight of 1 besides.
        costs=_fixed(FUNDING_POOL, 1) + (_fixed(FUTURES_POOL, 1) if role == "cm" else ()),
        answer=_FUNDING_RATE,
        row_shape=RowShape.OBJECT,
        overflow=Overflow.OLDEST,
        source=f"{_DOCS[role]}, get_funding_rate_history",
        # Funding is never more frequent than hourly.
        step=timedelta(hours=1),
        archive_columns={"fundingTime": "calc_time", "fundingRate": "last_funding_rate"},
    )


def _data(role: str, name: str, fields: tuple[str, ...], columns: Mapping[str, str], kinds: bool) -> RestEndpoint:
    """An endpoint of /futures/data; ``kinds`` says whether COIN-M asks for a contract type too."""
    is_cm, blanks = role == "cm", ("CMCCirculatingSupply",)
    # Of COIN-M only the perpetual contract of a pair is in the archive's metrics.
    parameters = (("contractType", "PERPETUAL"),) if is_cm and kinds else ()
    by_symbol = () if name == "takerlongshortRatio" else (FileColumn("pair", _TEXT) if is_cm else _FILE_SYMBOL,)
    numbers = tuple(FileColumn(field, _FLOAT, may_be_blank=field in blanks) for field in fields)
    return RestEndpoint(
        role=role,
        path=f"/futures/data/{name}",
        paging=Paging.TIME,
        max_limit=500,
        default_limit=30,
        best_limit=500,
        costs=_fixed(DATA_POOL, 1) + (_fixed(FUTURES_POOL, 1) if is_cm else ()),
        answer=FileFormat(
            f"REST {name}",
            (*by_symbol, *(FileColumn(key, _TEXT) for key, _ in parameters), *numbers, FileColumn("timestamp", _INT)),
            ("timestamp",),
        ),
        row_shape=RowShape.OBJECT,
        overflow=Overflow.UNKNOWN,
        source=f"{_DOCS[role]}; reach: error -1130 at 35 days",
        symbol_parameter="pair" if is_cm else "symbol",
        symbol_suffix="_PERP" if is_cm else "",
        parameters=(*parameters, ("period", "5m")),
        step=timedelta(minutes=5),
        reach=timedelta(days=30),
        archive_columns={"timestamp": "create_time", **columns},
        # Ratios have 4 decimals, those of the archive up to 15.
        rounded=tuple(field for field in columns if "atio" in field),
    )


def _metrics(role: str) -> Iterator[RestEndpoint]:
    is_cm = role == "cm"
    supply = () if is_cm else ("CMCCirculatingSupply",)
    sums = {"sumOpenInterest": "sum_open_interest", "sumOpenInterestValue": "sum_open_interest_value"}
    yield _data(role, "openInterestHist", (*sums, *supply), sums, True)
    accounts = ("longShortRatio", "longAccount", "shortAccount")
    positions = ("longShortRatio", "longPosition", "shortPosition") if is_cm else accounts
    of_ratio = {
        "topLongShortAccountRatio": (accounts, "count_toptrader_long_short_ratio"),
        "topLongShortPositionRatio": (positions, "sum_toptrader_long_short_ratio"),
        "globalLongShortAccountRatio": (accounts, "count_long_short_ratio"),
    }
    for name, (fields, column) in of_ratio.items():
        yield _data(role, name, fields, {"longShortRatio": column}, False)
    if is_cm:
        # No ratio: the archive's is takerBuyVol by takerSellVol, both in contracts.
        volumes = ("takerBuyVol", "takerSellVol", "takerBuyVolValue", "takerSellVolValue")
        yield _data(role, "takerBuySellVol", volumes, {}, True)
    else:
        ratio = {"buySellRatio": "sum_taker_long_short_vol_ratio"}
        yield _data(role, "takerlongshortRatio", ("buySellRatio", "buyVol", "sellVol"), ratio, False)


def _endpoints() -> Iterator[tuple[tuple[str, str], tuple[RestEndpoint, ...]]]:
    for role in ("spot", "um", "cm"):
        yield (role, "klines"), (_klines(role, "klines"),)
        yield (role, "aggTrades"), (_agg_trades(role),)
    for role in ("um", "cm"):
        for name in ("indexPriceKlines", "markPriceKlines", "premiumIndexKlines"):
            yield (role, name), (_klines(role, name),)
        yield (role, "fundingRate"), (_funding(role),)
        yield (role, "metrics"), tuple(_metrics(role))


BINANCE_REST = RestApi(
    exchange="binance",
    hosts={"spot": "https://api.binance.com", "um": "https://fapi.binance.com", "cm": "https://dapi.binance.com"},
    clocks={role: RestTime(f"{prefix}/time", _fixed(_POOLS[role], 1)) for role, prefix in _PREFIXES.items()},
    endpoints=dict(_endpoints()),
    intervals={"1mo": "1M"},
    # Market data only; it answered where api.binance.com gave HTTP 451. Futures have no such host.
    alternatives={"spot": "https://data-api.binance.vision"},
    refusals={
        -1120: "unknown_interval",
        -1121: "unknown_symbol",
        -1122: "symbol_status",
        -1130: "out_of_reach",
        -4088: "span_too_long",
        -4166: "out_of_reach",
    },
    # Timeout, throttled, maintenance.
    retried=frozenset({-1007, -1008, -1016}),
    max_concurrency=16,
)
