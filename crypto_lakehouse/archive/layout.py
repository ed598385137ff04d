"""The layout of an archive: how an exchange names, lists and protects its files, without any I/O.

Contains the protocol and its values. Each exchange has one (``binance.py``); ``listed.py`` does the requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from typing import NamedTuple, Protocol

from crypto_lakehouse.catalog import Feed


class Listing(StrEnum):
    """The protocol of the listing."""

    S3_V1 = "s3_v1"


class Checksum(StrEnum):
    """Where the archive states the checksum of a file."""

    SHA256_FILE = "sha256_file"
    """``{object_key}.CHECKSUM`` holds the sha256 and the name of the file."""
    NONE = "none"
    """Nowhere: the listed size and the checksum inside the container have to do."""


class KeyRange(NamedTuple):
    """A part of the listing: the keys with a prefix that come after a marker."""

    prefix: str
    marker: str


class KeyParts(NamedTuple):
    """What the key of a file says: its symbol and its period (``2024-05-01``, ``2024-05``).

    A source ignores files whose period is no key of a partition of the feed.
    """

    symbol: str
    period: str


class Layout(Protocol):
    """One exchange's layout. Test it with keys alone."""

    @property
    def listing(self) -> Listing:
        """How the archive lists its files."""
        ...

    @property
    def checksum(self) -> Checksum:
        """Where it states their checksums."""
        ...

    @property
    def absent(self) -> frozenset[int]:
        """HTTP statuses of a file that does not exist."""
        ...

    @property
    def ban(self) -> frozenset[int]:
        """HTTP statuses that mean a ban if they come many times in a row: then all requests wait."""
        ...

    @property
    def requests_per_second(self) -> float | None:
        """Most requests a second to the archive; None for no limit."""
        ...

    def symbol_folder(self, feed: Feed) -> str:
        """The folder whose subfolders are the symbols of the feed, with a slash at its end."""
        ...

    def ranges(self, feed: Feed, symbol: str, start: date, end: date) -> Iterator[KeyRange]:
        """The parts of the listing that hold the symbol's files of the UTC days [start, end).

        In each part the keys of these files are in order of their periods.
        """
        ...

    def parse(self, feed: Feed, object_key: str) -> KeyParts | None:
        """The parts of a key; None if it is not that of a file of the feed, such as a checksum."""
        ...
