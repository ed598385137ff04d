"""Addresses of archives and proxies: their credentials, which are kept apart and never shown, and an address's proxy.

Sending requests to them is the work of ``http_client.py``.
"""

from __future__ import annotations

import re
from contextlib import suppress
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from crypto_lakehouse.archive.model import ArchiveError

_USERINFO = re.compile(r"(?<=://).*@")


class _Credentials(aiohttp.BasicAuth):
    """Shows nothing of itself, wherever an object of aiohttp that holds it is shown."""

    def __repr__(self) -> str:
        return "****"


def mask_url(text: str) -> str:
    """The URL ``text``, which need not be valid, or a text with one, with ``****`` for user and password."""
    return _USERINFO.sub("****@", text)


def split_credentials(url: str) -> tuple[str, aiohttp.BasicAuth | None]:
    """An http(s) URL without user and password, and these. Raises ValueError, which does not quote them."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        # A slash in a password ends the host too early; what follows would be taken for the path.
        usable = usable and "@" not in f"{parts.path}{parts.query}{parts.fragment}"
    except ValueError:
        usable = False
    if not usable:
        # Not in the except clause: the parser's own message may quote the credentials.
        raise ValueError(
            f"{mask_url(url)!r} is not an http:// or https:// URL; write / and @ of a password as %2F and %40"
        )
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    user, _, password = userinfo.partition(":")
    auth = _Credentials(unquote(user), unquote(password), encoding="utf-8")
    return parts._replace(netloc=host).geturl(), auth


def proxy_of(url: str) -> tuple[str | None, aiohttp.BasicAuth | None]:
    """The proxy for ``url``, without its user and password, and these.

    It is that of HTTP_PROXY or HTTPS_PROXY, else of ALL_PROXY, unless NO_PROXY excludes the host; lower-case
    spellings count first. Asked once: aiohttp's own ``trust_env`` reads all of the environment and ``.netrc`` for every
    request, in a thread. Raises ArchiveError for a proxy that cannot be used, which names the variable and does not
    quote it.
    """
    parts = urlsplit(url)
    proxies = getproxies()
    name = parts.scheme if proxies.get(parts.scheme) else "all"
    proxy = proxies.get(name)
    if not proxy or proxy_bypass(parts.netloc):
        return None, None
    variable = f"{name.upper()}_PROXY"
    if proxy.lower().startswith("socks"):
        raise ArchiveError(
            f"{variable} names a SOCKS proxy, which is not supported: set it to an http:// or https:// proxy, or "
            f"exclude {parts.hostname} with NO_PROXY, then run again"
        )
    with suppress(ValueError):
        return split_credentials(proxy)
    # Not in an except clause: that error quotes what may be a password.
    raise ArchiveError(
        f"{variable} is no http:// or https:// URL: correct it, with / and @ of a password as %2F and %40, then run "
        "again"
    )
