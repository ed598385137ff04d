"""What the modules of the command line share: arguments that several commands take, settings, errors as words.

A command itself belongs in ``cli.py`` or ``cli_*.py``. Nothing here imports Dagster.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from rich.console import Console

from crypto_lakehouse import interrupts
from crypto_lakehouse.catalog import Cadence, parse_date, parse_partition
from crypto_lakehouse.catalog.names import check_number
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.console import say
from crypto_lakehouse.environment import Environment, SettingsError

if TYPE_CHECKING:
    from crypto_lakehouse.lake.store import LakeStore


class Program(typer.Typer):
    """The command line as a process: a signal ends it with 130 or 143, until the exit code is decided."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command that the arguments name, and end the process."""
        try:
            try:
                interrupts.install()
                return super().__call__(*args, **kwargs)
            finally:
                interrupts.ignore()
        except SystemExit as end:
            # Click ends with 130, whatever the signal was.
            if interrupts.received() and end.code == 128 + signal.SIGINT:
                raise SystemExit(interrupts.exit_code()) from None
            raise
        except interrupts.Interrupted:
            raise SystemExit(interrupts.exit_code()) from None


def day(text: str | date) -> date:
    """A ``YYYY-MM-DD`` of the command line; anything else is wrong usage."""
    try:
        return text if isinstance(text, date) else parse_date(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text}: {error}") from None


def month(text: str) -> str:
    """A ``YYYY-MM`` of the command line; anything else is wrong usage."""
    try:
        parse_partition(text, Cadence.MONTHLY)
    except ValueError as error:
        raise typer.BadParameter(f"{text}: {error}") from None
    return text


def whole(least: int, most: int | None = None) -> Callable[[str | int], int]:
    """A parser of whole numbers of the command line, in the digits 0 to 9; anything else is wrong usage."""

    def parse(text: str | int) -> int:
        try:
            number = int(check_number(str(text)))
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        if number < least or (most is not None and number > most):
            wanted = f"{least} or more" if most is None else f"{least} to {most}"
            raise typer.BadParameter(f"{number}: use {wanted}")
        return number

    return parse


def decimal_number(text: str | float) -> float:
    """A number of the command line, in the digits 0 to 9; anything else is wrong usage."""
    try:
        return float(check_number(str(text)))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def symbol_list(text: str) -> str:
    """A list of names and patterns of the command line, as it is; a bad entry is wrong usage."""
    try:
        SymbolFilter.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return text


def fail(error: Exception | str, code: int) -> NoReturn:
    """Say the error on stderr and end with ``code``."""
    say(Console(stderr=True), f"error: {error}")
    raise typer.Exit(code)


def load_settings() -> Environment:
    """The settings; wrong ones are named and end the process with 2."""
    try:
        return Environment.load()
    except SettingsError as error:
        fail(error, 2)


def open_lake(settings: Environment) -> LakeStore:
    """The lake of the settings. Raises LakeError where it cannot be opened."""
    from crypto_lakehouse.lake.store import LakeStore

    return LakeStore.open(settings.lake_uri, settings.s3_endpoint_url, settings.s3_region)


@contextmanager
def explained() -> Iterator[None]:
    """What the archive, the lake, Dagster's records or the disk refused, as words; the exit code is 1."""
    from crypto_lakehouse.archive.model import ArchiveError
    from crypto_lakehouse.lake.store import LakeError
    from crypto_lakehouse.orchestration.home import HomeError

    try:
        yield
    except (ArchiveError, LakeError, HomeError, OSError) as error:
        fail(error, 1)
