"""What the exchange answers to a query: parameters, defaults, limits, order, bounds and error codes, without HTTP.

Rows come from ``api_rows.py``, their JSON from ``api_shapes.py``. ``api_server.py`` counts weights and sends answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from crypto_lakehouse.catalog import FEEDS, INTERVALS, Feed
from crypto_lakehouse.catalog.binance import CM, SPOT, UM
from crypto_lakehouse.catalog.binance_rest import BINANCE_REST, FUNDING_POOL, FUTURES_POOL, SPOT_POOL
from crypto_lakehouse.catalog.rest import Overflow, Paging, RestCost, RestEndpoint, RestPool
from crypto_lakehouse.sample import api_shapes as shapes
from crypto_lakehouse.sample.api_rows import ArchiveRows, Row

Query = Mapping[str, str]

_MARKETS = {"/api/v3": SPOT, "/fapi/v1": UM, "/dapi/v1": CM}
_POOLS = {"spot": SPOT_POOL, "um": FUTURES_POOL, "cm": FUTURES_POOL}
_PERIODS = {"5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "12h": 720, "1d": 1440}
_INTERVALS = {BINANCE_REST.intervals.get(name, name): name for name in INTERVALS}
_NUMBER = re.compile(r"[0-9]{1,20}")
_LAST = 2**62


class ApiError(Exception):
    """A refusal with the exchange's code."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.status, self.body = status, shapes.error(code, message)


class ExchangeApi:
    """The exchange's answers over ``rows``.

    ``clock`` gives the server's time in milliseconds: later rows do not exist yet, and a bar that contains it is still
    forming. ``stale`` is the age of the time in ``exchangeInfo`` of futures. ``pools`` are pools with other
    limits than the catalogue's, by name.
    """

    def __init__(
        self,
        rows: ArchiveRows,
        clock: Callable[[], int],
        stale: timedelta = timedelta(hours=6),
        pools: Mapping[str, RestPool] | None = None,
    ) -> None:
        self._rows, self._clock, self._stale, self._pools = rows, clock, stale, pools or {}

    def costs(self, path: str, query: Query) -> tuple[tuple[RestCost, ...], int]:
        """What a request costs, refused or not, and the limit of its rows."""
        prefix, _, name = path.rpartition("/")
        market = _MARKETS.get(prefix)
        if market is not None and name == "time":
            return BINANCE_REST.clocks[market.name].costs, 0
        if market is not None and name == "exchangeInfo":
            return (RestCost(_POOLS[market.name], ((0, 20 if market is SPOT else 1),)),), 0
        if market is not None and name == "fundingInfo":
            return (RestCost(FUNDING_POOL, ((0, 1),)),), 0
        endpoint = _endpoint(path, query)
        if endpoint is None:
            return (), 0
        text = query.get("limit", "")
        return endpoint.costs, int(text) if _NUMBER.fullmatch(text) else endpoint.default_limit

    def answer(self, path: str, query: Query) -> Any:
        """The body of an answer. Raises ApiError."""
        prefix, _, name = path.rpartition("/")
        market = _MARKETS.get(prefix)
        if market is not None and name == "time":
            return {"serverTime": self._clock()}
        if market is not None and name == "exchangeInfo":
            return self._exchange_info(market.name)
        if market is not None and market is not SPOT and name == "fundingInfo":
            return list(self._funding_info(market.name))
        endpoint = _endpoint(path, query)
        if endpoint is None:
            raise ApiError(0, f"no such path: {path}", status=404)
        return self._rows_of(endpoint, query)

    def _rows_of(self, endpoint: RestEndpoint, query: Query) -> list[Any]:
        name = endpoint.path.rpartition("/")[2]
        feed = _feed(endpoint, query)
        allowed = {endpoint.symbol_parameter, "limit", "startTime", "endTime"} | {"interval", "period"} & set(query)
        allowed |= {key for key, _ in endpoint.parameters} | ({"fromId"} if endpoint.paging is Paging.ID else set())
        if extra := [key for key in query if key not in allowed]:
            read = len(query) - len(extra)
            raise ApiError(
                -1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{len(query)}'."
            )
        limit = _limit(endpoint, query)
        start, end = (_integer(query, key) for key in ("startTime", "endTime"))
        if start is not None and end is not None and end < start:
            raise ApiError(-1023, "Start time is greater than end time.")
        if name == "fundingRate":
            symbols = self._funding_symbols(feed, query)
            if "symbol" not in query and limit == endpoint.default_limit and start is end is None:
                limit = 200
            return self._funding(feed, symbols, start, end, limit)
        symbol = self._symbol(endpoint, feed, query)
        if endpoint.paging is Paging.ID:
            rows = self._trades(endpoint, feed, symbol, query, start, end, limit)
            return [shapes.agg_trade(row, feed.market.name) for row in rows]
        if name.endswith("lines"):
            return list(self._klines(endpoint, feed, symbol, start, end, limit))
        return self._statistics(endpoint, feed, symbol, query, start, end, limit)

    def _klines(
        self, endpoint: RestEndpoint, feed: Feed, symbol: str, start: int | None, end: int | None, limit: int
    ) -> Iterator[list[Any]]:
        now = self._clock()
        if endpoint.max_span is not None:
            span = _ms(endpoint.max_span)
            end = end if end is not None else min(now, start + span) if start is not None else now
            start = start if start is not None else end - span
            if end - start > span:
                raise ApiError(-4088, f"Maximum time interval is {endpoint.max_span.days} days.")
        is_newest = endpoint.overflow is not Overflow.OLDEST or start is None
        shape = shapes.kline if feed.archive_type == "klines" else shapes.price_kline
        for row in self._cut(feed, symbol, start, end, limit, is_newest):
            yield shape(shapes.forming(row, now) if row["close_time"] > now else row)

    def _trades(
        self,
        endpoint: RestEndpoint,
        feed: Feed,
        symbol: str,
        query: Query,
        start: int | None,
        end: int | None,
        limit: int,
    ) -> list[Row]:
        now, first = self._clock(), _integer(query, "fromId")
        oldest = now - _ms(endpoint.reach) if endpoint.reach is not None else 0
        if first is not None and (start is not None or end is not None):
            raise ApiError(-1128, "Combination of optional parameters invalid.")
        if first is None:
            rows = self._cut(feed, symbol, start, end, limit, start is None)
        else:
            rows = [
                row for row in islice(self._rows.from_id(feed, symbol, first), limit) if row["transact_time"] <= now
            ]
        if (start or oldest) < oldest or (rows and rows[0]["transact_time"] < oldest):
            raise ApiError(-4166, "Search window is restricted to recent 2 days only.")
        return rows

    def _funding(self, feed: Feed, symbols: list[str], start: int | None, end: int | None, limit: int) -> list[Any]:
        events = [
            (row, symbol) for symbol in symbols for row in self._cut(feed, symbol, start, end, limit, start is None)
        ]
        events.sort(key=lambda event: event[0]["calc_time"])
        kept = events[-limit:] if start is None else events[:limit]
        return [shapes.funding_rate(row, symbol, self._mark_price(feed, symbol, row)) for row, symbol in kept]

    def _mark_price(self, feed: Feed, symbol: str, row: Row) -> str:
        minute = row["calc_time"] // 60_000 * 60_000
        marks = FEEDS[feed.exchange, feed.market.name, "mark_klines_1m"]
        return next((str(mark["open"]) for mark in self._rows.forward(marks, symbol, minute, minute)), "")

    def _funding_info(self, market: str) -> Iterator[dict[str, Any]]:
        feed = _feed_of(market, "fundingRate")
        for symbol in self._rows.symbols(feed):
            for row in islice(self._rows.backward(feed, symbol, 0, self._clock()), 1):
                yield shapes.funding_info(row, symbol)

    def _statistics(
        self,
        endpoint: RestEndpoint,
        feed: Feed,
        symbol: str,
        query: Query,
        start: int | None,
        end: int | None,
        limit: int,
    ) -> list[Any]:
        reach = _ms(endpoint.reach) if endpoint.reach is not None else self._clock()
        if start is not None and start < self._clock() - reach:
            raise ApiError(-1130, "parameter 'startTime' is invalid.")
        step = _PERIODS[query["period"]] * 60_000
        name = endpoint.path.rpartition("/")[2]
        owner = {endpoint.symbol_parameter: query[endpoint.symbol_parameter].upper(), **_contract(endpoint, query)}
        found = self._cut(feed, symbol, start, end, _LAST, start is None)
        answers = [shapes.statistic(row, name, owner) for row in found if row["create_time"] % step == 0]
        whole = [answer for answer in answers if answer is not None]
        return whole[-limit:] if start is None else whole[:limit]

    def _cut(
        self, feed: Feed, symbol: str, start: int | None, end: int | None, limit: int, is_newest: bool
    ) -> list[Row]:
        """Rows in [start, end], both inclusive and neither after now, in order: the newest or the oldest ``limit``."""
        first, last = start or 0, min(self._clock(), _LAST if end is None else end)
        if is_newest:
            return list(islice(self._rows.backward(feed, symbol, first, last), min(limit, 10**6)))[::-1]
        return list(islice(self._rows.forward(feed, symbol, first, last), min(limit, 10**6)))

    def _exchange_info(self, market: str) -> dict[str, Any]:
        found: dict[str, tuple[datetime, datetime]] = {}
        for feed in _all_feeds(market):
            for symbol in self._rows.symbols(feed):
                # The index of COIN-M is listed by pair, which is no symbol.
                if feed.archive_type != "indexPriceKlines" and (period := self._rows.period(feed, symbol)):
                    first, end = found.get(symbol, period)
                    found[symbol] = min(first, period[0]), max(end, period[1])
        time = self._clock() - (0 if market == "spot" else _ms(self._stale))
        pool = self._pools.get(_POOLS[market].name, _POOLS[market])
        return shapes.exchange_info(_feeds(market)[0].market, found, time, pool)

    def _symbol(self, endpoint: RestEndpoint, feed: Feed, query: Query) -> str:
        parameter = endpoint.symbol_parameter
        text = query.get(parameter, "")
        if not text:
            raise ApiError(-1102, f"Mandatory parameter '{parameter}' was not sent, was empty/null, or malformed.")
        # Spot refuses lower case, futures accept it.
        name = text if endpoint.role == "spot" else text.upper()
        if name != name.upper() or not name.replace("_", "").isalnum():
            raise ApiError(-1100, f"Illegal characters found in parameter '{parameter}'.")
        symbol = name + endpoint.symbol_suffix
        if not any(self._rows.has(each, symbol) for each in _feeds(feed.market.name)):
            raise ApiError(-1121, "Invalid symbol.")
        return symbol

    def _funding_symbols(self, feed: Feed, query: Query) -> list[str]:
        if "symbol" not in query and feed.market is UM:
            return self._rows.symbols(feed)
        return [self._symbol(BINANCE_REST.endpoints_of(feed)[0], feed, query)]


def _endpoint(path: str, query: Query) -> RestEndpoint | None:
    """The endpoint of a path; COIN-M has the statistics of USD-M under the same path, by pair."""
    candidates = [each for group in BINANCE_REST.endpoints.values() for each in group if each.path == path]
    named = [each for each in candidates if each.symbol_parameter in query]
    return next(iter(named or candidates), None)


def _feed(endpoint: RestEndpoint, query: Query) -> Feed:
    archive_type = next(
        archive_type
        for (market, archive_type), group in BINANCE_REST.endpoints.items()
        if any(each is endpoint for each in group)
    )
    parameter = "interval" if archive_type.lower().endswith("klines") else "period" if archive_type == "metrics" else ""
    if not parameter:
        return _feed_of(endpoint.role, archive_type)
    if not (text := query.get(parameter)):
        raise ApiError(-1102, f"Mandatory parameter '{parameter}' was not sent, was empty/null, or malformed.")
    if parameter == "period":
        if text not in _PERIODS:
            raise ApiError(-1130, "parameter 'period' is invalid.")
        return _feed_of(endpoint.role, archive_type)
    try:
        return _feed_of(endpoint.role, archive_type, _INTERVALS[text])
    except (KeyError, StopIteration):
        raise ApiError(-1120, "Invalid interval.") from None


def _feed_of(market: str, archive_type: str, interval: str = "") -> Feed:
    return next(
        feed
        for feed in _all_feeds(market)
        if feed.archive_type == archive_type and (feed.interval.name if feed.interval else "") == interval
    )


def _feeds(market: str) -> list[Feed]:
    """A feed of each type of a market."""
    return list({feed.archive_type: feed for feed in _all_feeds(market)}.values())


def _all_feeds(market: str) -> list[Feed]:
    return [feed for feed in FEEDS.values() if (feed.exchange, feed.market.name) == (SPOT.exchange, market)]


def _contract(endpoint: RestEndpoint, query: Query) -> dict[str, str]:
    return {key: query.get(key, value) for key, value in endpoint.parameters if key == "contractType"}


def _limit(endpoint: RestEndpoint, query: Query) -> int:
    limit = _integer(query, "limit")
    if limit is None:
        return endpoint.default_limit
    if limit > endpoint.max_limit and endpoint.role == "spot":
        return endpoint.max_limit
    if not 0 < limit <= endpoint.max_limit:
        raise ApiError(-1130, "Data sent for parameter 'limit' is not valid.")
    return limit


def _integer(query: Query, name: str) -> int | None:
    if (text := query.get(name)) is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise ApiError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)


def _ms(length: timedelta) -> int:
    return length // timedelta(milliseconds=1)
