"""The configuration of a server, which travels to its worker processes in one environment variable.

It holds no secret: tokens stay in their file. The settings and options it comes from are in ``settings.py`` and
``cli/serve.py``.
"""

from __future__ import annotations

import ipaddress
import json
import os
from dataclasses import asdict, dataclass

VARIABLE = "CRYPTO_LAKEHOUSE_SERVE"
"""Name of the variable. The prefix of settings is another one, so that it is not taken for a misspelt setting."""


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """What a worker process needs to serve a lake.

    ``tokens`` is the path of the file of tokens. ``timeout`` is in seconds, ``rate`` in requests a second of a token;
    ``max_rows`` and ``max_bytes`` limit one answer, ``concurrency`` the requests of a token at the same time.
    ``exchange_api`` is the exchange whose own API is answered too, ``exchange_universe`` the day of the symbols that it
    lists, and ``exchange_as_of`` the time of the lake that it reads.
    """

    lake_uri: str
    tokens: str
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    s3_endpoint_url: str | None = None
    s3_region: str | None = None
    sql: bool = False
    max_rows: int = 100_000_000
    max_bytes: int = 16 * 1024**3
    timeout: float = 600.0
    concurrency: int = 64
    rate: float = 50.0
    exchange_api: str = ""
    exchange_universe: str | None = None
    exchange_as_of: str | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)

    def export(self) -> None:
        """Put the configuration into the environment of this process and of those that it starts."""
        os.environ[VARIABLE] = json.dumps(asdict(self))

    @classmethod
    def from_environment(cls) -> ServeConfig:
        """The configuration that the process which started this one has exported."""
        return cls(**json.loads(os.environ[VARIABLE]))


def is_loopback(host: str) -> bool:
    """Whether a host to listen on is reachable from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
