"""Errors of Dagster's storage as one sentence that says what happened and what to check."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, TextIO, cast

import psycopg2  # type: ignore[import-untyped]
import yaml  # type: ignore[import-untyped]
from alembic.util.exc import CommandError

from crypto_lakehouse.orchestration.home import HomeError, PostgresSettings, records_folder

_LITTLE = 1 << 20
# Dagster writes each of these notes, of several lines, in one call.
_NOTES = (
    "Exception while storing event batch",
    "Falling back to storing multiple single-event",
    "Exception while writing logger call to event log",
)


@contextmanager
def opening() -> Iterator[None]:
    """Turn errors of Dagster's storage into HomeError: one sentence that says what to check."""
    try:
        yield
    except OSError as error:
        raise _folder_refusal(error) from error
    except Exception as error:
        if (sentence := explain(error)) is None:
            raise
        raise sentence from error


class _WithoutNotes:
    """A stream that drops Dagster's notes about a failing storage; Dagster raises the same error afterwards."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        return len(text) if text.startswith(_NOTES) else self._stream.write(text)


@contextmanager
def without_notes() -> Iterator[None]:
    """Keep Dagster's notes about a failing storage off stderr: the error itself becomes the sentence."""
    with redirect_stderr(cast("TextIO", _WithoutNotes(sys.stderr))):
        yield


def explain(error: BaseException) -> HomeError | None:
    """The HomeError for a fault of Dagster's records, None for any other error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, HomeError):
            return cause
        if isinstance(cause, sqlite3.Error):
            return _sqlite_refusal(_first_line(cause))
        if isinstance(cause, psycopg2.Error):
            settings = PostgresSettings.load(os.environ)
            return settings.refusal(_first_line(cause).rpartition(" failed: ")[2]) if settings else None
        if isinstance(cause, CommandError):
            return _sqlite_refusal(_first_line(cause))
        if isinstance(cause, yaml.YAMLError):
            return HomeError(f"the dagster.yaml of DAGSTER_HOME is not valid YAML: {' '.join(str(cause).split())}")
        cause = cause.__cause__ or cause.__context__
    return None


def _folder_refusal(error: OSError) -> HomeError:
    """The error for a home whose folder or files cannot be created."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full(records_folder())
    home = Path(os.environ["DAGSTER_HOME"]).resolve()
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return HomeError(f"DAGSTER_HOME={home} is a file or lies below a file: set DAGSTER_HOME to a folder")
    return HomeError(
        f"cannot write DAGSTER_HOME={home} ({error.strerror or error}): set DAGSTER_HOME to a folder that this user can"
        " write, or correct the permissions"
    )


def _full(folder: Path) -> HomeError:
    return HomeError(
        f"the disk of DAGSTER_HOME is full, so Dagster's records in {folder} cannot be written: free some space there"
        " and repeat the command; what is stored stays"
    )


def _sqlite_refusal(reason: str) -> HomeError:
    folder = records_folder()
    if "full" in reason or _free_bytes(folder) < _LITTLE:
        return _full(folder)
    if any(name in reason for name in ("readonly", "unable to open", "locked", "denied", "Read-only")):
        return HomeError(
            f"Dagster's records in {folder} cannot be written ({reason}): check the owner and the permissions of this"
            " folder and of its files, and that no other program has locked them"
        )
    return HomeError(
        f"Dagster's records in {folder} are broken ({reason}): move them away with mv {shlex.quote(str(folder))}"
        f" {shlex.quote(f'{folder}.broken')} and repeat the command; the lake keeps all rows, and the history of"
        " runs starts again"
    )


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
