"""SQL: off unless the server was started with it, and only for tokens that may read every table."""

from __future__ import annotations

from typing import Annotated

import duckdb
from fastapi import APIRouter, Request
from fastapi import Query as Argument
from starlette.responses import Response

from crypto_lakehouse.api.answers import Service
from crypto_lakehouse.api.describing import with_rows
from crypto_lakehouse.api.parameters import Arguments, Query
from crypto_lakehouse.api.problems import Problem, without
from crypto_lakehouse.api.scopes import require_all


def sql_routes(service: Service) -> APIRouter:
    """The endpoint of queries."""
    router = APIRouter(tags=["sql"])

    @router.post("/v1/sql", responses=with_rows({"bars": 240}))
    async def sql(request: Request, body: Query, arguments: Annotated[Arguments, Argument()]) -> Response:
        """Run one statement of DuckDB that reads; tables are named ``layer.table``."""
        if not service.config.sql:
            raise Problem("sql-off", "this server runs no SQL")
        require_all()

        def work() -> Response:
            try:
                rows = service.lake.sql(body.query, body.params, as_of=body.as_of, format="arrow")
            except duckdb.Error as error:
                raise Problem("wrong-argument", without(str(error), service.places)) from None
            return service.frame(request, arguments.format, rows, "private, no-store")

        return await service.compute_alone(work)

    return router
