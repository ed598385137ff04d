"""Paths of the lake other than those of partitions: logs, month files, raw archive files and REST answers.

Nothing here does I/O. Paths are relative to the root of the lake and use Hive folders, like those of partitions, which
``schemas/slices.py`` builds.
"""

from __future__ import annotations

import re

from crypto_lakehouse.catalog import Cadence, Feed, parse_partition
from crypto_lakehouse.catalog.names import check_name
from crypto_lakehouse.schemas.slices import TableSlice

COMPACTED = "compacted"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ENDINGS = ("zip", "gz")
_ARCHIVE_NAME = re.compile(r"\w[\w.\-]*", re.UNICODE)


def log_folder(layer: str, table: str, feed: Feed, key: str | None = None) -> str:
    """Return the folder of the append-only objects (ledger, quarantine) of a feed, or of one partition of it.

    The feed's table is in ``feed=``, because ``table`` is a column. Raises ValueError on a key that does not fit the
    feed's cadence.
    """
    folder = f"{TableSlice.of_market(layer, feed.market, table).folder}/feed={check_name(feed.table)}"
    return folder if key is None else f"{folder}/{_key_folder(feed.cadence, key)}"


def months_folder(table_slice: TableSlice, month: str | None = None) -> str:
    """Return the folder of the month files of a slice, or of those of one month.

    It is outside the layers, so that no listing or glob of a layer counts rows twice. Raises ValueError on an unsafe
    month.
    """
    folder = f"{COMPACTED}/{table_slice.folder}"
    return folder if month is None else f"{folder}/{_key_folder(Cadence.MONTHLY, month)}"


def raw_path(exchange: str, object_key: str, sha256: str) -> str:
    """Return the path of a raw archive file. Raises ValueError on an unsafe key or a malformed hash."""
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"{sha256!r} is not a sha256 in lower-case hex digits")
    *folders, name = object_key.split("/")
    stem, _, ending = name.rpartition(".")
    if ending not in _ENDINGS or not all(_ARCHIVE_NAME.fullmatch(part) for part in (*folders, name)):
        raise ValueError(f"{object_key!r} is not a safe key of a {' or '.join(_ENDINGS)} file in an archive")
    return "/".join(("raw", check_name(exchange), *folders, f"{stem}.{sha256[:16]}.{ending}"))


def answer_path(feed: Feed, symbol: str, key: str, sha256: str) -> str:
    """Return the path of the bytes of a REST answer about one partition. Raises ValueError on unsafe names."""
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"{sha256!r} is not a sha256 in lower-case hex digits")
    if not _ARCHIVE_NAME.fullmatch(symbol):
        raise ValueError(f"{symbol!r} is not a safe symbol")
    parse_partition(key, feed.cadence)
    folders = (check_name(feed.exchange), "rest", check_name(feed.market.name), check_name(feed.table), symbol)
    return "/".join(("raw", *folders, f"{key}.{sha256[:16]}.json"))


def _key_folder(cadence: Cadence, key: str) -> str:
    parse_partition(key, cadence)
    return f"{cadence.partition_column}={key}"
