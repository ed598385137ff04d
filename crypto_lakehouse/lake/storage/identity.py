"""Endpoint, region and credentials of S3, found in the same way for all S3 clients of a lake.

The search is boto3's: the ``AWS_*`` variables, profiles with their processes, roles and session tokens, and the
credentials of the machine or container. The clients are used in ``store.py`` (Arrow, also for DuckDB, and Polars) and
``upload.py`` (boto3). They ask this module at each use, so that all of them see renewed credentials or another profile.
No pickle, message or log contains a secret.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import RLock
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, CredentialRetrievalError
from botocore.session import Session
from pyarrow import fs

DEFAULT_REGION = "us-east-1"

_SEARCHING = RLock()
_FILES = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}
# Seconds for which Polars keeps credentials: less than the time between boto3's renewal and the end of the old ones.
_POLARS_KEEPS = 60


def _without_traceback(record: logging.LogRecord) -> bool:
    record.exc_info = None
    return True


# If an early renewal fails, boto3 logs the exception, which contains the output of the profile's process.
logging.getLogger("botocore.credentials").addFilter(_without_traceback)


class IdentityError(PermissionError):
    """Endpoint, region or credentials cannot be found. The message says why and contains no secrets."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys of S3, hidden in ``repr``; ``token`` is the session token, if there is one."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False)


class PolarsCredentials:
    """The credential provider for Polars: it finds credentials in the process that reads, at each call.

    Only a random name is pickled. Polars keeps one client per name, so different credentials get different names.
    """

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex

    def __call__(self) -> tuple[dict[str, str], int]:
        """Return the keys, and until when Polars may use them (Unix time)."""
        credentials = find_credentials()
        keys = {"aws_access_key_id": credentials.access_key, "aws_secret_access_key": credentials.secret_key}
        if credentials.token:
            keys["aws_session_token"] = credentials.token
        return keys, int(time.time()) + _POLARS_KEEPS


def find_session() -> Session:
    """Return boto3's session for the current AWS variables and files. It renews its credentials itself."""
    with _SEARCHING:
        variables = tuple(sorted((n, v) for n, v in os.environ.items() if n.startswith("AWS_") or n == "HOME"))
        return _session_of(variables, tuple(_version(os.environ.get(n) or file) for n, file in _FILES.items()))


def find_credentials() -> Credentials:
    """Return the current credentials, renewed if they are about to expire. Raises IdentityError."""
    with _SEARCHING, explained():
        credentials = find_session().get_credentials()
        if credentials is None:
            raise IdentityError(
                "no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile of "
                f"{' or '.join(_FILES.values())}"
            )
        frozen = credentials.get_frozen_credentials()
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)


def find_region() -> str:
    """Return the region of AWS_DEFAULT_REGION or of the profile, else ``us-east-1``. Raises IdentityError."""
    with explained():
        return find_session().get_config_variable("region") or DEFAULT_REGION


def find_endpoint() -> str | None:
    """Return the S3 endpoint of AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or the profile, in this order; None is AWS.

    Raises IdentityError.
    """
    with explained():
        session = find_session()
        of_variables = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        if session.get_config_variable("ignore_configured_endpoint_urls"):
            # Not all clients ignore the variables, but all accept an explicit endpoint.
            return session.create_client("s3", find_region()).meta.endpoint_url if of_variables else None
        profile = session.get_scoped_config()
        services = session.full_config.get("services", {}).get(profile.get("services"), {})
        return of_variables or services.get("s3", {}).get("endpoint_url") or profile.get("endpoint_url")


@lru_cache(maxsize=8)
def polars_credentials(_credentials: Credentials) -> PolarsCredentials:
    """Return the same provider for the same credentials, so that Polars reuses its clients."""
    return PolarsCredentials()


def check_endpoint(url: str | None) -> str | None:
    """Return the endpoint without a slash at its end. Raises IdentityError if no client could use it."""
    if not url:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        # Without the message of the parser, which may quote credentials.
        raise IdentityError("the S3 endpoint is not usable: give http(s)://host:port without credentials")
    return url.rstrip("/")


@lru_cache(maxsize=8)
def arrow_s3(endpoint_url: str | None, region: str, credentials: Credentials) -> fs.S3FileSystem:
    """Return Arrow's client, which threads share."""
    url = urlsplit(endpoint_url or "https:")
    return fs.S3FileSystem(
        access_key=credentials.access_key,
        secret_key=credentials.secret_key,
        session_token=credentials.token,
        scheme=url.scheme,
        endpoint_override=url.netloc or None,
        region=region,
        force_virtual_addressing=False,
        connect_timeout=10,
        request_timeout=60,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=4),
    )


@contextmanager
def explained() -> Iterator[None]:
    """Turn the errors of the search into IdentityError."""
    try:
        yield
    except IdentityError:
        raise
    except CredentialRetrievalError as error:
        # Its text is the output of the profile's process, which may contain secrets.
        profile = os.environ.get("AWS_PROFILE") or "default"
        raise IdentityError(
            f"no S3 credentials: {error.kwargs.get('provider')} of profile {profile} failed. Run its command by hand "
            "to see what it prints"
        ) from None
    except (BotoCoreError, OSError, ValueError, LookupError) as error:
        reason = str(error) if isinstance(error, BotoCoreError | OSError) else f"{type(error).__name__} in their values"
        raise IdentityError(f"no S3 credentials: {reason}") from None


@lru_cache(maxsize=8)
def _session_of(_variables: tuple[tuple[str, str], ...], _files: tuple[tuple[int, int] | None, ...]) -> Session:
    return Session()


def _version(file: str) -> tuple[int, int] | None:
    """Return time and size of a file; None if it does not exist."""
    try:
        state = Path(file).expanduser().stat()
    except (OSError, RuntimeError):
        return None
    return state.st_mtime_ns, state.st_size
