"""A real PostgreSQL server (Debian's package) that a test can stop and start."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2  # type: ignore[import-untyped]

PASSWORD = "runs-test-secret"


def postgres_binaries() -> Path | None:
    """The folder of ``initdb`` and ``pg_ctl``, None if PostgreSQL is not installed."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return programs[-1].parent if programs else None


@dataclass
class PostgresServer:
    """A server with a superuser ``dagster``, in a folder of its own."""

    folder: Path
    port: int
    binaries: Path
    # The server refuses to run as root.
    as_user: list[str] = field(default_factory=list)

    def settings(self, database: str = "postgres", password: str = PASSWORD) -> dict[str, str]:
        """The variables that name the server to Dagster."""
        values = {"HOST": "127.0.0.1", "PORT": str(self.port), "USER": "dagster", "PASSWORD": password, "DB": database}
        return {f"DAGSTER_POSTGRES_{name}": value for name, value in values.items()}

    def statuses(self) -> dict[str, str]:
        """The status of every run that Dagster has recorded, by its id."""
        return dict(self.rows("SELECT run_id, status FROM runs"))

    def create(self, database: str) -> str:
        """Create an empty database; return its URL."""
        self.rows(f"CREATE DATABASE {database}")
        return f"postgresql+psycopg2://dagster:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def rows(self, statement: str, database: str = "postgres") -> list[Any]:
        """The rows of a statement, empty if it has none."""
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user="dagster", password=PASSWORD, dbname=database
        )
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -F"
        self._control("-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self._control("-m", mode, "stop")

    def _control(self, *arguments: str) -> None:
        control = [*self.as_user, str(self.binaries / "pg_ctl"), "-D", str(self.folder / "data"), "-w"]
        # A pipe would stay open in the server.
        subprocess.run(
            [*control, *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
        )


@contextmanager
def postgres_server(binaries: Path) -> Iterator[PostgresServer]:
    """A running server in a folder that its user may enter; pytest's folders do not allow that."""
    with (
        tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder,
        _running(Path(folder), binaries) as server,
    ):
        yield server


@contextmanager
def _running(folder: Path, binaries: Path) -> Iterator[PostgresServer]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server = PostgresServer(folder, probe.getsockname()[1], binaries)
    if os.geteuid() == 0:
        server.as_user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    init = [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", "dagster", "-A", "scram-sha-256", "--no-sync"]
    subprocess.run([*server.as_user, *init, f"--pwfile={secret}"], check=True, capture_output=True, cwd=folder)
    server.start()
    try:
        yield server
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            server.stop("immediate")
