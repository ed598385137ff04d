"""Crypto lakehouse: open market history as bronze, silver and gold Parquet.

What a notebook imports. Nothing here may import Dagster, directly or not.
"""

from crypto_lakehouse.lake.read import Lakehouse

__all__ = ["Lakehouse"]
