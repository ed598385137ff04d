"""Crypto lakehouse: open market history as bronze, silver and gold Parquet.

Notebooks and programs import ``Lakehouse`` from here. Nothing here may import Dagster, directly or indirectly, and
nothing large: the command line notes signals before it loads what takes long.
"""

import os
from typing import TYPE_CHECKING, Any

# By default Arrow returns freed memory to the system after ten milliseconds, and the system has to clear the same
# memory again for the next day of rows. Arrow reads this variable when it is loaded, so it is set before any import. A
# value that the user has set wins.
os.environ.setdefault("MIMALLOC_PURGE_DELAY", "10000")

if TYPE_CHECKING:
    from crypto_lakehouse.lake.reader.lakehouse import Lakehouse

__all__ = ["Lakehouse"]


def __getattr__(name: str) -> Any:
    if name != "Lakehouse":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from crypto_lakehouse.lake.reader.lakehouse import Lakehouse

    return Lakehouse
