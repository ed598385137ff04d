"""Every process of compose.yaml, started here with its own command and variables, builds a partition together."""

from __future__ import annotations

import base64
import json
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.compose_file import (
    ROOT,
    Machine,
    missing_programs,
    read_services,
    read_variables,
)
from crypto_lakehouse_tests.system.postgres_server import PASSWORD, PostgresServer
from crypto_lakehouse_tests.system.s3_server import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.requirement("T13")]

DAY = "2024-12-27"
ADMIN, VIEWER = ("admin", "admin-test-secret"), ("viewer", "viewer-test-secret")
LAUNCH = """
mutation ($parameters: ExecutionParams!) {
  launchRun(executionParams: $parameters) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
PARAMETERS = {
    "selector": {
        "repositoryLocationName": "crypto_lakehouse.definitions",
        "repositoryName": "__repository__",
        "jobName": "update_binance_um_daily",
    },
    "runConfigData": {},
    "executionMetadata": {
        "tags": [
            {"key": "dagster/asset_partition_range_start", "value": DAY},
            {"key": "dagster/asset_partition_range_end", "value": DAY},
        ]
    },
}
STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


def _hash(password: str) -> str:
    caddy = Path(sys.executable).parent / "caddy"
    command = [str(caddy), "hash-password", "--plaintext", password]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@dataclass
class Client:
    """A browser at an address of the proxy, which knows the proxy's own authority."""

    port: int
    authority: Path

    def get(self, path: str, user: tuple[str, str] | None, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"https://localhost:{self.port}{path}", body)
        request.add_header("Content-Type", "application/json")
        if user:
            request.add_header("Authorization", f"Basic {base64.b64encode(':'.join(user).encode()).decode()}")
        with urllib.request.urlopen(
            request, timeout=60, context=ssl.create_default_context(cafile=self.authority)
        ) as answer:
            return answer.read()

    def status(self, user: tuple[str, str] | None) -> int:
        """The HTTP status of the UI's page."""
        try:
            self.get("/", user)
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    def ask(self, user: tuple[str, str], query: str, **variables: Any) -> dict[str, Any]:
        """The data of a query to Dagster."""
        answer = json.loads(self.get("/graphql", user, json.dumps({"query": query, "variables": variables}).encode()))
        assert "errors" not in answer, answer
        return answer["data"]


@pytest.fixture
def machine(tmp_path: Path, postgres: PostgresServer) -> Iterator[Machine]:
    """All services of compose.yaml, healthy; the archive is a sample."""
    example = read_variables((ROOT / ".env.example").read_text(encoding="utf-8"))
    make_sample(tmp_path / "archive", symbols=2, days=1, start=date.fromisoformat(DAY))
    postgres.create("dagster")
    shutil.copytree(ROOT / "deploy" / "dagster", tmp_path / "image")
    (tmp_path / "objects").mkdir()
    numbers = ("6379", "8333", "9333", "9340", "8888", "4000", "3000", "3001", "8443", "8444", "8081")
    ports = dict(zip(numbers, free_ports(len(numbers)), strict=True))
    others = {
        "/opt/lakehouse": str(tmp_path / "image"),
        "-dir=/data": f"-dir={tmp_path / 'objects'}",
        "/etc/caddy/Caddyfile": str(ROOT / "deploy" / "compose" / "Caddyfile"),
        "0.0.0.0": "127.0.0.1",
    }
    with ArchiveServer(tmp_path / "archive") as archive:
        variables = {
            **example,
            "DAGSTER_POSTGRES_PASSWORD": PASSWORD,
            "REDIS_PASSWORD": "redis-test-secret",
            "AWS_SECRET_ACCESS_KEY": "lake-test-secret",
            "LAKEHOUSE_ARCHIVE_URL": archive.url,
            "LAKEHOUSE_ARCHIVE_LISTING_URL": archive.listing_url,
            "WORKER_PROCESSES": "1",
        }
        if missing := missing_programs(read_services({**variables, "PROXY_ADMIN_HASH": "-", "PROXY_VIEWER_HASH": "-"})):
            pytest.skip(f"not installed: {', '.join(missing)}")
        hashes = {"PROXY_ADMIN_HASH": _hash(ADMIN[1]), "PROXY_VIEWER_HASH": _hash(VIEWER[1])}
        services = read_services({**variables, **hashes})
        machine = Machine(services, tmp_path, {**ports, "5432": postgres.port}, others)
        with machine.running(elsewhere=["postgres"]):
            yield machine


def test_a_partition_is_built_and_the_pages_need_a_password(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = machine.folder / "data" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    admin, viewer = (Client(machine.ports[port], authority) for port in ("8443", "8444"))

    assert [client.status(None) for client in (admin, viewer)] == [401, 401]
    assert admin.status(VIEWER) == viewer.status(ADMIN) == admin.status((ADMIN[0], "wrong")) == 401
    assert admin.status(ADMIN) == viewer.status(VIEWER) == 200

    refused = viewer.ask(VIEWER, LAUNCH, parameters=PARAMETERS)["launchRun"]
    assert refused["__typename"] == "UnauthorizedError"

    launched = admin.ask(ADMIN, LAUNCH, parameters=PARAMETERS)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id = launched["run"]["runId"]
    # The viewer sees the run that the daemon takes from the queue and a worker executes.
    while (status := viewer.ask(VIEWER, STATUS, id=run_id)["runOrError"]["status"]) not in ("SUCCESS", "FAILURE"):
        time.sleep(0.5)
    assert status == "SUCCESS", machine.log("worker")

    for name, value in machine.environment("worker").items():
        if name.startswith(("LAKEHOUSE_", "AWS_")):
            monkeypatch.setenv(name, value)
    lake = Lakehouse(machine.environment("worker")["LAKEHOUSE_LAKE_URI"])
    assert lake.scan("gold.bars_1d", market="um").collect().height == 2
    store = LakeStore.open(lake.uri, machine.environment("worker")["LAKEHOUSE_S3_ENDPOINT_URL"])
    assert [file.path for file in store.list("_logs") if run_id in file.path]
    for name in machine.processes:
        text = (machine.folder / f"{name}.log").read_text(errors="replace")
        for secret in (PASSWORD, "redis-test-secret", "lake-test-secret", ADMIN[1], VIEWER[1]):
            assert secret not in text, name
