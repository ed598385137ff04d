"""Crypto lakehouse: open market history as bronze, silver and gold Parquet.

Notebooks and programs import ``Lakehouse`` and its exceptions from here. Nothing here may import Dagster, directly or
indirectly, and nothing large: the command line notes signals before it loads what takes long.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# By default Arrow returns freed memory to the system after ten milliseconds, and the system has to clear the same
# memory again for the next day of rows. Arrow reads this variable when it is loaded, so it is set before any import. A
# value that the user has set wins.
os.environ.setdefault("MIMALLOC_PURGE_DELAY", "10000")

if TYPE_CHECKING:
    from crypto_lakehouse.lake.reader.lakehouse import Lakehouse
    from crypto_lakehouse.lake.reader.sql_limits import QueryLimit
    from crypto_lakehouse.lake.reader.warn import LakeWarning
    from crypto_lakehouse.lake.storage.as_of import ChangedSnapshot, NoVersion, PurgedVersion
    from crypto_lakehouse.lake.storage.damage import DamagedFile, FilesChanged
    from crypto_lakehouse.lake.storage.describe import MissingLakeError
    from crypto_lakehouse.lake.storage.partitions import MissingPartition
    from crypto_lakehouse.lake.storage.store import LakeError

__all__ = [
    "ChangedSnapshot",
    "DamagedFile",
    "FilesChanged",
    "LakeError",
    "LakeWarning",
    "Lakehouse",
    "MissingLakeError",
    "MissingPartition",
    "NoVersion",
    "PurgedVersion",
    "QueryLimit",
]

# Each module is loaded when its name is first used.
_MODULES = {
    "ChangedSnapshot": "storage.as_of",
    "DamagedFile": "storage.damage",
    "FilesChanged": "storage.damage",
    "LakeError": "storage.store",
    "LakeWarning": "reader.warn",
    "Lakehouse": "reader.lakehouse",
    "MissingLakeError": "storage.describe",
    "MissingPartition": "storage.partitions",
    "NoVersion": "storage.as_of",
    "PurgedVersion": "storage.as_of",
    "QueryLimit": "reader.sql_limits",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.lake.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
