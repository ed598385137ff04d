"""Looking up the REST API of an exchange, and the endpoints that answer the rows of a feed.

The classes are in ``rest_model.py``, the entries in the modules of the exchanges, which ``exchanges.py`` registers.
"""

from __future__ import annotations

from crypto_lakehouse.catalog.exchanges import REST_APIS
from crypto_lakehouse.catalog.model import Feed
from crypto_lakehouse.catalog.near import unknown_name
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


def rest_api(exchange: str) -> RestApi:
    """The REST API of an exchange. Raises KeyError, which names the exchanges that have one."""
    try:
        return REST_APIS[exchange]
    except KeyError:
        raise KeyError(unknown_name("REST API of exchange", exchange, REST_APIS)) from None


def rest_endpoints_of(feed: Feed) -> tuple[RestEndpoint, ...]:
    """The endpoints that answer the rows of a feed, the one with all primary keys first; empty if there are none.

    >>> from crypto_lakehouse.catalog import feed
    >>> [endpoint.path for endpoint in rest_endpoints_of(feed("binance", "um", "open_interest"))][:2]
    ['/futures/data/openInterestHist', '/futures/data/topLongShortAccountRatio']
    """
    api = REST_APIS.get(feed.exchange)
    return () if api is None else api.endpoints_of(feed)


def rest_endpoint_of(feed: Feed) -> RestEndpoint | None:
    """The first of ``rest_endpoints_of``; None if the exchange answers no rows of the feed.

    >>> from crypto_lakehouse.catalog import feed
    >>> endpoint = rest_endpoint_of(feed("binance", "um", "klines_1m"))
    >>> endpoint.path, endpoint.parameters, endpoint.best_limit
    ('/fapi/v1/klines', (('interval', '1m'),), 499)
    >>> rest_endpoint_of(feed("binance", "um", "book_depth")) is None
    True
    """
    return next(iter(rest_endpoints_of(feed)), None)


__all__ = [
    "Overflow",
    "Paging",
    "RestApi",
    "RestCost",
    "RestEndpoint",
    "RestPool",
    "RestTime",
    "RowShape",
    "rest_api",
    "rest_endpoint_of",
    "rest_endpoints_of",
]
