"""Files of the lake that cannot be read as Parquet: which one it is, and what to run next.

Here belong the words, and the search for the file where many were read at once. Readers meet damage only in what they
decode.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from crypto_lakehouse.catalog import Cadence, parse_partition
from crypto_lakehouse.lake.paths import COMPACTED
from crypto_lakehouse.lake.store import LakeError, LakeStore
from crypto_lakehouse.schemas import slice_schema

UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError, UnicodeDecodeError)
"""What Polars and Arrow raise over bytes that are not what they should be, and over a storage that refuses."""

_PATH = re.compile(
    rf"(?P<compacted>{COMPACTED}/)?(?P<layer>\w+)/(?P<table>\w+)/exchange=(?P<exchange>\w+)/market=(?P<market>\w+)/"
    r"(feed=(?P<feed>\w+)/)?(?P<column>date|month)=(?P<key>[0-9-]+)/[^/]+"
)
_LOGS = ("ledger", "quarantine")
# What S3 answers to a reader that knows the size of the object before.
_OF_ANOTHER_OBJECT = ("InvalidRange", "INVALID_RANGE", "HTTP 416", "416 Range")
# A run replaces a file once; a test that replaces files all the time leaves a reader in peace within a few tries.
_TRIES, _PAUSE = 10, 0.1

T = TypeVar("T")


class FilesChanged(LakeError):
    """Files were replaced or removed while they were read. What is read again is whole."""


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

    FileNotFoundError passes. A file is looked for only then: reading many at once does not tell which. Damaged is one
    that cannot be read by itself and is not replaced meanwhile; where there is none, FilesChanged is raised.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        said = first_line(error)
        if is_of_storage(error) and not any(words in str(error) for words in _OF_ANOTHER_OBJECT):
            with store.explained("read", paths[0] if len(paths) == 1 else ""):
                raise
        # ``from None``: all that the cause says is said there, and what runs tell is the innermost cause.
        raise blame(store, paths, said, isinstance(error, pa.ArrowException | OSError)) from None


def blame(store: LakeStore, paths: Sequence[str], said: str, by_arrow: bool) -> DamagedFile | FilesChanged:
    """The error over files that a reader could not decode, with what it ``said``, and whether Arrow was that reader."""
    path = _first_damaged(store, paths, by_arrow)
    if path is not None:
        return DamagedFile(f"{store.polars_uri(path)} is damaged: {said}. {remedy(path)}")
    where = store.polars_uri(paths[0]) if len(paths) == 1 else f"{len(paths)} files of {store.uri}"
    return FilesChanged(
        f"cannot read {where}, though each file can be read by itself: {said}. A run replaces files: try again"
    )


def unchanged(read: Callable[[], T], version: Callable[[], object], tries: int = _TRIES) -> T:
    """What ``read`` returns, which lists files and reads them; tried again while these are replaced meanwhile.

    ``version`` tells the files as they are listed now: where they are the same at two failures, the second one is
    raised. Raises FilesChanged where files change at each of some tries.
    """
    known: object = None
    for number in range(tries):
        try:
            return read()
        except (DamagedFile, FilesChanged, FileNotFoundError) as error:
            now = version()
            if number and now == known:
                raise
            known, failure = now, error
        time.sleep(_PAUSE * number)
    if isinstance(failure, FileNotFoundError):
        raise FilesChanged(f"a file went while it was read: {first_line(failure)}. A run replaces files: try again")
    raise failure


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


def _first_damaged(store: LakeStore, paths: Sequence[str], by_arrow: bool) -> str | None:
    """The first file with a footer that cannot be read; where all can, the first with such rows, or other columns than
    its table.

    Arrow is asked as well where it refused, for it and Polars do not refuse the same.
    """
    asked: list[Callable[[str], object]] = [
        lambda path: scan_alone(store, path).collect_schema(),
        lambda path: scan_alone(store, path).select(pl.all().null_count()).collect(engine="streaming"),
        lambda path: check_columns(path, scan_alone(store, path).collect_schema()),
    ]
    if by_arrow:
        asked.append(lambda path: _decode(store, path))
    return next((path for ask in asked for path in paths if _fails(store, path, ask)), None)


def _fails(store: LakeStore, path: str, ask: Callable[[str], object]) -> bool:
    """Whether a file cannot be read, and it is the same one before and after. One that went was not damaged."""
    while (before := store.find(path)) is not None:
        try:
            ask(path)
        except FileNotFoundError:
            continue
        except UNREADABLE:
            if store.find(path) == before:
                return True
        else:
            return False
    return False


def _decode(store: LakeStore, path: str) -> None:
    with store.open_file(path) as source:
        parquet = pq.ParquetFile(source)
        for number in range(parquet.num_row_groups):
            parquet.read_row_group(number)


def check_columns(path: str, there: Mapping[str, pl.DataType]) -> None:
    """Raises SchemaError that names the columns of a file which have another type than in its table.

    Columns may be missing: files of an older layout are read with nulls there.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        return
    schema = slice_schema(match["layer"], match["table"], match["exchange"], match["market"])
    wanted = pl.DataFrame(schema.arrow.empty_table()).schema
    others = [
        f"{name} is {there[name]} and not {kind}" for name, kind in wanted.items() if there.get(name, kind) != kind
    ]
    if others:
        raise pl.exceptions.SchemaError(f"it has other columns than its table: {', '.join(others)}")
