"""Paths of the lake: pure functions from checked names to paths.

Nothing here does I/O. Paths are relative to the root of the lake and use Hive folders
(``silver/klines_1m/exchange=binance/market=um/date=2024-01-01/part-0.parquet``).
"""

from __future__ import annotations

import re

from crypto_lakehouse.catalog import Cadence, parse_partition
from crypto_lakehouse.catalog.names import check_name
from crypto_lakehouse.schemas import LAYERS

PART = "part-0.parquet"
COMPACTED = "compacted"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ARCHIVE_NAME = re.compile(r"\w[\w.\-]*", re.UNICODE)


def slice_dir(layer: str, table: str, exchange: str, market: str) -> str:
    """Return the folder of one table, exchange and market. Raises ValueError on unsafe names."""
    if layer not in LAYERS:
        raise ValueError(f"{layer!r} is not a layer; the layers are {', '.join(LAYERS)}")
    return f"{layer}/{check_name(table)}/exchange={check_name(exchange)}/market={check_name(market)}"


def partition_dir(layer: str, table: str, exchange: str, market: str, cadence: Cadence, key: str) -> str:
    """Return the folder of a partition. Raises ValueError on unsafe names and on keys that do not fit the cadence."""
    return f"{slice_dir(layer, table, exchange, market)}/{_key_dir(cadence, key)}"


def partition_path(layer: str, table: str, exchange: str, market: str, cadence: Cadence, key: str) -> str:
    """Return the path of a partition's Parquet file. Raises ValueError like ``partition_dir``."""
    return f"{partition_dir(layer, table, exchange, market, cadence, key)}/{PART}"


def log_dir(layer: str, table: str, exchange: str, market: str, feed: str, cadence: Cadence, key: str) -> str:
    """Return the folder of the append-only objects (ledger, quarantine) of one feed and partition."""
    return f"{feed_dir(layer, table, exchange, market, feed)}/{_key_dir(cadence, key)}"


def feed_dir(layer: str, table: str, exchange: str, market: str, feed: str) -> str:
    """Return the folder of the append-only objects of one feed: ``feed=``, because ``table`` is a column."""
    return f"{slice_dir(layer, table, exchange, market)}/feed={check_name(feed)}"


def months_dir(layer: str, table: str, exchange: str, market: str) -> str:
    """Return the folder of the month files of one table, exchange and market.

    It is outside the layers, so that no listing or glob of a layer counts rows twice. Raises ValueError on unsafe
    names.
    """
    return f"{COMPACTED}/{slice_dir(layer, table, exchange, market)}"


def month_dir(layer: str, table: str, exchange: str, market: str, month: str) -> str:
    """Return the folder of the month files of one month. Raises ValueError on unsafe names and months."""
    return f"{months_dir(layer, table, exchange, market)}/{_key_dir(Cadence.MONTHLY, month)}"


def raw_path(exchange: str, key: str, sha256: str) -> str:
    """Return the path of a raw archive file. Raises ValueError on an unsafe key or a malformed hash."""
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"{sha256!r} is not a sha256 in lower-case hex digits")
    names = key.split("/")
    if not key.endswith(".zip") or not all(_ARCHIVE_NAME.fullmatch(name) for name in names):
        raise ValueError(f"{key!r} is not a safe key of a zip file in an archive")
    *folders, name = names
    return "/".join(("raw", check_name(exchange), *folders, f"{name.removesuffix('.zip')}.{sha256[:16]}.zip"))


def _key_dir(cadence: Cadence, key: str) -> str:
    parse_partition(key, cadence)
    return f"{cadence.partition_column}={key}"
