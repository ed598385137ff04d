"""The state of the server: health, version and metrics."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from crypto_lakehouse.api import metrics
from crypto_lakehouse.api.answers import Service
from crypto_lakehouse.api.describing import problems
from crypto_lakehouse.catalog.commands import PROGRAM
from crypto_lakehouse.lake.storage.describe import require_lake


class Health(BaseModel):
    """The answer of a server that can read its lake."""

    status: str


class Version(BaseModel):
    """The program and the version of the API."""

    program: str
    version: str
    api: str


def state_routes(service: Service) -> APIRouter:
    """The endpoints about the server itself."""
    router = APIRouter(tags=["server"])

    @router.get("/v1/health", responses=problems(404, 429, 503))
    async def health() -> Health:
        """Whether the server can list its lake. It needs no token."""
        await service.compute(lambda: require_lake(service.store))
        return Health(status="ok")

    @router.get("/v1/version", responses=problems(401, 403, 429, 503))
    async def version_of_program() -> Version:
        """The version of the program and of the API."""
        return Version(program=PROGRAM, version=version(PROGRAM), api="v1")

    @router.get("/metrics", responses=problems(401, 403, 429, 503), response_class=Response)
    async def metrics_of_workers() -> Response:
        """Metrics for Prometheus."""
        return Response(metrics.exposition(), media_type=metrics.MEDIA_TYPE)

    return router
