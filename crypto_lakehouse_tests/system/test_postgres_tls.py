"""A connection to PostgreSQL that is to be verified is refused if the certificate is another authority's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crypto_lakehouse_tests.system.postgres_server import PostgresServer
from crypto_lakehouse_tests.system.test_cli import REPOSITORY, environment

pytestmark = pytest.mark.requirement("T13")

OPEN = """
import dagster as dg

with dg.DagsterInstance.get() as instance:
    print(len(instance.get_runs()))
"""


def _certificate(folder: Path, name: str) -> None:
    """A key and a certificate of its own authority, for this machine."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)


def _open(home: Path, server: PostgresServer, **variables: str) -> subprocess.CompletedProcess[str]:
    home.mkdir(exist_ok=True)
    shutil.copy(REPOSITORY / "dagster.yaml", home)
    settings = environment(DAGSTER_HOME=str(home), **server.settings(), PGSSLMODE="verify-full", **variables)
    return subprocess.run([sys.executable, "-c", OPEN], cwd=home, env=settings, capture_output=True, text=True)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_only_the_certificate_of_the_named_authority_is_accepted(tmp_path: Path, postgres: PostgresServer) -> None:
    home, own, other = tmp_path / "home", tmp_path / "own.crt", tmp_path / "other.crt"
    _certificate(tmp_path, "own")
    _certificate(tmp_path, "other")

    plain = _open(home, postgres, PGSSLROOTCERT=str(own))
    assert plain.returncode == 1
    assert "does not support SSL" in plain.stderr

    data = postgres.folder / "data"
    for ending in ("crt", "key"):
        shutil.copy(tmp_path / f"own.{ending}", data / f"server.{ending}")
        if postgres.as_user:
            shutil.chown(data / f"server.{ending}", "postgres")
        (data / f"server.{ending}").chmod(0o600)
    with (data / "postgresql.conf").open("a") as configuration:
        configuration.write("\nssl = on\n")
    postgres.stop()
    postgres.start()

    refused = _open(home, postgres, PGSSLROOTCERT=str(other))
    assert refused.returncode == 1
    assert "certificate verify failed" in refused.stderr
    accepted = _open(home, postgres, PGSSLROOTCERT=str(own))
    assert accepted.returncode == 0, accepted.stderr
    assert accepted.stdout == "0\n"
