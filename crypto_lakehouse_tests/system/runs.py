"""Helpers of the ingest tests: an archive server that can misbehave, runs of update jobs, digests of a lake.

Nothing here asserts. ``python -m crypto_lakehouse_tests.system.runs`` runs one job, so that a test can
kill it or limit it; settings come from the environment as always.
"""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from aiohttp import web

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.definitions import build_defs
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse.settings import Settings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


class WatchedServer(ArchiveServer):
    """An archive server that counts its requests for files and listings, and asks ``fault`` for an answer first."""

    def __init__(self, directory: Path, fault: Fault | None = None) -> None:
        super().__init__(directory)
        self.fault = fault
        self.requests: list[str] = []
        self.listings: list[str] = []

    def _app(self) -> web.Application:
        app = super()._app()
        app.middlewares.append(self._middleware())
        return app

    def zips(self) -> list[str]:
        """Paths of the zips that were asked for, in order."""
        return [path for path in self.requests if path.endswith(".zip")]

    def _middleware(self) -> Any:
        @web.middleware
        async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith("/data/"):
                self.requests.append(request.path)
                answer = await self.fault(request) if self.fault else None
                if answer is not None:
                    return answer
            else:
                self.listings.append(request.query_string)
            return await handler(request)

        return watch


def settings(server: ArchiveServer, lake: Path | str, **more: Any) -> Settings:
    """Settings for a lake that is filled from the server."""
    return Settings.load(
        env="test", lake_uri=str(lake), archive_url=server.url, archive_listing_url=server.listing_url, **more
    )


def variables(server: ArchiveServer, lake: Path | str) -> dict[str, str]:
    """The environment of a child process with the same settings."""
    return {
        **os.environ,
        "LAKEHOUSE_ENV": "test",
        "LAKEHOUSE_LAKE_URI": str(lake),
        "LAKEHOUSE_ARCHIVE_URL": server.url,
        "LAKEHOUSE_ARCHIVE_LISTING_URL": server.listing_url,
    }


def run(
    environment: Settings, market: str, first: str, last: str, symbols: str = "", cadence: str = "daily"
) -> dg.ExecuteInProcessResult:
    """Run the update job of a market for the partitions from ``first`` to ``last``; failures do not raise."""
    defs = build_defs(environment)
    config: dict[str, Any] = {}
    if symbols:
        table = "klines_1m" if cadence == "daily" else "funding_rates"
        config = {"ops": {f"bronze__binance__{market}__{table}": {"config": {"symbols": symbols}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        return defs.resolve_job_def(f"update_binance_{market}_{cadence}").execute_in_process(
            run_config=config,
            instance=instance,
            tags={RANGE_START_TAG: first, RANGE_END_TAG: last},
            raise_on_error=False,
        )


def failures(result: dg.ExecuteInProcessResult) -> str:
    """Texts of all failed steps."""
    errors = (event.step_failure_data.error for event in result.all_events if event.is_step_failure)
    return "\n".join(error.to_string() for error in errors if error is not None)


def read(lake: Lakehouse, table: str, **where: Any) -> pl.DataFrame:
    """Rows of ``layer.table`` as a polars frame, without warnings about rows that tests expect to be missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        rows = lake.read(table, format="polars", **where)
    assert isinstance(rows, pl.DataFrame)
    return rows


def digests(lake: Path) -> dict[str, str]:
    """Path and sha256 of every partition of bronze, silver and gold in a local lake."""
    return {
        str(path.relative_to(lake)): hashlib.sha256(path.read_bytes()).hexdigest()
        for layer in ("bronze", "silver", "gold")
        for path in sorted((lake / layer).rglob("*.parquet"))
    }


def main(arguments: list[str]) -> int:
    """``market first last [bytes]``: one run; the last limits the size of files, as a full disk does."""
    market, first, last, *limit = arguments
    environment = Settings.load()
    if limit:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit[0]), int(limit[0])))
    result = run(environment, market, first, last)
    print(failures(result))
    return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
