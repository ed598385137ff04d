"""Shared by the modules of the command line: parsers of arguments, loading of settings, and errors in words.

Commands are in the other modules of ``cli``. Nothing here imports Dagster.
"""

from __future__ import annotations

import gc
import logging
import math
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from crypto_lakehouse import interrupts
from crypto_lakehouse.catalog import Cadence, parse_partition
from crypto_lakehouse.catalog.extras import explain_missing
from crypto_lakehouse.catalog.names import check_number
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.cli.console import say

if TYPE_CHECKING:
    from crypto_lakehouse.lake.storage.store import LakeStore
    from crypto_lakehouse.settings import Settings


# What people of other programs, and of the reader, type, and the options that mean it here.
_MEANT = {"--start": ("--from",), "--end": ("--to",), "--last": ("--days", "--from")}
_DAY_OR_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}(-[0-9]{2})?")


class Commands(TyperGroup):
    """Commands that suggest the option of the same meaning for one that they do not have."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command that the arguments name."""
        try:
            return super().invoke(ctx)
        except typer.TyperException as error:
            # The class of this error has no public name.
            command = getattr(getattr(error, "ctx", None), "command", None)
            known = [name for each in getattr(command, "params", ()) for name in each.opts]
            meant = [name for name in _MEANT.get(getattr(error, "option_name", ""), ()) if name in known]
            if meant:
                vars(error)["possibilities"] = meant[:1]
            raise


class Program(typer.Typer):
    """The command line as a process: SIGINT ends it with exit code 130 and SIGTERM with 143.

    A command whose packages are not installed names the extra that has them, and exits with 2.
    """

    # Dagster, Numba and their like are some hundred thousand objects that live as long as the process. Python would
    # look for garbage among them many times while they load, and free them one by one at the end of each command.
    _NEW_OBJECTS_BETWEEN_COLLECTIONS = 10_000

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command that the arguments name, and exit the process."""
        gc.set_threshold(self._NEW_OBJECTS_BETWEEN_COLLECTIONS)
        try:
            try:
                interrupts.install()
                return super().__call__(*args, **kwargs)
            finally:
                interrupts.ignore()
                # DuckDB writes to stderr about each of its objects that is not freed.
                if "duckdb" not in sys.modules:
                    gc.freeze()
        except SystemExit as end:
            # Click exits with 130 for SIGTERM, too.
            if interrupts.received() and end.code == 128 + signal.SIGINT:
                raise SystemExit(interrupts.exit_code()) from None
            raise
        except interrupts.Interrupted:
            raise SystemExit(interrupts.exit_code()) from None
        except ModuleNotFoundError as error:
            reason = explain_missing(error)
            if reason is None:
                raise
            say(Console(stderr=True), f"error: {reason}")
            raise SystemExit(2) from None


def first_day(text: str | date) -> date:
    """Parse a ``YYYY-MM-DD`` argument; of a month (``YYYY-MM``) the first day. Raises BadParameter (wrong usage)."""
    return text if isinstance(text, date) else _days(text)[0]


def last_day(text: str | date) -> date:
    """Parse a ``YYYY-MM-DD`` argument; of a month (``YYYY-MM``) the last day. Raises BadParameter (wrong usage)."""
    return text if isinstance(text, date) else _days(text)[1] - timedelta(days=1)


def _days(text: str) -> tuple[date, date]:
    cadence = Cadence.MONTHLY if text.count("-") == 1 else Cadence.DAILY
    try:
        return parse_partition(text, cadence)
    except ValueError as error:
        if _DAY_OR_MONTH.fullmatch(text):
            raise typer.BadParameter(str(error)) from None
        hint = "; a range has whole UTC days" if _DAY_OR_MONTH.match(text) else ""
        raise typer.BadParameter(f"{text!r} is not a day such as 2024-01-31 or a month such as 2024-01{hint}") from None


def check_range(first: date | None, last: date | None, recent: str | None = None) -> None:
    """End with exit code 2 if --from, --to and --last do not fit together."""
    if first is not None and recent is not None:
        fail("--from and --last both say where the range starts: leave out one of them", 2)
    if first is not None and last is not None and last < first:
        fail(f"--to {last} is before --from {first}: swap them", 2)


def check_repeated(**options: Sequence[str] | None) -> None:
    """End with exit code 2 if an option that can be repeated has a list with commas."""
    for name, values in options.items():
        for value in values or ():
            if "," in value:
                each = " ".join(f"--{name} {entry.strip()}" for entry in value.split(",") if entry.strip())
                fail(f"--{name} {value}: repeat the option for each: {each}", 2)


def month(text: str) -> str:
    """Check a ``YYYY-MM`` argument and return it. Raises BadParameter (wrong usage) for anything else."""
    try:
        parse_partition(text, Cadence.MONTHLY)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return text


def whole(least: int, most: int | None = None) -> Callable[[str | int], int]:
    """A parser of whole numbers from ``least`` to ``most``, inclusive, in digits 0 to 9; raises BadParameter."""

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
    """Parse a number in digits 0 to 9. Raises BadParameter (wrong usage) for anything else."""
    try:
        return float(check_number(str(text)))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def exact_number(text: str | Decimal) -> Decimal:
    """Parse a decimal number in digits 0 to 9, exactly. Raises BadParameter (wrong usage) for anything else."""
    if not math.isfinite(decimal_number(str(text))):
        raise typer.BadParameter(f"{text} is not a number: write 0.0005 for 0.05 %")
    return Decimal(str(text))


def symbol_list(text: str) -> str:
    """Check a list of symbol names and patterns and return it. Raises BadParameter (wrong usage) for a bad entry."""
    try:
        SymbolFilter.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return text


def quiet_dagster() -> None:
    """Hide messages of Dagster that a user cannot act on: events, and notes about its own features."""
    logging.getLogger("dagster").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="Found asset job named")
    # Dagster logs each failed PostgreSQL connection in several lines; the command's last sentence reports it once.
    logging.getLogger().addFilter(lambda record: "failed database connection" not in str(record.msg))


def fail(error: Exception | str, code: int) -> NoReturn:
    """Print the error on stderr and exit with ``code``."""
    say(Console(stderr=True), f"error: {error}")
    raise typer.Exit(code)


def load_settings() -> Settings:
    """Load the settings. If one is wrong, print which and exit with 2."""
    from crypto_lakehouse.settings import Settings, SettingsError

    try:
        return Settings.load()
    except SettingsError as error:
        fail(error, 2)


def open_lake(settings: Settings) -> LakeStore:
    """Open the lake of the settings. Raises LakeError if that fails."""
    from crypto_lakehouse.lake.storage.store import LakeStore

    return LakeStore.open(settings.lake_uri, settings.s3_endpoint_url, settings.s3_region)


@contextmanager
def explained() -> Iterator[None]:
    """Print an error of the archive, the lake, Dagster's records or the disk in words, and exit with 1."""
    from crypto_lakehouse.archive.model import ArchiveError
    from crypto_lakehouse.lake.storage.store import LakeError
    from crypto_lakehouse.orchestration.records_error import RecordsError

    try:
        yield
    except (ArchiveError, LakeError, RecordsError) as error:
        fail(error, 1)
    except OSError as error:
        fail(_in_words(error), 1)


def _in_words(error: OSError) -> str:
    """What the system refused, and what to check. Errors without a path have words of their own."""
    if not (error.filename and error.strerror):
        return str(error)
    return (
        f"cannot use {error.filename}: {error.strerror}. Check that its folder exists and that this user may read and"
        " write it, or name another folder"
    )
