"""Environment variables of other programs that decide where data and records are. ``config`` shows them."""

from __future__ import annotations

from collections.abc import Mapping

from crypto_lakehouse.catalog.urls import mask_url

UNSET = "(not set)"
MASK = "****"

_SECRET = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "DAGSTER_POSTGRES_PASSWORD")
_PLAIN = (
    *("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "SSL_CERT_FILE"),
    *("DAGSTER_HOME", "DAGSTER_POSTGRES_HOST", "DAGSTER_POSTGRES_PORT", "DAGSTER_POSTGRES_DB", "DAGSTER_POSTGRES_USER"),
    *("PGSSLMODE", "PGSSLROOTCERT"),
)


def masked_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Each variable with its value; secrets, and credentials in URLs, are masked.

    >>> masked_variables({"AWS_SECRET_ACCESS_KEY": "abc"})["AWS_SECRET_ACCESS_KEY"]
    '****'
    """
    shown = {name: MASK if environ.get(name) else UNSET for name in _SECRET}
    return shown | {name: mask_url(environ.get(name) or UNSET) for name in _PLAIN}
