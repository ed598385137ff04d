"""Bars of any kind and matrices of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from crypto_lakehouse.api.answers import Service
from crypto_lakehouse.api.cursor import request_digest
from crypto_lakehouse.api.describing import with_rows
from crypto_lakehouse.api.parameters import Bars, Panel, note
from crypto_lakehouse.api.scopes import allowed_markets
from crypto_lakehouse.api.states import file_states
from crypto_lakehouse.lake.storage.describe import existing_tables

MINUTES = "gold.continuous_1m"
"""The table from which bars are computed; a token that reads bars must be allowed to read it."""

_BAR = {"symbol": "BTCUSDT", "open_time": "2024-12-31T00:00:00.000000Z", "close": 96643.4}


def bars_routes(service: Service) -> APIRouter:
    """The endpoints that return bars."""
    router, lake = APIRouter(tags=["bars"]), service.lake

    @router.get("/v1/bars", responses=with_rows(_BAR))
    async def bars(request: Request, query: Annotated[Bars, Query()]) -> Response:
        """Bars of an interval and offset, or of an activity, sorted by primary key: stored ones, or computed now."""

        def work() -> Response:
            state = _prepare(service, query)
            if (unchanged := service.unchanged(request, query.format, state.digest)) is not None:
                return unchanged
            rows = lake.bars(
                query.symbols,
                query.bars,
                exchange=query.exchange,
                market=query.market,
                offset=query.offset,
                limit=query.limit,
                format="arrow",
                **query.range,
                **query.versions,
            )
            return service.frame(request, query.format, rows, state.cache, state.digest)

        return await service.compute_alone(work)

    @router.get("/v1/panel", responses=with_rows({"open_time": "2024-12-31T00:00:00.000000Z", "BTCUSDT": 96837.1}))
    async def panel(request: Request, query: Annotated[Panel, Query()]) -> Response:
        """One column of bars as a matrix: a row for each window, a column for each symbol."""

        def work() -> Response:
            state = _prepare(service, query)
            if (unchanged := service.unchanged(request, query.format, state.digest)) is not None:
                return unchanged
            matrix = lake.panel(
                query.field,
                query.symbols,
                query.interval,
                exchange=query.exchange,
                market=query.market,
                offset=query.offset,
                fill=cast(Any, query.fill),
                format="polars",
                **query.range,
                **query.versions,
            )
            return service.frame(request, query.format, matrix, state.cache, state.digest)

        return await service.compute_alone(work)

    return router


@dataclass(frozen=True, slots=True)
class _State:
    """A digest of the files that bars depend on and of the arguments, and how long the answer holds."""

    digest: str
    cache: str


def _prepare(service: Service, query: Bars | Panel) -> _State:
    """Check the scope, note what is asked for, and look at the files."""
    allowed_markets(MINUTES, query.exchange, [query.market])
    start, end = query.bounds
    minutes = file_states(service.store, [("gold", "continuous_1m")], query.exchange, [query.market], start, end)
    stored = [("gold", table) for table in existing_tables(service.store, "gold") if table.startswith("bars_")]
    # The minutes before the range count, too: a long bar starts before it.
    every = file_states(service.store, [("gold", "continuous_1m"), *stored], query.exchange, [query.market])
    note(MINUTES, query, [query.market])
    return _State(request_digest(every.digest, type(query).__name__, query), minutes.cache_control)
