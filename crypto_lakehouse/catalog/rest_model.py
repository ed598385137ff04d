"""The vocabulary of REST APIs: endpoints, their costs, and the limits of requests, as plain data.

Contains frozen classes. Their entries are in the modules of the exchanges (``binance_rest.py``), ``rest.py`` looks them
up, and the package ``rest`` sends the requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

from crypto_lakehouse.catalog.model import Feed, FileFormat


class Paging(StrEnum):
    """How a long range is cut into requests."""

    TIME = "time"
    """Windows of time that never hold more rows than the limit."""
    ID = "id"
    """From an id on: the next request starts after the last id of the answer."""


class Overflow(StrEnum):
    """Which rows an answer has if its range holds more of them than its limit."""

    OLDEST = "oldest"
    NEWEST = "newest"
    UNKNOWN = "unknown"


class RowShape(StrEnum):
    """What a row of an answer is in JSON."""

    LIST = "list"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class RestPool:
    """Requests that share one limit, which counts the weights of an address.

    ``limit`` is the greatest sum of weights in ``window``. ``header`` names the header of answers that says how much of
    it this address has used; empty if there is none. ``source`` says where the limit was seen.
    """

    name: str
    limit: int
    window: timedelta
    header: str
    source: str


@dataclass(frozen=True, slots=True)
class RestCost:
    """The weight of a request in one pool: steps of (greatest limit of rows, weight), from low to high."""

    pool: RestPool
    weights: tuple[tuple[int, int], ...]

    def weight(self, limit: int) -> int:
        """Weight of a request for up to ``limit`` rows; more than the last step costs as much as that."""
        return next((weight for greatest, weight in self.weights if limit <= greatest), self.weights[-1][1])


@dataclass(frozen=True, slots=True)
class RestEndpoint:
    """One path of an API, which answers rows of one table.

    ``role`` is the host (``spot``, ``um``, ``cm``). ``symbol_parameter`` names the parameter with the symbol; if
    ``symbol_suffix`` is set, only symbols that end with it can be requested, and the parameter has no suffix.
    ``parameters`` are sent with each request. ``answer`` describes the fields of a row: a column's alias is the name of
    its field, and fields that may be blank may also be missing. ``step`` is the time between two rows; None for
    events. ``best_limit`` has the most rows for its weight. ``reach`` is how far back requests are answered,
    ``max_span`` the longest range of one request. ``archive_columns`` maps columns of the answer to those of the
    archive's file, where the names differ. ``rounded`` columns have fewer decimals than the archive's. ``source``
    says where these facts were seen.
    """

    role: str
    path: str
    paging: Paging
    max_limit: int
    default_limit: int
    best_limit: int
    costs: tuple[RestCost, ...]
    answer: FileFormat
    row_shape: RowShape
    overflow: Overflow
    source: str
    symbol_parameter: str = "symbol"
    symbol_suffix: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    step: timedelta | None = None
    reach: timedelta | None = None
    max_span: timedelta | None = None
    archive_columns: Mapping[str, str] = field(default_factory=dict)
    rounded: tuple[str, ...] = ()

    @property
    def time_column(self) -> str:
        """The column of the answer that places a row in time, in milliseconds since the epoch."""
        return self.answer.time_columns[0]

    def has_symbol(self, symbol: str) -> bool:
        """Whether the endpoint answers requests for the archive's symbol."""
        return symbol.endswith(self.symbol_suffix)

    def with_interval(self, name: str, step: timedelta) -> RestEndpoint:
        """The endpoint for one interval of klines, ``name`` as the API spells it."""
        return replace(self, parameters=(*self.parameters, ("interval", name)), step=step)


@dataclass(frozen=True, slots=True)
class RestTime:
    """The endpoint of a host that answers the time of its clock."""

    path: str
    costs: tuple[RestCost, ...]


@dataclass(frozen=True, slots=True)
class RestApi:
    """All that the catalogue says about the REST API of one exchange.

    ``hosts`` maps a role to its URL, ``clocks`` to the endpoint of its time. ``endpoints`` are those of a (market,
    archive type), the one with all keys of the table first. ``intervals`` has the API's names of intervals where they
    differ. ``alternatives`` maps a role to another URL that serves the same from places where the usual one refuses.
    ``refusals`` maps error codes to reasons; ``retried`` are codes after which the same request may succeed.
    ``max_concurrency`` is the greatest number of parallel requests.
    """

    exchange: str
    hosts: Mapping[str, str]
    clocks: Mapping[str, RestTime]
    endpoints: Mapping[tuple[str, str], tuple[RestEndpoint, ...]]
    intervals: Mapping[str, str]
    alternatives: Mapping[str, str]
    refusals: Mapping[int, str]
    retried: frozenset[int]
    max_concurrency: int

    def endpoints_of(self, feed: Feed) -> tuple[RestEndpoint, ...]:
        """The endpoints that answer the rows of a feed; empty if there are none."""
        endpoints = self.endpoints.get((feed.market.name, feed.archive_type), ())
        if feed.interval is None:
            return endpoints
        name = self.intervals.get(feed.interval.name, feed.interval.name)
        # A month has at least 28 days, so that a window of n steps never holds more than n months.
        step = feed.interval.length or timedelta(days=28)
        return tuple(endpoint.with_interval(name, step) for endpoint in endpoints)
