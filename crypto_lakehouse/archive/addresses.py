"""URLs of archives and proxies: separating and hiding their credentials, and finding the proxy for a URL.

``http_client.py`` sends the requests.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from crypto_lakehouse.archive.model import ArchiveError

_USERINFO = re.compile(r"(?<=://).*@")


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """User and password of a URL. Their repr is masked, because objects that hold them appear in logs and errors."""

    user: str
    password: str

    def __repr__(self) -> str:
        return "****"


def mask_url(text: str) -> str:
    """``text`` with ``****`` instead of the user and password of its URL, which need not be valid."""
    return _USERINFO.sub("****@", text)


def split_credentials(url: str) -> tuple[str, Credentials | None]:
    """An http(s) URL without its credentials, and these. Raises ValueError, which does not quote them."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        # A slash in a password ends the host too early; the rest would become the path.
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
    return parts._replace(netloc=host).geturl(), Credentials(unquote(user), unquote(password))


def proxy_of(url: str) -> tuple[str | None, Credentials | None]:
    """The proxy for ``url``, without credentials, and its credentials; None for no proxy.

    HTTP_PROXY or HTTPS_PROXY sets it, else ALL_PROXY, unless NO_PROXY excludes the host; lower-case spellings take
    precedence. Call it once per client: aiohttp's own ``trust_env`` reads the whole environment and ``.netrc`` for
    every request, in a thread. Raises ArchiveError for an unusable proxy; the error names the variable without its
    value.
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
        f"{variable} is not an http:// or https:// URL: correct it, with / and @ of a password as %2F and %40, then "
        "run again"
    )
