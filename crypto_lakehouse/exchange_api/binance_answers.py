"""What Binance answers to a query, without HTTP: order, bounds and numbers of rows.

Parameters and refusals are in ``binance_parameters.py``, the JSON of rows in ``binance_shapes.py`` and that of
``exchangeInfo`` in ``binance_info.py``. Rows come from a ``RowSource``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from itertools import islice
from typing import Any

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.catalog.binance import SPOT
from crypto_lakehouse.catalog.binance_rest import BINANCE_REST, FUNDING_POOL
from crypto_lakehouse.catalog.rest import Overflow, Paging, RestCost, RestEndpoint, RestPool
from crypto_lakehouse.exchange_api import binance_shapes as shapes
from crypto_lakehouse.exchange_api.binance_info import exchange_info
from crypto_lakehouse.exchange_api.binance_parameters import (
    MARKETS,
    PERIODS,
    POOLS,
    ApiError,
    Query,
    bounds_of,
    check_info,
    check_read,
    checked_symbol,
    contract,
    endpoint_of,
    feed_of,
    feed_of_query,
    integer,
    limit_of,
    milliseconds,
    rows_charged,
    unit_of,
)
from crypto_lakehouse.exchange_api.rows import Row, RowSource

_BY_NAME = {market.name: market for market in MARKETS.values()}
_LAST = 2**62
_MOST = 10**6


class ExchangeApi:
    """The exchange's answers over ``rows``.

    ``clock`` gives the server's time in milliseconds: later rows do not exist yet, and a bar that contains it is still
    forming. ``stale`` is the age of the time in ``exchangeInfo`` of futures. ``pools`` are pools with other
    limits than the catalogue's, by name. Without ``has_reach`` all rows are answered, also those that the exchange
    refuses, or leaves out, because they are old. ``notes`` are further fields of ``exchangeInfo``.
    """

    def __init__(
        self,
        rows: RowSource,
        clock: Callable[[], int],
        stale: timedelta = timedelta(hours=6),
        pools: Mapping[str, RestPool] | None = None,
        has_reach: bool = True,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        self._rows, self._clock, self._stale, self._pools = rows, clock, stale, pools or {}
        self._has_reach, self._notes = has_reach, notes or {}

    def costs(self, path: str, query: Query) -> tuple[tuple[RestCost, ...], int]:
        """What a request costs, refused or not, and the limit of its rows."""
        prefix, _, name = path.rpartition("/")
        market = MARKETS.get(prefix)
        if market is not None and name in ("time", "ping"):
            return BINANCE_REST.clocks[market.name].costs, 0
        if market is not None and name == "exchangeInfo":
            return (RestCost(POOLS[market.name], ((0, 20 if market is SPOT else 1),)),), 0
        if market is not None and name == "fundingInfo":
            return (RestCost(FUNDING_POOL, ((0, 1),)),), 0
        endpoint = endpoint_of(path, query)
        return ((), 0) if endpoint is None else (endpoint.costs, rows_charged(endpoint, query))

    def answer(self, path: str, query: Query, time_unit: str = "") -> Any:
        """The body of an answer; ``time_unit`` is the value of the header TIME_UNIT. Raises ApiError."""
        prefix, _, name = path.rpartition("/")
        market = MARKETS.get(prefix)
        if market is not None and name == "ping":
            return {}
        if market is not None and name == "time":
            return {"serverTime": self._clock() * unit_of(market.name, time_unit)}
        if market is not None and name == "exchangeInfo":
            return self._exchange_info(market.name, query, time_unit)
        if market is not None and market is not SPOT and name == "fundingInfo":
            feed = feed_of(market.name, "fundingRate")
            return [shapes.funding_info(row, row["symbol"]) for row in self._rows.newest(feed, self._clock())]
        endpoint = endpoint_of(path, query)
        if endpoint is None:
            raise ApiError(0, f"no such path: {path}", status=404)
        return self._rows_of(endpoint, query, unit_of(endpoint.role, time_unit))

    def _rows_of(self, endpoint: RestEndpoint, query: Query, unit: int) -> list[Any]:
        name = endpoint.path.rpartition("/")[2]
        if name != "fundingRate":
            checked_symbol(endpoint, query)
        feed = feed_of_query(endpoint, query)
        check_read(endpoint, query)
        limit = limit_of(endpoint, query)
        first, last = bounds_of(endpoint, query)
        # Of rows at whole milliseconds, the start rounds up and the end down.
        start, end = None if first is None else -(-first // 1000), None if last is None else last // 1000
        if name == "fundingRate":
            symbol = None
            if "symbol" in query or feed.market.name != "um":
                symbol = self._symbol(endpoint, feed, query)
            elif limit == endpoint.default_limit and start is end is None:
                limit = 200
            return self._funding(feed, symbol, start, end, limit)
        symbol = self._symbol(endpoint, feed, query)
        if endpoint.paging is Paging.ID:
            rows = self._trades(endpoint, feed, symbol, query, first, last, limit)
            return [shapes.agg_trade(row, feed.market.name, unit) for row in rows]
        if name.endswith("lines"):
            return list(self._klines(endpoint, feed, symbol, start, end, limit, unit))
        return self._statistics(endpoint, feed, symbol, query, start, end, limit)

    def _klines(
        self, endpoint: RestEndpoint, feed: Feed, symbol: str, start: int | None, end: int | None, limit: int, unit: int
    ) -> Iterator[list[Any]]:
        now = self._clock()
        is_open = start is None and end is None
        if endpoint.max_span is not None and (self._has_reach or not is_open):
            span = milliseconds(endpoint.max_span)
            end = end if end is not None else min(now, start + span) if start is not None else now
            start = start if start is not None else end - span
            if end - start > span:
                raise ApiError(-4088, f"Maximum time interval is {endpoint.max_span.days} days.")
        is_newest = endpoint.overflow is not Overflow.OLDEST or start is None
        shape = shapes.kline if feed.archive_type == "klines" else shapes.price_kline
        for row in self._cut(self._between(feed, symbol, start, end, is_newest), limit, is_newest):
            yield shape(shapes.forming(row, now) if row["close_time"] > now else row, unit)

    def _trades(
        self,
        endpoint: RestEndpoint,
        feed: Feed,
        symbol: str,
        query: Query,
        first: int | None,
        last: int | None,
        limit: int,
    ) -> list[Row]:
        now, id = self._clock(), integer(query, "fromId")
        oldest = now - milliseconds(endpoint.reach) if endpoint.reach is not None and self._has_reach else 0
        if id is not None and (first is not None or last is not None):
            raise ApiError(-1128, "Combination of optional parameters invalid.")
        start, end = None if first is None else first // 1000, None if last is None else last // 1000
        if id is None:
            found = self._between(feed, symbol, start, end, start is None)
            # Trades have microseconds, and so may have the bounds.
            inside = (row for row in found if (first or 0) <= _exact(row) <= (_LAST if last is None else last))
            rows = self._cut(inside, limit, start is None)
        else:
            rows = [row for row in islice(self._rows.from_id(feed, symbol, id), limit) if row["transact_time"] <= now]
        if (start or oldest) < oldest or (rows and rows[0]["transact_time"] < oldest):
            raise ApiError(-4166, "Search window is restricted to recent 2 days only.")
        return rows

    def _funding(self, feed: Feed, symbol: str | None, start: int | None, end: int | None, limit: int) -> list[Any]:
        rows = self._cut(self._between(feed, symbol, start, end, start is None), limit, start is None)
        owners = [(row, row.get("symbol", symbol)) for row in rows]
        times: dict[str, list[int]] = {owner: [] for _, owner in owners}
        for row, owner in owners:
            if not row.get("mark_price"):
                times[owner].append(_minute(row))
        marks = {owner: self._rows.mark_prices(feed.market.name, owner, known) for owner, known in times.items()}
        return [
            shapes.funding_rate(row, owner, row.get("mark_price") or marks[owner].get(_minute(row), ""))
            for row, owner in owners
        ]

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
        if endpoint.reach is not None and self._has_reach:
            oldest = self._clock() - milliseconds(endpoint.reach)
            if start is not None and start < oldest:
                raise ApiError(-1130, "parameter 'startTime' is invalid.")
        step = PERIODS[query["period"]] * 60_000
        name = endpoint.path.rpartition("/")[2]
        owner = {endpoint.symbol_parameter: query[endpoint.symbol_parameter].upper(), **contract(endpoint, query)}
        found = self._between(feed, symbol, start, end, start is None)
        answers = (shapes.statistic(row, name, owner) for row in found if row["create_time"] % step == 0)
        return self._cut((answer for answer in answers if answer is not None), limit, start is None)

    def _between(
        self, feed: Feed, symbol: str | None, start: int | None, end: int | None, is_newest: bool
    ) -> Iterator[Row]:
        """Rows in [start, end], both inclusive and neither after now: the newest or the oldest first."""
        first, last = start or 0, min(self._clock(), _LAST if end is None else end)
        read = self._rows.backward if is_newest else self._rows.forward
        return read(feed, symbol, first, last)

    @staticmethod
    def _cut(rows: Iterator[Any], limit: int, is_newest: bool) -> list[Any]:
        """The first ``limit`` rows, the oldest first."""
        kept = list(islice(rows, min(limit, _MOST)))
        return kept[::-1] if is_newest else kept

    def _exchange_info(self, market: str, query: Query, time_unit: str) -> dict[str, Any]:
        unit, listed = unit_of(market, time_unit), self._rows.listed(market)
        symbols = None
        if market == "spot":
            check_info(query)
            symbols = _chosen(query)
            if symbols is not None and (symbols - set(listed) or not symbols):
                raise ApiError(-1121, "Invalid symbol.")
        time = self._clock() - (0 if market == "spot" else milliseconds(self._stale))
        pool = self._pools.get(POOLS[market].name, POOLS[market])
        info = exchange_info(_BY_NAME[market], listed, time * unit, pool)
        if symbols is not None:
            info["symbols"] = [entry for entry in info["symbols"] if entry["symbol"] in symbols]
        if market == "spot" and "symbolStatus" in query:
            info["symbols"] = [entry for entry in info["symbols"] if entry["status"] == query["symbolStatus"]]
        return {**info, **self._notes}

    def _symbol(self, endpoint: RestEndpoint, feed: Feed, query: Query) -> str:
        symbol = checked_symbol(endpoint, query)
        if not self._rows.knows(feed.market.name, symbol):
            raise ApiError(-1121, "Invalid symbol.")
        return symbol


def _chosen(query: Query) -> set[str] | None:
    """The symbols that a query for information names; None for all."""
    if "symbol" in query:
        return {query["symbol"]}
    if "symbols" not in query:
        return None
    try:
        names = json.loads(query["symbols"])
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ApiError(-1100, "Illegal characters found in parameter 'symbols'.")
    return set(names)


def _exact(row: Row) -> int:
    """The time of a trade in microseconds."""
    return int(row["transact_time"]) * 1000 + int(row.get("microseconds", 0))


def _minute(row: Row) -> int:
    return int(row["calc_time"]) // 60_000 * 60_000
