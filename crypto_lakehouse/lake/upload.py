"""Whole objects put into S3: each appears when all of it has arrived, and what breaks off in between leaves nothing.

Arrow's output streams cannot: one that is dropped publishes what it has got so far. Here belongs the upload alone;
where objects lie, and errors in words, is ``store.py``'s business.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError
from botocore.session import Session

from crypto_lakehouse.lake.identity import explained, find_credentials, find_session


def put_bytes(place: str, data: bytes, endpoint_url: str | None, region: str) -> None:
    """Put ``data`` at ``bucket/key``. Raises OSError with what the storage says."""
    bucket, _, key = place.partition("/")
    with _as_os_errors():
        _client(endpoint_url, region).put_object(Bucket=bucket, Key=key, Body=data)


def put_file(place: str, source: Path, endpoint_url: str | None, region: str) -> None:
    """Put a file of this machine at ``bucket/key``, a large one in parts. Raises OSError with what the storage says."""
    bucket, _, key = place.partition("/")
    with _as_os_errors():
        _client(endpoint_url, region).upload_file(str(source), bucket, key)


@contextmanager
def _as_os_errors() -> Iterator[None]:
    try:
        yield
    except CredentialRetrievalError:
        with explained():
            raise
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise OSError(str(error)) from None


def _client(endpoint_url: str | None, region: str) -> Any:
    # A client made without credentials refuses in words of its own.
    find_credentials()
    return _client_of(endpoint_url, region, find_session())


@lru_cache(maxsize=8)
def _client_of(endpoint_url: str | None, region: str, session: Session) -> Any:
    """A client, which threads share and which renews its credentials by itself."""
    # What is no AWS often knows no checksums of uploads but those of signatures.
    checksums: dict[str, Any] = {"request_checksum_calculation": "when_required"} if endpoint_url else {}
    return boto3.session.Session(botocore_session=session).client(
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
