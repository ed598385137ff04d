"""What the lake knows of earlier versions of a silver partition: the differences that were recorded for a symbol."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import polars as pl

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.lake.storage.ledger import read_log
from crypto_lakehouse.lake.storage.paths import log_folder
from crypto_lakehouse.lake.storage.revisions import kept_versions
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.slices import TableSlice


def revision_notes(store: LakeStore, feed: Feed, key: str, symbol: str) -> Iterator[str]:
    """Yield a sentence for each replacement of a partition by other rows of the symbol, newest first."""
    partition = TableSlice.of_feed("silver", feed).partition(key)
    versions = kept_versions(store, partition.slice.folder).get(partition.path, ())
    purged = {version.known_to for version in versions if version.is_purged}
    log = read_log(store, schema_of("ledger", "revisions"), [log_folder("ledger", "revisions", feed, key)])
    for row in log.filter(pl.col("symbol") == symbol).reverse().iter_rows(named=True):
        counts = ", ".join(f"{row[name]} {name}" for name in ("added", "removed", "changed") if row[name])
        move = f", a price by {row['largest_price_move']:.2%}" if row["largest_price_move"] else ""
        before = " was purged" if row["known_to"] in purged else f": as_of from {_text(row['known_from'])} on"
        yield (
            f"partition {key} was replaced at {_text(row['known_to'])}: rows of {symbol}: {counts}{move}. The version"
            f" before{before}"
        )


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"
