"""Files of the lake that cannot be read as Parquet: which one it is, and what to run next.

Here belong the words, and the search for the file where many were read at once. Readers meet damage only in what they
decode.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta

import polars as pl
import pyarrow as pa

from crypto_lakehouse.catalog import Cadence, parse_partition
from crypto_lakehouse.lake.paths import COMPACTED
from crypto_lakehouse.lake.store import LakeError, LakeStore

UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError, UnicodeDecodeError)
"""What Polars and Arrow raise over bytes that are not what they should be, and over a storage that refuses."""

_PATH = re.compile(
    rf"(?P<compacted>{COMPACTED}/)?(?P<layer>\w+)/(?P<table>\w+)/exchange=\w+/market=(?P<market>\w+)/"
    r"(feed=(?P<feed>\w+)/)?(?P<column>date|month)=(?P<key>[0-9-]+)/[^/]+"
)
_LOGS = ("ledger", "quarantine")


class DamagedFile(LakeError):
    """A file of the lake cannot be read as what it is. Says which one, and what to run next."""


def remedy(path: str) -> str:
    """What to run where the file at a path of the lake is damaged."""
    match = _PATH.fullmatch(path)
    if not match:
        return "Delete it: no table of the lake has such a file"
    table, market, key = match["feed"] or match["table"], match["market"], match["key"]
    if match["compacted"]:
        compact = f"crypto-lakehouse compact --market {market} --table {table} --from {key} --to {key}"
        return f"Delete it, its rows are in day files as well, and make it again: {compact}"
    first, end = parse_partition(key, Cadence.DAILY if match["column"] == "date" else Cadence.MONTHLY)
    span = f"--from {first} --to {end - timedelta(days=1)}"
    backfill = f"crypto-lakehouse backfill --market {market} --table {table} {span} --remake"
    return (
        f"Delete it and make the period again: {backfill}" if match["layer"] in _LOGS else f"Make it again: {backfill}"
    )


@contextmanager
def reading(store: LakeStore, paths: Sequence[str]) -> Iterator[None]:
    """What goes wrong while these files are decoded, as LakeError that names the damaged one and what to run next.

    FileNotFoundError passes. A file is looked for only then: reading many at once does not tell which.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        if is_of_storage(error):
            with store.explained("read", paths[0] if len(paths) == 1 else ""):
                raise
        path = paths[0] if len(paths) == 1 else _first_damaged(store, paths)
        said = first_line(error)
        # ``from None``: all that the cause says is said here, and what runs tell is the innermost cause.
        if path is None:
            raise LakeError(
                f"cannot read {len(paths)} files of {store.uri}, though each can be read by itself: {said}. Run again"
            ) from None
        raise DamagedFile(f"{store.polars_uri(path)} is damaged: {said}. {remedy(path)}") from None


def scan_alone(store: LakeStore, path: str) -> pl.LazyFrame:
    """The rows of one file as it is, whatever its table should have."""
    return pl.scan_parquet(
        store.polars_uri(path),
        glob=False,
        hive_partitioning=False,
        storage_options=store.polars_options(),
        credential_provider=store.polars_credentials(),
    )


def first_line(error: BaseException) -> str:
    """What an error says, in one line that goes on."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def is_of_storage(error: BaseException) -> bool:
    """Whether it was the storage that refused. Over bytes Arrow raises plain OSErrors without a number, too."""
    if not isinstance(error, OSError):
        return False
    told = ("AWS Error", "object-store error")
    return type(error) is not OSError or error.errno is not None or any(words in str(error) for words in told)


def _first_damaged(store: LakeStore, paths: Sequence[str]) -> str | None:
    """The first file with a footer that cannot be read; where all can, the first with such rows."""
    asked: tuple[Callable[[pl.LazyFrame], object], ...] = (
        pl.LazyFrame.collect_schema,
        lambda rows: rows.select(pl.all().null_count()).collect(engine="streaming"),
    )
    for ask in asked:
        for path in paths:
            # What went meanwhile was not damaged.
            with suppress(FileNotFoundError):
                try:
                    ask(scan_alone(store, path))
                except FileNotFoundError:
                    raise
                except UNREADABLE:
                    return path
    return None
