"""All S3 clients of a lake find the same endpoint and credentials by boto3's chain, with a real S3 server."""

from __future__ import annotations

import json
import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import boto3
import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.compaction import compact_month
from crypto_lakehouse.lake.storage.damage import scan_alone
from crypto_lakehouse.lake.storage.integrity import check_files, parquet_files
from crypto_lakehouse.lake.storage.partitions import read_partition, write_partition
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.orchestration.resources import LakeResource
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.system.s3_server import ROLE
from crypto_lakehouse_tests.system.test_cli import COMMAND
from crypto_lakehouse_tests.unit.lake_rows import klines

pytestmark = pytest.mark.requirement("T5")

SLICE = TableSlice("silver", "binance", "um", "klines_1m")
DAY = "2024-01-01"
PATH = SLICE.partition(DAY).path
WRONG = {"aws_access_key_id": "some-other-user", "aws_secret_access_key": "canary-of-the-wrong-user"}
NOWHERE = "http://127.0.0.1:1"


class Aws:
    """AWS files in a temporary home, and an S3 server with the keys that it accepts."""

    def __init__(self, home: Path, server: tuple[str, str, dict[str, str]]) -> None:
        base, self.endpoint, env = server
        self.uri = f"{base}/{home.name}"
        self.right = {name.lower(): value for name, value in env.items()}
        self.folder = home / ".aws"
        self.folder.mkdir()

    def write(self, file: str, sections: dict[str, dict[str, str]]) -> None:
        """Replace ``config`` or ``credentials``."""
        lines = [f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in of.items()) for name, of in sections.items()]
        (self.folder / file).write_text("\n".join(lines))

    def session_keys(self) -> dict[str, str]:
        """New keys with a session token."""
        sts = boto3.client("sts", endpoint_url=self.endpoint, region_name="us-east-1", **self.right)
        got = sts.assume_role(RoleArn=ROLE, RoleSessionName="tests", DurationSeconds=900)["Credentials"]
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
        return {name: got[name] for name in names}

    def process(self, output: Path) -> str:
        """A command that prints the content of the file ``output``."""
        script = self.folder / "keys.sh"
        script.write_text(f'#!/bin/sh\ncat "{output}"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return str(script)


@pytest.fixture
def aws(s3_lake: tuple[str, str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Aws:
    for name in list(os.environ):
        if name.startswith(("AWS_", "LAKEHOUSE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return Aws(tmp_path, s3_lake)


def every_client_works(uri: str, endpoint: str | None = None) -> None:
    """boto3 writes, Arrow lists and reads, Polars scans, DuckDB queries, and other processes verify."""
    rows = klines(["BTCUSDT", "ETHUSDT"], date(2024, 1, 1), 5)
    store, lake = LakeStore.open(uri, endpoint), Lakehouse(uri, s3_endpoint_url=endpoint)
    write_partition(store, SLICE.partition(DAY), rows)
    store.write_bytes_atomic("raw/x", b"x")
    assert [file.path for file in store.list("silver")] == [PATH]
    assert read_partition(store, SLICE.partition(DAY)).equals(rows)
    assert lake.scan("silver.klines_1m", market="um").collect().height == rows.height
    assert lake.read("silver.klines_1m", market="um", symbols="BTCUSDT", format="polars").height == 5
    assert lake.sql("SELECT count(*) AS n FROM silver.klines_1m", format="polars")["n"].item() == rows.height
    assert [file.damage for file in check_files(store, parquet_files(store))] == [None]
    compact_month(store, SLICE, "2024-01")
    assert len(store.list("compacted")) == 1
    store.delete(store.list("compacted")[0].path)
    assert store.now() > datetime(2024, 1, 1, tzinfo=UTC)


def every_client_is_refused(uri: str, endpoint: str | None = None) -> None:
    store, lake = LakeStore.open(uri, endpoint), Lakehouse(uri, s3_endpoint_url=endpoint)
    actions: tuple[Callable[[], object], ...] = (
        lambda: store.write_bytes_atomic("raw/x", b"x"),
        lambda: store.list(),
        lambda: read_partition(store, SLICE.partition(DAY)),
        lambda: lake.read("silver.klines_1m", market="um"),
        lambda: lake.sql("SELECT count(*) FROM silver.klines_1m"),
        lambda: scan_alone(store, PATH).collect(),
    )
    for action in actions:
        with pytest.raises((LakeError, OSError, pl.exceptions.ComputeError)) as caught:
            action()
        assert "canary" not in f"{caught.value} {caught.value!r}"


def test_every_client_uses_the_credentials_of_each_profile(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.write("credentials", {"default": WRONG, "work": aws.right})
    monkeypatch.setenv("AWS_PROFILE", "work")
    every_client_works(aws.uri, aws.endpoint)
    monkeypatch.delenv("AWS_PROFILE")
    every_client_is_refused(aws.uri, aws.endpoint)
    monkeypatch.setenv("AWS_PROFILE", "work")
    every_client_works(aws.uri, aws.endpoint)
    # Variables win over profiles, as in boto3.
    for name, value in WRONG.items():
        monkeypatch.setenv(name.upper(), value)
    every_client_is_refused(aws.uri, aws.endpoint)


def test_every_client_reads_replaced_keys_of_a_file(aws: Aws) -> None:
    aws.write("credentials", {"default": aws.right})
    every_client_works(aws.uri, aws.endpoint)
    aws.write("credentials", {"default": WRONG})
    every_client_is_refused(aws.uri, aws.endpoint)
    aws.write("credentials", {"default": aws.right | {"region": "us-east-1"}})
    every_client_works(aws.uri, aws.endpoint)


def test_every_client_renews_session_tokens_of_a_process(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "keys.json"

    def give(keys: dict[str, str]) -> None:
        # So near an end boto3 asks the process at each use.
        end = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
        output.write_text(json.dumps({"Version": 1, "Expiration": end, **keys}))

    aws.write("credentials", {"default": WRONG})
    aws.write("config", {"profile work": {"credential_process": aws.process(output)}})
    monkeypatch.setenv("AWS_PROFILE", "work")
    give(aws.session_keys())
    every_client_works(aws.uri, aws.endpoint)
    lazy = Lakehouse(aws.uri, s3_endpoint_url=aws.endpoint).scan("silver.klines_1m", market="um")
    give({"AccessKeyId": "some-other-user", "SecretAccessKey": "canary-of-the-wrong-user", "SessionToken": "canary"})
    every_client_is_refused(aws.uri, aws.endpoint)
    renewed = aws.session_keys()
    give(renewed)
    every_client_works(aws.uri, aws.endpoint)
    assert lazy.collect().height == 10
    pickled = pickle.dumps((LakeStore.open(aws.uri, aws.endpoint), lazy))
    assert [name for name, value in renewed.items() if value.encode() in pickled] == []


@pytest.mark.requirement("F1.2")
def test_a_failed_early_renewal_is_logged_without_the_output_of_the_process(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # So long before the end boto3 tries a renewal, and goes on with the old keys where it fails.
    end = (datetime.now(UTC) + timedelta(minutes=12)).isoformat()
    output = tmp_path / "keys.json"
    output.write_text(json.dumps({"Version": 1, "Expiration": end, **aws.session_keys()}))
    process = Path(aws.process(output))
    aws.write("config", {"profile work": {"credential_process": str(process)}})
    monkeypatch.setenv("AWS_PROFILE", "work")
    store = LakeStore.open(aws.uri, aws.endpoint)
    store.write_bytes_atomic("raw/x", b"x")
    process.write_text("#!/bin/sh\necho canary >&2; exit 3\n")
    assert store.read_bytes("raw/x") == b"x"
    assert "Refreshing temporary credentials failed" in caplog.text
    assert "canary" not in caplog.text


ENDPOINTS = {
    "variable": ({"AWS_ENDPOINT_URL": "{}"}, {}),
    "variable of S3": (
        {"AWS_ENDPOINT_URL_S3": "{}", "AWS_ENDPOINT_URL": NOWHERE},
        {"default": {"endpoint_url": NOWHERE}},
    ),
    "profile": ({}, {"default": {"endpoint_url": "{}"}}),
    "other profile": (
        {"AWS_PROFILE": "work"},
        {"default": {"endpoint_url": NOWHERE}, "profile work": {"endpoint_url": "{}"}},
    ),
    "service of a profile": (
        {},
        {"default": {"services": "ours", "endpoint_url": NOWHERE}, "services ours": {"s3": "\n  endpoint_url = {}"}},
    ),
    "our own setting": ({"LAKEHOUSE_S3_ENDPOINT_URL": "{}", "AWS_ENDPOINT_URL_S3": NOWHERE}, {}),
}


@pytest.mark.parametrize("source", ENDPOINTS)
def test_every_client_uses_the_same_endpoint(aws: Aws, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables, config = ENDPOINTS[source]
    aws.write("credentials", {"default": aws.right, "work": aws.right})
    aws.write("config", {s: {k: v.format(aws.endpoint) for k, v in of.items()} for s, of in config.items()})
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(aws.endpoint))
    if source == "our own setting":
        every_client_works(aws.uri, aws.endpoint)
        assert Lakehouse(aws.uri).read("silver.klines_1m", market="um", format="polars").height == 10
        return
    assert boto3.session.Session().client("s3", region_name="us-east-1").meta.endpoint_url == aws.endpoint
    every_client_works(aws.uri)


def test_configured_endpoints_can_be_ignored(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint)
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    store = LakeStore.open("s3://bucket/lake")
    assert store.s3_endpoint_url == "https://s3.eu-west-1.amazonaws.com"
    aws.write("config", {"default": {"endpoint_url": NOWHERE}})
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert LakeStore.open("s3://bucket/lake").s3_endpoint_url is None


@pytest.mark.requirement("F1.2")
@pytest.mark.parametrize("endpoint", ["http://user:canary@127.0.0.1:1", "ftp://canary", "http://[canary"])
def test_a_malformed_endpoint_is_refused_without_being_shown(
    aws: Aws, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(LakeError, match="endpoint") as caught:
        LakeStore.open("s3://bucket/lake")
    assert "canary" not in str(caught.value)


def test_the_region_comes_from_the_credentials_chain(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LakeStore.open("s3://bucket/lake").s3_region == "us-east-1"
    aws.write("config", {"default": {"region": "eu-north-1"}, "profile work": {"region": "sa-east-1"}})
    assert LakeStore.open("s3://bucket/lake").s3_region == "eu-north-1"
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert LakeStore.open("s3://bucket/lake").s3_region == "sa-east-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-northeast-1")
    assert Lakehouse("s3://bucket/lake")._store.s3_region == "ap-northeast-1"
    monkeypatch.setenv("LAKEHOUSE_S3_REGION", "eu-west-1")
    assert Lakehouse("s3://bucket/lake")._store.s3_region == "eu-west-1"


FAULTS = {
    "no profile": ({"AWS_PROFILE": "wrok"}, None, "wrok"),
    "no credentials": ({}, None, "AWS_PROFILE"),
    "half": ({"AWS_ACCESS_KEY_ID": "canary"}, None, "Partial credentials"),
    "a process that fails": ({"AWS_PROFILE": "work"}, "#!/bin/sh\necho canary >&2; exit 3\n", "profile work failed"),
    "a process without JSON": ({"AWS_PROFILE": "work"}, "#!/bin/sh\necho canary\n", "no S3 credentials"),
    "a process of another version": ({"AWS_PROFILE": "work"}, "#!/bin/sh\necho '{}'\n", "profile work failed"),
    "no process": ({"AWS_PROFILE": "work"}, None, "no S3 credentials"),
}


@pytest.mark.requirement("F1.2")
@pytest.mark.parametrize("fault", FAULTS)
def test_missing_credentials_are_reported_in_one_sentence_without_secrets(
    aws: Aws, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables, script, words = FAULTS[fault]
    process = aws.folder / "keys.sh"
    if script:
        process.write_text(script)
        process.chmod(0o700)
    aws.write("config", {"profile work": {"credential_process": str(process)}})
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for action in (lambda store: store.list(), lambda store: store.write_bytes_atomic("raw/x", b"x")):
        with pytest.raises(LakeError, match=words) as caught:
            action(LakeStore.open(aws.uri, aws.endpoint))
        # The search says what to set; the advice for errors of S3 would say it again.
        assert "rights of that user" not in str(caught.value)
        assert caught.value.__suppress_context__
    assert "canary" not in f"{caught.value!r}"
    shown = subprocess.run(
        [*COMMAND, "status"],
        env={**os.environ, "LAKEHOUSE_LAKE_URI": aws.uri, "LAKEHOUSE_S3_ENDPOINT_URL": aws.endpoint},
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 1
    assert shown.stderr.startswith("error: ")
    assert words in " ".join(shown.stderr.split())
    assert "Traceback" not in shown.stderr
    assert "canary" not in shown.stdout + shown.stderr


@pytest.mark.requirement("F1.2")
def test_no_repr_log_or_pickle_holds_a_secret(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = aws.session_keys()
    names = {"aws_access_key_id": "AccessKeyId", "aws_secret_access_key": "SecretAccessKey"}
    profile = {name: keys[of] for name, of in names.items()} | {"aws_session_token": keys["SessionToken"]}
    aws.write("credentials", {"work": profile})
    monkeypatch.setenv("AWS_PROFILE", "work")
    every_client_works(aws.uri, aws.endpoint)
    store, lake = LakeStore.open(aws.uri, aws.endpoint), Lakehouse(aws.uri, s3_endpoint_url=aws.endpoint)
    lazy = lake.scan("silver.klines_1m", market="um")
    resource = LakeResource(uri=aws.uri, s3_endpoint_url=aws.endpoint)
    shown = f"{store!r} {lake!r} {lazy!r} {lazy.explain()} {resource!r} {store.filesystem!r}"
    pickled = pickle.dumps((store, lake, lazy))
    for secret in (keys["SecretAccessKey"], keys["SessionToken"]):
        assert secret not in shown
        assert secret.encode() not in pickled + pickle.dumps(resource)
    # Another process reads them with what it finds itself.
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer)[2].collect().height)"
    done = subprocess.run([sys.executable, "-c", code], input=pickled, capture_output=True)
    assert done.stdout.split() == [b"10"], done.stderr
