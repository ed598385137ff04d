"""Requests to a REST API as values, the windows that cover a range, and the page after an answer. Without I/O.

What an endpoint allows is in ``catalog/rest.py``; ``client.py`` sends the requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from crypto_lakehouse.catalog.rest import Paging, RestEndpoint

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class RestRequest:
    """One request for rows of a symbol.

    Parameters
    ----------
    endpoint
        What is requested, from ``rest_endpoint_of``.
    symbol
        Symbol as the archive spells it.
    start, end
        UTC times [start, end), end exclusive: the API, whose bounds are inclusive, gets ``end`` less a millisecond.
        With ``from_id`` they are not sent; pages then go on until a row is at ``end`` or later.
    limit
        Most rows of the answer; None for the endpoint's best.
    from_id
        First id, for endpoints that page by ids.
    """

    endpoint: RestEndpoint
    symbol: str
    start: datetime | None = None
    end: datetime | None = None
    limit: int | None = None
    from_id: int | None = None

    @property
    def rows(self) -> int:
        """Most rows of the answer."""
        return self.limit or self.endpoint.best_limit

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the query."""
        endpoint = self.endpoint
        query = {endpoint.symbol_parameter: self.symbol.removesuffix(endpoint.symbol_suffix)}
        query |= dict(endpoint.parameters) | {"limit": str(self.rows)}
        if self.from_id is not None:
            return query | {"fromId": str(self.from_id)}
        if self.start is not None:
            query["startTime"] = str(milliseconds(self.start))
        if (end := self._sent_end) is not None:
            query["endTime"] = str(milliseconds(end) - 1)
        return query

    @property
    def canonical(self) -> str:
        """Path and query, in the order of names and without the host: the same for the same request.

        >>> from crypto_lakehouse.catalog import feed
        >>> from crypto_lakehouse.catalog.rest import rest_endpoint_of
        >>> klines = rest_endpoint_of(feed("binance", "um", "klines_1m"))
        >>> RestRequest(klines, "BTCUSDT", start=datetime(2024, 1, 1, tzinfo=UTC), limit=2).canonical
        '/fapi/v1/klines?interval=1m&limit=2&startTime=1704067200000&symbol=BTCUSDT'
        """
        return f"{self.endpoint.path}?{urlencode(sorted(self.parameters.items()))}"

    @property
    def _sent_end(self) -> datetime | None:
        span = self.endpoint.max_span
        if self.endpoint.paging is Paging.ID and self.start is not None and span is not None:
            return min(self.start + span, self.end or datetime.max.replace(tzinfo=UTC))
        return self.end

    def following(self, rows: Sequence[Mapping[str, Any]]) -> RestRequest | None:
        """The next page after an answer with these rows; None after the last one, and where windows are the pages."""
        endpoint = self.endpoint
        if endpoint.paging is Paging.TIME:
            return None
        if rows:
            last = rows[-1]
            is_last = self.end is not None and last[endpoint.time_column] >= milliseconds(self.end)
            # Fewer rows from an id on are the newest ones; fewer rows of an hour are all of that hour.
            if is_last or (self.from_id is not None and len(rows) < self.rows):
                return None
            return replace(self, from_id=int(last[endpoint.answer.id_column or ""]) + 1)
        later = self._sent_end
        if self.from_id is not None or self.end is None or later is None or later >= self.end:
            return None
        return replace(self, start=later)


def windows(endpoint: RestEndpoint, symbol: str, start: datetime, end: datetime) -> Iterator[RestRequest]:
    """Requests that together cover the UTC times [start, end), in order.

    A window never holds more rows than its limit, so it does not matter which end of a longer answer an API cuts off.
    Start it at the first time that is missing. For pages by id it is one request, which finds the first id by time;
    the client requests the other pages. Raises ValueError for an endpoint that does not have the symbol.

    >>> from crypto_lakehouse.catalog import feed
    >>> from crypto_lakehouse.catalog.rest import rest_endpoint_of
    >>> klines = rest_endpoint_of(feed("binance", "um", "klines_1m"))
    >>> day = datetime(2024, 1, 1, tzinfo=UTC)
    >>> [(f"{window.start:%H:%M}", window.limit) for window in windows(klines, "BTCUSDT", day, day + timedelta(1))]
    [('00:00', 499), ('08:19', 499), ('16:38', 442)]
    """
    if not endpoint.has_symbol(symbol):
        raise ValueError(f"{endpoint.path} has no symbol {symbol!r}, only those that end with {endpoint.symbol_suffix}")
    if start >= end:
        return
    if endpoint.paging is Paging.ID or endpoint.step is None:
        yield RestRequest(endpoint, symbol, start, end)
        return
    steps = endpoint.best_limit
    if endpoint.max_span is not None:
        steps = max(1, min(steps, endpoint.max_span // endpoint.step))
    while start < end:
        stop = min(start + steps * endpoint.step, end)
        limit = -((start - stop) // endpoint.step)
        # Where more rows cost nothing, a limit with room for a row that comes late.
        if all(cost.weight(limit) == cost.weight(endpoint.max_limit) for cost in endpoint.costs):
            limit = endpoint.max_limit
        yield RestRequest(endpoint, symbol, start, stop, limit)
        start = stop


def milliseconds(time: datetime) -> int:
    """Milliseconds since the epoch, rounded up: both bounds of an API are inclusive."""
    return -((_EPOCH - time) // _MS)


def from_milliseconds(count: int) -> datetime:
    """The UTC time at that many milliseconds since the epoch."""
    return _EPOCH + count * _MS
