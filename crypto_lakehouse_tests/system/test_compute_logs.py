"""What steps print, on a real S3 server: one process stores it, another reads it, as worker and web server do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse_tests.system.test_cli import REPOSITORY, environment

pytestmark = pytest.mark.requirement("T13")

PRINT = """
import dagster as dg

with dg.DagsterInstance.get() as instance:
    with instance.compute_log_manager.capture_logs(["run", "compute_logs", "step"]):
        print("printed by a step")
"""
READ = """
import dagster as dg

with dg.DagsterInstance.get() as instance:
    print(instance.compute_log_manager.get_log_data(["run", "compute_logs", "step"]).stdout.decode(), end="")
"""


def _python(code: str, home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    home.mkdir(exist_ok=True)
    shutil.copy(REPOSITORY / "dagster.yaml", home)
    variables = environment(DAGSTER_HOME=str(home), LAKEHOUSE_ENV="prod", **settings)
    return subprocess.run([sys.executable, "-c", code], cwd=home, env=variables, capture_output=True, text=True)


def test_another_process_reads_what_a_step_has_printed(
    tmp_path: Path, s3_lake: tuple[str, str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, endpoint, credentials = s3_lake
    # A name of a host, not an address: clients would search for a host named after the bucket.
    named = endpoint.replace("127.0.0.1", "localhost")
    settings = {"LAKEHOUSE_LAKE_URI": f"{base}/logged", "LAKEHOUSE_S3_ENDPOINT_URL": named, **credentials}
    printed = _python(PRINT, tmp_path / "worker", **settings)
    assert printed.returncode == 0, printed.stderr
    read = _python(READ, tmp_path / "server", **settings)
    assert read.returncode == 0, read.stderr
    assert read.stdout == "printed by a step\n"
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    paths = {entry.path for entry in LakeStore.open(f"{base}/logged", named).list("_logs")}
    assert "_logs/storage/run/compute_logs/step.out" in paths


def test_without_credentials_one_sentence_says_so(tmp_path: Path) -> None:
    settings = {"LAKEHOUSE_LAKE_URI": "s3://bucket/lake", "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    done = _python(PRINT, tmp_path / "home", **settings)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "logs of runs cannot be stored in s3://bucket/lake/_logs: no S3 credentials" in last
