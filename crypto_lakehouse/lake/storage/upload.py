"""Uploads to S3: an object appears only when it is complete, and an interrupted upload leaves nothing.

Arrow's output streams do not guarantee this: a stream that is dropped publishes the bytes written so far. Paths of
objects, and the texts of errors, are in ``store.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError
from botocore.session import Session

from crypto_lakehouse.lake.storage.identity import explained, find_credentials, find_session

_FIRST_CLIENT = Lock()


def put_bytes(address: str, data: bytes, endpoint_url: str | None, region: str) -> None:
    """Put ``data`` at ``bucket/key``. Raises OSError with the message of the storage."""
    bucket, _, key = address.partition("/")
    with _as_os_errors():
        s3_client(endpoint_url, region).put_object(Bucket=bucket, Key=key, Body=data)


def put_file(address: str, source: Path, endpoint_url: str | None, region: str) -> None:
    """Put a local file at ``bucket/key``, a large one in parts. Raises OSError with the message of the storage."""
    bucket, _, key = address.partition("/")
    with _as_os_errors():
        s3_client(endpoint_url, region).upload_file(str(source), bucket, key)


def head_object(address: str, endpoint_url: str | None, region: str) -> tuple[int, datetime] | None:
    """Return the size and the time of change of ``bucket/key``, None if there is no such object. Raises OSError."""
    bucket, _, key = address.partition("/")
    with _as_os_errors():
        try:
            known = s3_client(endpoint_url, region).head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                return None
            raise
    return known["ContentLength"], known["LastModified"].astimezone(UTC)


def copy_object(address: str, target: str, endpoint_url: str | None, region: str) -> None:
    """Copy ``bucket/key`` to another key by the server, a large object in parts. Raises OSError."""
    bucket, _, key = address.partition("/")
    target_bucket, _, target_key = target.partition("/")
    with _as_os_errors():
        s3_client(endpoint_url, region).copy({"Bucket": bucket, "Key": key}, target_bucket, target_key)


@contextmanager
def _as_os_errors() -> Iterator[None]:
    try:
        yield
    except CredentialRetrievalError:
        with explained():
            raise
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise OSError(str(error)) from None


def s3_client(endpoint_url: str | None, region: str) -> Any:
    """Return boto3's client with the options of all writes: timeouts, attempts, addressing and renewed credentials.

    Threads share it. Raises IdentityError if there are no credentials.
    """
    # Raise our own error if there are no credentials, not the one of boto3's client.
    find_credentials()
    # Two threads that make the first client at once would make two sessions.
    with _FIRST_CLIENT:
        return _client_of(endpoint_url, region, find_session())


@lru_cache(maxsize=8)
def _client_of(endpoint_url: str | None, region: str, session: Session) -> Any:
    """Return a client, which threads share and which renews its credentials by itself."""
    # S3 services other than AWS often support no upload checksums except the one in the signature.
    checksums: dict[str, Any] = {"request_checksum_calculation": "when_required"} if endpoint_url else {}
    return _boto3_session(session).client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=region,
        config=Config(
            connect_timeout=10,
            read_timeout=60,
            retries={"total_max_attempts": 4, "mode": "standard"},
            s3={"addressing_style": "path" if endpoint_url else "auto"},
            **checksums,
        ),
    )


@lru_cache(maxsize=8)
def _boto3_session(session: Session) -> Any:
    """Return one session of boto3 for a session of botocore: a second one would add its methods to clients twice."""
    return boto3.session.Session(botocore_session=session)
