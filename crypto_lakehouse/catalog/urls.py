"""URLs in settings: checking them, and hiding their credentials.

Requests are sent by ``archive`` and ``rest``.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit


def http_url(value: str) -> str:
    """An http(s) URL without a slash at its end. Raises ValueError, which does not quote it."""
    if not has_host(value, "http", "https"):
        raise ValueError("must be a URL such as https://host/path; write / and @ in a password as %2F and %40")
    return value.rstrip("/")


def has_host(url: str, *schemes: str) -> bool:
    """Whether the text is a URL of one of the schemes, with a host, and with all of its password before that."""
    try:
        parts = urlsplit(url)
        # A slash in a password ends the host too early, and the rest of the password would be shown as the path.
        is_whole = "@" not in f"{parts.path}{parts.query}{parts.fragment}"
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0 and is_whole
    except ValueError:
        # The parser's own message may quote the credentials of the URL.
        return False


def s3_uri(text: str) -> str:
    """The text without slashes at its end, if it is empty or s3://bucket/prefix. Raises ValueError otherwise.

    >>> s3_uri("s3://bucket/logs/")
    's3://bucket/logs'
    """
    if text and not has_host(text, "s3"):
        raise ValueError("must be s3://bucket/prefix")
    return text.rstrip("/")


def parse_hosts(text: str, roles: Collection[str]) -> dict[str, str]:
    """URLs by role, from ``role=URL`` pairs with commas between them. Raises ValueError, which does not quote a URL.

    >>> parse_hosts("spot=https://data-api.binance.vision/", ["spot", "um"])
    {'spot': 'https://data-api.binance.vision'}
    """
    hosts = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        role, _, url = pair.partition("=")
        if role not in roles:
            raise ValueError(f"must be pairs such as {next(iter(roles))}=https://host, with one of {', '.join(roles)}")
        hosts[role] = http_url(url)
    return hosts


def mask_url(text: str) -> str:
    """The text with ``****`` instead of what stands before its last ``@``, also if it is no valid URL."""
    before, at, after = text.rpartition("@")
    if not at:
        return text
    scheme, mark, _ = before.rpartition("://") if before.count("://") == 1 else ("", "", "")
    return f"{scheme}{mark}****@{after}"
