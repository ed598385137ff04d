"""What the lake holds: tables, columns, symbols, coverage, the universe of a day, and faults."""

from __future__ import annotations

from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from crypto_lakehouse.api.answers import Service
from crypto_lakehouse.api.describing import with_rows
from crypto_lakehouse.api.parameters import Arguments, Coverage, Quality, Symbols, Universe
from crypto_lakehouse.api.scopes import allowed_markets, require_table, visible
from crypto_lakehouse.lake.reader.status import TableStatus, lake_status

TablePath = Annotated[str, Path(max_length=128, description="layer.table", examples=["gold.bars_1h"])]
_SUMMARY = ("layer", "table", "exchange", "market", "first", "last", "partitions", "bytes")
_COLUMNS = {"layer": "gold", "table": "bars_1h", "exchange": "binance", "market": "um"}
_SPAN = {"first": "2024-12-27", "last": "2025-01-05"}


def contents_routes(service: Service) -> APIRouter:
    """The endpoints that list what the lake holds."""
    router, lake = APIRouter(tags=["contents"]), service.lake

    @router.get("/v1/tables", responses=with_rows({**_COLUMNS, "partitions": 10, **_SPAN, "bytes": 48231}))
    async def tables(request: Request, query: Annotated[Arguments, Query()]) -> Response:
        """The tables of the lake in each market: number of partitions, first and last of them, bytes."""
        return await service.compute(lambda: service.frame(request, query.format, visible(lake.tables())))

    @router.get(
        "/v1/tables/{table}",
        responses=with_rows(
            {
                "column": "close",
                "type": "double",
                "unit": "quote",
                "key": False,
                "nullable": False,
                "doc": "Last.",
            }
        ),
    )
    async def describe(request: Request, table: TablePath, query: Annotated[Arguments, Query()]) -> Response:
        """The columns of a table: type, unit, whether they are in the primary key, meaning."""

        def work() -> Response:
            require_table(table)
            return service.frame(request, query.format, lake.describe(table))

        return await service.compute(work)

    @router.get("/v1/symbols", responses=with_rows({"symbol": "BTCUSDT"}))
    async def symbols(request: Request, query: Annotated[Symbols, Query()]) -> Response:
        """The symbols of a market that the lake holds: with traded minutes or, with ``table``, with rows in it."""

        def work() -> Response:
            allowed_markets(query.table or "gold.symbol_states", query.exchange, [query.market])
            listed = lake.symbols(
                query.market, table=query.table, exchange=query.exchange, **query.range, **query.versions
            )
            return service.frame(request, query.format, pl.DataFrame({"symbol": listed}, schema={"symbol": pl.String}))

        return await service.compute(work)

    @router.get(
        "/v1/coverage/{symbol}",
        responses=with_rows(
            {"layer": "gold", "table": "bars_1h", "market": "um", **_SPAN, "partitions": 10, "missing": 0, "rows": 240}
        ),
    )
    async def coverage(
        request: Request,
        symbol: Annotated[str, Path(max_length=128, examples=["BTCUSDT"])],
        query: Annotated[Coverage, Query()],
    ) -> Response:
        """What each table holds of a symbol. It reads a column of every partition, so it takes seconds."""

        def work() -> Response:
            rows = lake.coverage(symbol, market=query.market, exchange=query.exchange, as_of=query.as_of)
            return service.frame(request, query.format, visible(rows, query.exchange))

        return await service.compute_alone(work)

    @router.get("/v1/universe", responses=with_rows({"symbol": "BTCUSDT", "contract_type": "perpetual"}))
    async def universe(request: Request, query: Annotated[Universe, Query()]) -> Response:
        """The instruments that were listed on a day (``on``) or on each day of a range, also those delisted since."""

        def work() -> Response:
            allowed_markets("gold.instruments", query.exchange, [query.market])
            rows = lake.universe(
                query.market,
                on=query.on,
                quote=query.quote,
                contract_type=query.contract_type,
                stable_pairs=query.stable_pairs,
                leveraged=query.leveraged,
                settled=query.settled,
                exchange=query.exchange,
                format="polars",
                **query.range,
                **query.versions,
            )
            return service.frame(request, query.format, rows)

        return await service.compute(work)

    @router.get(
        "/v1/quality", responses=with_rows({**_COLUMNS, **_SPAN, "partitions": 10, "holes": 0, "quarantined": 0})
    )
    async def quality(request: Request, query: Annotated[Arguments, Query()]) -> Response:
        """Completeness of each table and market: holes between the first and last partition, and refused files."""

        def work() -> Response:
            rows = visible(_summary(lake_status(service.store)))
            return service.frame(request, query.format, rows)

        return await service.compute(work)

    @router.get(
        "/v1/quality/{table}",
        responses=with_rows({**_COLUMNS, "fault": "hole", "partition": "2025-01-03", "detail": None}),
    )
    async def faults(request: Request, table: TablePath, query: Annotated[Quality, Query()]) -> Response:
        """The faults of a table: partitions that are missing, and files of the archive that failed or were refused."""

        def work() -> Response:
            markets = allowed_markets(table, query.exchange, query.market)
            chosen = None if markets is None else [(query.exchange, market) for market in markets]
            rows = _faults(lake_status(service.store, table, chosen), query.exchange)
            return service.frame(request, query.format, visible(rows))

        return await service.compute(work)

    return router


def _summary(statuses: list[TableStatus]) -> pl.DataFrame:
    rows = [
        {
            **{name: getattr(status, name) for name in _SUMMARY},
            **{name: len(getattr(status, name)) for name in ("holes", "failed", "quarantined")},
        }
        for status in statuses
    ]
    texts, numbers = _SUMMARY[:6], ("partitions", "bytes", "holes", "failed", "quarantined")
    return pl.DataFrame(rows, schema={**dict.fromkeys(texts, pl.String), **dict.fromkeys(numbers, pl.Int64)})


def _faults(statuses: list[TableStatus], exchange: str) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for status in statuses:
        place = {name: getattr(status, name) for name in _SUMMARY[:4]}
        for fault, entries in (("hole", status.holes), ("failed", status.failed), ("quarantined", status.quarantined)):
            for entry in entries:
                partition, _, detail = entry.partition(" ")
                rows.append({**place, "fault": fault, "partition": partition, "detail": detail or None})
    names = (*_SUMMARY[:4], "fault", "partition", "detail")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))
    return frame.filter(pl.col("exchange") == exchange)
