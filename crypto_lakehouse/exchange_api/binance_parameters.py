"""The parameters of a query as Binance reads them: endpoints, defaults, limits, and the codes of refusals.

What is answered is in ``binance_answers.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta

from crypto_lakehouse.catalog import FEEDS, INTERVALS, Feed
from crypto_lakehouse.catalog.binance import CM, SPOT, UM
from crypto_lakehouse.catalog.binance_rest import BINANCE_REST, FUTURES_POOL, SPOT_POOL
from crypto_lakehouse.catalog.rest import Paging, RestEndpoint
from crypto_lakehouse.exchange_api.binance_shapes import error

Query = Mapping[str, str]

MARKETS = {"/api/v3": SPOT, "/fapi/v1": UM, "/dapi/v1": CM}
POOLS = {"spot": SPOT_POOL, "um": FUTURES_POOL, "cm": FUTURES_POOL}
PERIODS = {"5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "12h": 720, "1d": 1440}
TIME_UNIT = "X-MBX-TIME-UNIT"
"""The header that asks spot for times in microseconds."""

_INTERVALS = {BINANCE_REST.intervals.get(name, name): name for name in INTERVALS}
_NUMBER = re.compile(r"[0-9]{1,20}")
_MICROSECONDS_FROM = 10**14
_INFO_PARAMETERS = {"symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus"}


class ApiError(Exception):
    """A refusal with the exchange's code."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.status, self.body = code, status, error(code, message)


def paths() -> list[str]:
    """The paths that are answered."""
    of_rows = {endpoint.path for group in BINANCE_REST.endpoints.values() for endpoint in group}
    of_markets = {f"{prefix}/{name}" for prefix in MARKETS for name in ("ping", "time", "exchangeInfo")}
    return sorted(of_rows | of_markets | {f"{prefix}/fundingInfo" for prefix in ("/fapi/v1", "/dapi/v1")})


def endpoint_of(path: str, query: Query) -> RestEndpoint | None:
    """The endpoint of a path; COIN-M has the statistics of USD-M under the same path, by pair."""
    candidates = [each for group in BINANCE_REST.endpoints.values() for each in group if each.path == path]
    named = [each for each in candidates if each.symbol_parameter in query]
    return next(iter(named or candidates), None)


def feed_of_query(endpoint: RestEndpoint, query: Query) -> Feed:
    """The feed whose rows a query asks for."""
    archive_type = next(
        archive_type
        for (market, archive_type), group in BINANCE_REST.endpoints.items()
        if any(each is endpoint for each in group)
    )
    parameter = "interval" if archive_type.lower().endswith("klines") else "period" if archive_type == "metrics" else ""
    if not parameter:
        return feed_of(endpoint.role, archive_type)
    if not (text := query.get(parameter)):
        raise missing(parameter)
    if parameter == "period":
        if text not in PERIODS:
            raise ApiError(-1130, "parameter 'period' is invalid.")
        return feed_of(endpoint.role, archive_type)
    try:
        return feed_of(endpoint.role, archive_type, _INTERVALS[text])
    except (KeyError, StopIteration):
        raise ApiError(-1120, "Invalid interval.") from None


def feed_of(market: str, archive_type: str, interval: str = "") -> Feed:
    """The feed of a market, archive type and interval."""
    return next(
        feed
        for feed in FEEDS.values()
        if (feed.exchange, feed.market.name, feed.archive_type) == (SPOT.exchange, market, archive_type)
        and (feed.interval.name if feed.interval else "") == interval
    )


def check_read(endpoint: RestEndpoint, query: Query) -> None:
    """Refuse a query with a parameter that the endpoint does not read."""
    allowed = {endpoint.symbol_parameter, "limit", "startTime", "endTime"} | {"interval", "period"} & set(query)
    allowed |= {key for key, _ in endpoint.parameters} | ({"fromId"} if endpoint.paging is Paging.ID else set())
    _check_allowed(query, allowed)


def check_info(query: Query) -> None:
    """Refuse a query for the information of spot with a parameter that it does not read, or with two lists."""
    _check_allowed(query, _INFO_PARAMETERS)
    if "symbol" in query and "symbols" in query:
        raise ApiError(-1128, "Combination of optional parameters invalid.")


def _check_allowed(query: Query, allowed: set[str]) -> None:
    if extra := [key for key in query if key not in allowed]:
        read = len(query) - len(extra)
        raise ApiError(
            -1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{len(query)}'."
        )


def checked_symbol(endpoint: RestEndpoint, query: Query) -> str:
    """The symbol or pair of a query, in upper case."""
    parameter = endpoint.symbol_parameter
    text = query.get(parameter, "")
    if not text:
        raise missing(parameter)
    # Spot refuses lower case, futures accept it.
    name = text if endpoint.role == "spot" else text.upper()
    if name != name.upper() or not name.replace("_", "").isalnum():
        raise ApiError(-1100, f"Illegal characters found in parameter '{parameter}'.")
    return name + endpoint.symbol_suffix


def limit_of(endpoint: RestEndpoint, query: Query) -> int:
    """The number of rows that a query asks for."""
    limit = integer(query, "limit")
    if limit is None:
        return endpoint.default_limit
    if limit > endpoint.max_limit and endpoint.role == "spot":
        return endpoint.max_limit
    if not 0 < limit <= endpoint.max_limit:
        raise ApiError(-1130, "Data sent for parameter 'limit' is not valid.")
    return limit


def rows_charged(endpoint: RestEndpoint, query: Query) -> int:
    """The number of rows that the weight of a query, valid or not, depends on."""
    text = query.get("limit", "")
    return int(text) if _NUMBER.fullmatch(text) else endpoint.default_limit


def bounds_of(endpoint: RestEndpoint, query: Query) -> tuple[int | None, int | None]:
    """The start and end of a query in microseconds; spot takes them in milliseconds or microseconds."""
    start, end = (integer(query, key) for key in ("startTime", "endTime"))

    def scaled(time: int | None) -> int | None:
        is_micro = endpoint.role == "spot" and time is not None and time >= _MICROSECONDS_FROM
        return time if time is None or is_micro else time * 1000

    first, last = scaled(start), scaled(end)
    if first is not None and last is not None and last < first:
        raise ApiError(-1023, "Start time is greater than end time.")
    return first, last


def unit_of(market: str, time_unit: str) -> int:
    """How many units of the answer's times are in a millisecond, by the value of the header TIME_UNIT."""
    if market != "spot" or time_unit.upper() in ("", "MILLISECOND"):
        return 1
    if time_unit.upper() == "MICROSECOND":
        return 1000
    raise ApiError(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")


def contract(endpoint: RestEndpoint, query: Query) -> dict[str, str]:
    """The contract type of a query for statistics of COIN-M."""
    return {key: query.get(key, value) for key, value in endpoint.parameters if key == "contractType"}


def integer(query: Query, name: str) -> int | None:
    """The number of a parameter; None if it was not sent."""
    if (text := query.get(name)) is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise ApiError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)


def missing(parameter: str) -> ApiError:
    """The refusal of a query without a parameter."""
    return ApiError(-1102, f"Mandatory parameter '{parameter}' was not sent, was empty/null, or malformed.")


def milliseconds(length: timedelta) -> int:
    """A length in milliseconds."""
    return length // timedelta(milliseconds=1)
