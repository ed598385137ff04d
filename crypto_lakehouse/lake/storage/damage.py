"""Damaged files of the lake: the search for the file, and the command that rebuilds it.

A reader of many files does not learn which of them is damaged, so this module looks for it. Readers notice damage only
in the pages that they decode; ``integrity.py`` checks whole files.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from crypto_lakehouse.lake.storage.as_of import LOGS, AsOfStore
from crypto_lakehouse.lake.storage.building import build_command, enabled_variables
from crypto_lakehouse.lake.storage.paths import COMPACTED
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.schemas import LAYERS
from crypto_lakehouse.schemas.slices import TableSlice

UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError, UnicodeDecodeError)
"""The errors that Polars and Arrow raise on invalid bytes and on a storage that refuses."""

_NAME = "[a-z][a-z0-9_]*"
_PATH = re.compile(
    rf"(?P<compacted>{COMPACTED}/)?(?P<layer>{'|'.join(LAYERS)})/(?P<table>{_NAME})/exchange=(?P<exchange>{_NAME})/"
    rf"market=(?P<market>{_NAME})/(feed=(?P<feed>{_NAME})/)?(date|month)=(?P<key>[0-9-]+)/[^/]+"
)
# The answers of S3 to a reader that knows only the size of the previous object.
_OF_ANOTHER_OBJECT = ("InvalidRange", "INVALID_RANGE", "HTTP 416", "416 Range")
# A run replaces a file once. Even in a test that replaces files all the time, a reader succeeds within a few tries.
_TRIES, _PAUSE = 10, 0.1

T = TypeVar("T")


class FilesChanged(LakeError):
    """Files were replaced or removed while they were read. A second read succeeds."""


class _LaterRows(FilesChanged):
    """A read of an earlier time may have seen later rows. The files of that time look the same in any listing."""


class DamagedFile(LakeError):
    """A file of the lake cannot be read. The message names the file and the command to run next."""


def remedy(store: LakeStore, path: str) -> str:
    """Return what to do if the file at a path of the lake is damaged."""
    match = _PATH.fullmatch(path)
    if isinstance(store, AsOfStore) and store.is_replaced(path):
        return "No command can rebuild what a partition held before: set as_of to another time"
    if not match:
        return "Delete it: no table of the lake has such a file"
    key, table_slice = match["key"], _slice(match)
    if match["compacted"]:
        command = table_slice.compact_command(key, enabled_variables(store, table_slice, key))
        return f"Delete it (the day files hold the same rows) and rebuild it: {command}"
    if match["layer"] in LOGS:
        # The backfill of the feed's table writes its ledger and quarantine, too.
        table_slice = replace(table_slice, table=match["feed"] or table_slice.table)
        return f"Delete it and rebuild the period: {build_command(store, table_slice, key, key, force=True)}"
    return f"Rebuild it: {build_command(store, table_slice, key, key, force=True)}"


def _slice(match: re.Match[str]) -> TableSlice:
    return TableSlice(match["layer"], match["exchange"], match["market"], match["table"])


@contextmanager
def reading(store: LakeStore, paths: Sequence[str]) -> Iterator[None]:
    """Turn errors of decoding these files into a LakeError that names the damaged file and the command to run next.

    FileNotFoundError passes. After an error the files are read one by one: the damaged one is the first that cannot be
    read alone and was not replaced during the read. If none is damaged, FilesChanged is raised.
    """
    try:
        yield
        check_unreplaced(store, paths)
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        message = first_line(error)
        if is_of_storage(error) and not any(words in str(error) for words in _OF_ANOTHER_OBJECT):
            with store.explained("read", paths[0] if len(paths) == 1 else ""):
                raise
        # ``from None``: the message includes the cause, and runs report only the innermost cause.
        raise blame(store, paths, message, isinstance(error, pa.ArrowException | OSError)) from None


def check_unreplaced(store: LakeStore, paths: Sequence[str]) -> None:
    """Raise FilesChanged if files were replaced during a read of an earlier time, which must not return later rows."""
    if isinstance(store, AsOfStore) and store.has_changed(paths):
        raise _LaterRows(f"a run replaced files of {store.uri} while they were read: try again")


def blame(store: LakeStore, paths: Sequence[str], message: str, by_arrow: bool) -> DamagedFile | FilesChanged:
    """Return the error for files that a reader could not decode; ``message`` is its text.

    ``by_arrow`` says that the reader was Arrow.
    """
    path = _first_damaged(store, paths, by_arrow)
    if path is not None:
        return DamagedFile(f"{store.polars_uri(path)} is damaged: {message}. {remedy(store, path)}")
    files = store.polars_uri(paths[0]) if len(paths) == 1 else f"{len(paths)} files of {store.uri}"
    return FilesChanged(
        f"cannot read {files}, although each file can be read alone: {message}. A run is replacing files; try again"
    )


def unchanged(read: Callable[[], T], version: Callable[[], object], tries: int = _TRIES) -> T:
    """Return the result of ``read``, which lists and reads files; repeat it if the files change during the read.

    ``version`` returns the files as listed now. If two failures in a row see the same files, the second error is
    raised. Raises FilesChanged if files change during each of ``tries`` reads.
    """
    known: object = None
    for number in range(tries):
        try:
            return read()
        except (DamagedFile, FilesChanged, FileNotFoundError) as error:
            now = version()
            if number and now == known and not isinstance(error, _LaterRows):
                raise
            known, failure = now, error
        time.sleep(_PAUSE * number)
    if isinstance(failure, FileNotFoundError):
        raise FilesChanged(
            f"a file disappeared while it was read: {first_line(failure)}. A run is replacing files; try again"
        )
    raise failure


def scan_alone(store: LakeStore, path: str) -> pl.LazyFrame:
    """Return the rows of one file with the file's own columns, whatever the schema of its table."""
    return pl.scan_parquet(
        store.polars_uri(path),
        glob=False,
        hive_partitioning=False,
        storage_options=store.polars_options(),
        credential_provider=store.polars_credentials(),
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, without a full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def is_of_storage(error: BaseException) -> bool:
    """Whether the storage refused. Arrow also raises plain OSErrors, without a number, on invalid bytes."""
    if not isinstance(error, OSError):
        return False
    marks = ("AWS Error", "object-store error")
    return type(error) is not OSError or error.errno is not None or any(mark in str(error) for mark in marks)


def _first_damaged(store: LakeStore, paths: Sequence[str], by_arrow: bool) -> str | None:
    """Return the first file with an unreadable footer, else the first with unreadable rows or wrong column types.

    If Arrow refused, Arrow reads the files too: Arrow and Polars do not refuse the same files.
    """
    checks: list[Callable[[str], object]] = [
        lambda path: scan_alone(store, path).collect_schema(),
        lambda path: scan_alone(store, path).select(pl.all().null_count()).collect(engine="streaming"),
        lambda path: check_columns(path, scan_alone(store, path).collect_schema()),
    ]
    if by_arrow:
        checks.append(lambda path: _decode(store, path))
    return next((path for check in checks for path in paths if _fails(store, path, check)), None)


def _fails(store: LakeStore, path: str, check: Callable[[str], object]) -> bool:
    """Whether a file cannot be read and was not replaced meanwhile. A file that disappeared is not damaged."""
    while (before := store.find(path)) is not None:
        try:
            check(path)
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


def check_columns(path: str, columns: Mapping[str, pl.DataType]) -> None:
    """Raise SchemaError if columns of a file have another type than in its table; it names them.

    Missing columns are allowed: files of an older layout are read with nulls in these columns.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        return
    wanted = pl.DataFrame(_slice(match).schema.empty()).schema
    others = [
        f"{name} is {columns[name]} and not {kind}" for name, kind in wanted.items() if columns.get(name, kind) != kind
    ]
    if others:
        raise pl.exceptions.SchemaError(f"its columns do not match its table: {', '.join(others)}")
