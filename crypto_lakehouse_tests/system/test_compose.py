"""Every process of compose.yaml, started here with its own command and variables: together they build partitions."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse_tests.system.compose_file import (
    ROOT,
    Machine,
    missing_programs,
    read_services,
    read_variables,
)
from crypto_lakehouse_tests.system.postgres_server import PASSWORD, postgres_binaries, postgres_server
from crypto_lakehouse_tests.system.runs import WatchedServer
from crypto_lakehouse_tests.system.s3_server import free_ports
from crypto_lakehouse_tests.system.test_home_faults import once

pytestmark = [pytest.mark.slow, pytest.mark.requirement("T13")]

DAYS = ("2024-12-27", "2024-12-28", "2024-12-29")
ADMIN, VIEWER = ("admin", "admin-test-secret"), ("viewer", "viewer-test-secret")
ENDED = ("SUCCESS", "FAILURE", "CANCELED")
LAUNCH = """
mutation ($parameters: ExecutionParams!) {
  launchRun(executionParams: $parameters) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
SELECTOR = {
    "repositoryLocationName": "crypto_lakehouse.definitions",
    "repositoryName": "__repository__",
    "jobName": "update_binance_um_daily",
}
RUN = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { runId status } } }"
REPEATS = """
query ($id: String!) {
  runsOrError(filter: { tags: [{ key: "dagster/parent_run_id", value: $id }] }) { ... on Runs { results { runId } } }
}
"""


def _hash(password: str) -> str:
    caddy = Path(sys.executable).parent / "caddy"
    command = [str(caddy), "hash-password", "--plaintext", password]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _basic(user: tuple[str, str]) -> str:
    return f"Basic {base64.b64encode(':'.join(user).encode()).decode()}"


@dataclass
class Client:
    """A browser at an address of the proxy, which knows the proxy's own authority."""

    port: int
    authority: Path

    def get(self, path: str, authorization: str = "", body: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/json", **({"Authorization": authorization} if authorization else {})}
        request = urllib.request.Request(f"https://localhost:{self.port}{path}", body, headers)
        context = ssl.create_default_context(cafile=self.authority)
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:
            return answer.read()

    def status(self, user: tuple[str, str] | None) -> int:
        """The HTTP status of the UI's page."""
        try:
            self.get("/", _basic(user) if user else "")
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    def ask(self, user: tuple[str, str], query: str, **variables: Any) -> dict[str, Any]:
        """The data of a query to Dagster."""
        answer = json.loads(
            self.get("/graphql", _basic(user), json.dumps({"query": query, "variables": variables}).encode())
        )
        assert "errors" not in answer, answer
        return answer["data"]


@dataclass
class Deployment:
    """All services of compose.yaml, healthy, with an archive of three days."""

    machine: Machine
    archive: WatchedServer
    token: str

    def client(self, port: str) -> Client:
        """A browser at the address that compose.yaml publishes at this port."""
        authority = self.machine.folder / "data" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        return Client(self.machine.ports[port], authority)

    def launch(self, day: str) -> str:
        """Launch a run for a day as an admin; return its id."""
        tags = [{"key": f"dagster/asset_partition_range_{end}", "value": day} for end in ("start", "end")]
        parameters = {"selector": SELECTOR, "runConfigData": {}, "executionMetadata": {"tags": tags}}
        launched = self.client("8443").ask(ADMIN, LAUNCH, parameters=parameters)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def wait(self, run_id: str) -> dict[str, Any]:
        """Wait until a run has ended; the viewer's server says so."""
        while (run := self.client("8444").ask(VIEWER, RUN, id=run_id)["runOrError"])["status"] not in ENDED:
            time.sleep(0.5)
        return run

    def wait_for_repeat(self, run_id: str) -> dict[str, Any]:
        """Wait until the daemon has repeated a run, and the repeat has ended."""
        while not (repeats := self.client("8444").ask(VIEWER, REPEATS, id=run_id)["runsOrError"]["results"]):
            time.sleep(0.5)
        return self.wait(repeats[0]["runId"])

    def lose_worker(self) -> None:
        """Kill the worker with all of its processes, as a machine that is switched off, and start another one."""
        worker = self.machine.processes["worker"]
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
        self.machine.start("worker")

    def kill_run(self) -> None:
        """Kill the process of the worker that executes the run, as a machine without memory would."""
        worker = self.machine.processes["worker"].pid
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                # The name, in brackets, may hold anything; after it come the state and the parent.
                if int(path.read_text(errors="replace").rpartition(")")[2].split()[1]) == worker:
                    os.kill(int(path.parent.name), signal.SIGKILL)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (Debian package 'postgresql')")
    folder = tmp_path_factory.mktemp("compose")
    example = read_variables((ROOT / ".env.example").read_text(encoding="utf-8"))
    make_sample(folder / "archive", symbols=2, days=len(DAYS), start=date.fromisoformat(DAYS[0]))
    shutil.copytree(ROOT / "deploy" / "dagster", folder / "image")
    (folder / "image" / "tokens").mkdir()
    (folder / "objects").mkdir()
    configuration = folder / "image" / "celery" / "dagster.yaml"
    # The only change: a lost run is noticed within seconds, not within a minute.
    configuration.write_text(configuration.read_text().replace("poll_interval_seconds: 60", "poll_interval_seconds: 2"))
    numbers = ("6379", "8333", "9333", "9340", "8888", "4000", "3000", "3001", "8000", "8443", "8444", "8445", "8081")
    ports = dict(zip(numbers, free_ports(len(numbers)), strict=True))
    others = {
        "/opt/lakehouse": str(folder / "image"),
        "-dir=/data": f"-dir={folder / 'objects'}",
        "/etc/caddy/Caddyfile": str(ROOT / "deploy" / "compose" / "Caddyfile"),
        "0.0.0.0": "127.0.0.1",
    }
    with WatchedServer(folder / "archive") as archive, postgres_server(binaries) as postgres:
        postgres.create("dagster")
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
        machine = Machine(services, folder, {**ports, "5432": postgres.port}, others)
        add = [str(Path(sys.executable).parent / "crypto-lakehouse"), "tokens", "add", "test"]
        environment = machine.environment("api")
        added = subprocess.run(add, env=environment, cwd=folder, check=True, capture_output=True, text=True)
        with machine.running(elsewhere=["postgres"]):
            yield Deployment(machine, archive, added.stdout.strip())


def test_the_pages_need_a_password_and_viewers_only_look(deployment: Deployment) -> None:
    admin, viewer = deployment.client("8443"), deployment.client("8444")
    assert [client.status(None) for client in (admin, viewer)] == [401, 401]
    assert [admin.status(VIEWER), viewer.status(ADMIN), admin.status((ADMIN[0], "wrong"))] == [401] * 3
    assert [admin.status(ADMIN), viewer.status(VIEWER)] == [200, 200]
    parameters = {"selector": SELECTOR, "runConfigData": {}, "executionMetadata": {"tags": []}}
    refused = viewer.ask(VIEWER, LAUNCH, parameters=parameters)["launchRun"]
    assert refused["__typename"] == "UnauthorizedError"


def test_a_partition_is_built_by_a_worker_and_read_with_a_token(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = deployment.machine
    # The daemon takes it from the queue.
    run_id = deployment.launch(DAYS[0])
    assert deployment.wait(run_id)["status"] == "SUCCESS", machine.log("worker")

    bars = f"/v1/tables/gold.bars_1d/rows?market=um&start={DAYS[0]}&end={DAYS[1]}"
    programs = deployment.client("8445")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        programs.get(bars)
    answer = json.loads(programs.get(bars, authorization=f"Bearer {deployment.token}"))
    assert {row["symbol"] for row in answer["rows"]} == {"BTCUSDT", "ETHUSDT"}

    environment = machine.environment("worker")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, environment[name])
    store = LakeStore.open(environment["LAKEHOUSE_LAKE_URI"], environment["LAKEHOUSE_S3_ENDPOINT_URL"])
    assert [file.path for file in store.list("_logs") if run_id in file.path]


def test_a_run_whose_process_is_killed_is_repeated(deployment: Deployment) -> None:
    once(deployment.archive, DAYS[1], deployment.kill_run)
    run_id = deployment.launch(DAYS[1])
    assert deployment.wait(run_id)["status"] == "FAILURE"
    assert deployment.wait_for_repeat(run_id)["status"] == "SUCCESS", deployment.machine.log("worker")


def test_a_run_whose_worker_is_lost_is_repeated_by_another(deployment: Deployment) -> None:
    once(deployment.archive, DAYS[2], deployment.lose_worker)
    run_id = deployment.launch(DAYS[2])
    assert deployment.wait(run_id)["status"] == "FAILURE"
    assert deployment.wait_for_repeat(run_id)["status"] == "SUCCESS", deployment.machine.log("worker")


def test_no_process_prints_a_secret(deployment: Deployment) -> None:
    secrets = (PASSWORD, "redis-test-secret", "lake-test-secret", ADMIN[1], VIEWER[1], deployment.token)
    for name in deployment.machine.processes:
        text = (deployment.machine.folder / f"{name}.log").read_text(errors="replace")
        assert not [secret for secret in secrets if secret in text], name
