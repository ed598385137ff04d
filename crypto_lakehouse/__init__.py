"""Crypto lakehouse: open market history as bronze, silver and gold Parquet.

What a notebook imports. Nothing here may import Dagster, directly or not.
"""

import os

# Arrow gives memory back to the system after ten milliseconds, and for the next day of rows that has to clear it once
# more. Read when Arrow is loaded, so set here first; whoever has set it has the say.
os.environ.setdefault("MIMALLOC_PURGE_DELAY", "10000")

from crypto_lakehouse.lake.read import Lakehouse

__all__ = ["Lakehouse"]
