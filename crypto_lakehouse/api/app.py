"""The application: all endpoints, errors as problem details, and the gate around them. A worker calls ``create``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, cast

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from crypto_lakehouse.api.access import Gate, too_large
from crypto_lakehouse.api.answers import Service
from crypto_lakehouse.api.call import CALL, gather_warnings
from crypto_lakehouse.api.config import ServeConfig
from crypto_lakehouse.api.describing import PROBLEM_NAME
from crypto_lakehouse.api.exchanges import in_the_words_of_exchanges, register
from crypto_lakehouse.api.logs import ERRORS, configure_logs
from crypto_lakehouse.api.page.entry import Entry
from crypto_lakehouse.api.page.routes import page_routes
from crypto_lakehouse.api.problems import Problem, problem_schema
from crypto_lakehouse.api.routes.bars import bars_routes
from crypto_lakehouse.api.routes.contents import contents_routes
from crypto_lakehouse.api.routes.queries import sql_routes
from crypto_lakehouse.api.routes.rows import rows_routes
from crypto_lakehouse.api.routes.state import state_routes
from crypto_lakehouse.catalog.near import did_you_mean, near

_DESCRIPTION = (
    "Read a lake of market history over HTTP. Times are in UTC. The header Accept, or the argument format, chooses"
    " JSON, JSON lines, CSV, an Arrow stream or Parquet. Errors are problem details (RFC 9457)."
)
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-MBX-APIKEY"},
}
_NO_TELEMETRY: Any = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)
_MOST_SQL_SECONDS, _SQL_MEMORY = 60.0, "1GB"


def create() -> ASGIApp:
    """The application of a worker process, by the configuration in its environment."""
    configure_logs()
    config = ServeConfig.from_environment()
    # Limits for users of a server are narrower than for one's own queries, unless the operator sets others.
    os.environ.setdefault("LAKEHOUSE_SQL_TIMEOUT", f"{min(_MOST_SQL_SECONDS, config.timeout):g}")
    os.environ.setdefault("LAKEHOUSE_SQL_MEMORY", _SQL_MEMORY)
    gather_warnings()
    return Entry(in_the_words_of_exchanges(Gate(endpoints(config), config), config))


def endpoints(config: ServeConfig) -> FastAPI:
    """The endpoints, without the gate."""
    service = Service(config)
    # The pages of FastAPI load scripts from other hosts.
    app = FastAPI(
        title="Crypto lakehouse",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        # It would pass the arguments of requests to whatever collects them in the process.
        telemetry=_NO_TELEMETRY,
    )
    for routes in (contents_routes, rows_routes, bars_routes, sql_routes, state_routes, page_routes):
        app.include_router(routes(service))
    register(app, service)
    app.exception_handlers[Problem] = _problem
    app.exception_handlers[RequestValidationError] = _wrong_arguments
    app.exception_handlers[StarletteHTTPException] = _http_error
    app.exception_handlers[HTTPException] = _http_error
    app.exception_handlers[Exception] = _failure
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, openapi_version="3.1.0", description=_DESCRIPTION, routes=app.routes
        )
        schema["components"]["securitySchemes"] = _SCHEMES
        schema["components"]["schemas"][PROBLEM_NAME] = problem_schema()
        schema["security"] = [{}, *({name: []} for name in _SCHEMES)]
        for path in schema["paths"].values():
            for operation in path.values():
                # Wrong arguments are problems with status 400.
                operation["responses"].pop("422", None)
        app.openapi_schema = schema
    return app.openapi_schema


async def _problem(_: Request, error: Exception) -> Response:
    problem = cast(Problem, error)
    call = CALL.get()
    call.outcome = problem.kind
    if problem.status >= 500:
        cause = problem.__cause__
        ERRORS.error("%s", cause or problem.detail, extra={"facts": {"request": call.id, "kind": problem.kind}})
    return problem.response(call.id)


async def _wrong_arguments(request: Request, error: Exception) -> Response:
    faults = [_fault(request, fault) for fault in cast(RequestValidationError, error).errors()]
    return await _problem(request, Problem("wrong-argument", "; ".join(faults)))


def _fault(request: Request, fault: Mapping[str, Any]) -> str:
    name = ".".join(map(str, fault["loc"][1:])) or str(fault["loc"][0])
    if fault["type"] == "missing":
        return f"{name} is missing"
    if fault["type"] == "extra_forbidden":
        known = _known(request)
        close = near(name, known)
        hint = did_you_mean(close) if close else f"there are {', '.join(known)}"
        return f"there is no argument {name}; {hint}"
    return f"{name}: {fault['msg']}"


def _known(request: Request) -> list[str]:
    operation = _described(request.app)["paths"].get(request.scope["route"].path, {}).get(request.method.lower(), {})
    return [parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "query"]


async def _http_error(request: Request, error: Exception) -> Response:
    http = cast(StarletteHTTPException, error)
    if CALL.get().outcome == "too-large":
        return await _problem(request, too_large())
    kinds = {404: "no-endpoint", 405: "wrong-method"}
    detail = "the method is not one of this endpoint" if http.status_code == 405 else "the path is not one of the API"
    kind = kinds.get(http.status_code, "wrong-argument")
    detail = detail if http.status_code in kinds else "the body is not JSON"
    return await _problem(request, Problem(kind, detail, http.headers))


async def _failure(_: Request, __: Exception) -> Response:
    """The answer to an error that nothing expects. The gate logs it."""
    call = CALL.get()
    call.outcome = "internal"
    return Problem("internal", f"the request {call.id} failed").response(call.id)
