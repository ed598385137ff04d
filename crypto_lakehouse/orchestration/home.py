"""DAGSTER_HOME: its folder, its ``dagster.yaml``, and the settings of PostgreSQL.

``storage.py`` opens the storage, ``home_faults.py`` turns its faults into sentences. Nothing here imports Dagster or a
database.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click
import yaml  # type: ignore[import-untyped]

from crypto_lakehouse.orchestration.records_error import RecordsError

PREFIX = "DAGSTER_POSTGRES_"
_REQUIRED = ("HOST", "USER", "PASSWORD", "DB")
_NAMES = (*_REQUIRED, "PORT")
_CONFIGURATION = "dagster.yaml"
FROM_ENVIRONMENT = "StorageFromEnvironment"
"""Class of ``storage.py``: PostgreSQL if ``DAGSTER_POSTGRES_*`` are set, else SQLite."""
SQLITE = "SqliteInHome"
"""Class of ``storage.py``: SQLite, even if ``DAGSTER_POSTGRES_*`` are set."""
_NEW_HOME = """# Dagster's home. The command line wrote this file because the folder had no dagster.yaml.
storage:
  custom:
    module: crypto_lakehouse.orchestration.storage
    class: {storage}
    config: {{}}
telemetry:
  enabled: false
nux:
  enabled: false
"""


class HomeError(click.ClickException, RecordsError):
    """Dagster's records cannot be opened or written. Dagster's own commands print it as one line, too."""


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """Address and credentials of the PostgreSQL server that holds Dagster's records."""

    host: str
    user: str
    password: str = field(repr=False)
    database: str
    port: int = 5432

    @classmethod
    def load(cls, settings: Mapping[str, str]) -> PostgresSettings | None:
        """Read ``DAGSTER_POSTGRES_*``; None if none is set. Raises HomeError that names the wrong variable."""
        given = {
            name.removeprefix(PREFIX): value for name, value in settings.items() if name.startswith(PREFIX) and value
        }
        if not given:
            return None
        known = ", ".join(PREFIX + name for name in _NAMES)
        if unknown := sorted(given.keys() - set(_NAMES)):
            raise HomeError(f"no setting {', '.join(PREFIX + name for name in unknown)}; there are {known}")
        if missing := [name for name in _REQUIRED if name not in given]:
            present = ", ".join(PREFIX + name for name in sorted(given))
            raise HomeError(f"set {', '.join(PREFIX + name for name in missing)} too, or unset {present}")
        port = given.get("PORT", "5432")
        if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
            raise HomeError(f"{PREFIX}PORT={port} is not a port: set a number from 1 to 65535")
        return cls(given["HOST"], given["USER"], given["PASSWORD"], given["DB"], int(port))

    def refusal(self, reason: str) -> HomeError:
        """The error for a server that cannot be used."""
        return HomeError(
            f"PostgreSQL at {self.host}:{self.port} does not store Dagster's records ({reason}): check that the server"
            f" runs, has disk space and accepts {PREFIX}USER, _PASSWORD and _DB, then repeat the command; what is"
            " stored stays"
        )


def records_folder() -> Path:
    """The folder of Dagster's SQLite and other files: ``$DAGSTER_HOME/.dagster``. Raises HomeError if it is not set."""
    if not os.environ.get("DAGSTER_HOME"):
        raise HomeError("DAGSTER_HOME is not set: set it to the folder of dagster.yaml, for example DAGSTER_HOME=$PWD")
    home = Path(os.environ["DAGSTER_HOME"]).resolve()
    return home if home.name == ".dagster" else home / ".dagster"


def furnish(home: Path, storage: str) -> None:
    """Write a ``dagster.yaml``, whole or not at all, into a home that has none.

    Skips a home with records that Dagster itself wrote without a ``dagster.yaml``: a new file would hide them.
    """
    home.mkdir(parents=True, exist_ok=True)
    if (home / _CONFIGURATION).exists() or (home / "history" / "runs.db").exists():
        return
    draft = home / f".{_CONFIGURATION}.{os.getpid()}"
    try:
        draft.write_text(_NEW_HOME.format(storage=storage), encoding="utf-8")
        draft.replace(home / _CONFIGURATION)
    finally:
        draft.unlink(missing_ok=True)


def is_new(home: Path, settings: Mapping[str, str]) -> bool:
    """Whether a home has no records yet, neither in SQLite nor in the PostgreSQL of the ``settings``.

    A dagster.yaml of the user may name another storage, so with one the home is not new.
    """
    if PostgresSettings.load(settings) is not None:
        return False
    folders = (home, home / ".dagster")
    if any((folder / "history" / "runs.db").exists() for folder in folders):
        return False
    file = home / _CONFIGURATION
    if not file.exists():
        return True
    try:
        configuration = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        # Opening the home says what is wrong.
        return False
    return FROM_ENVIRONMENT in configuration or SQLITE in configuration


def refuse_ignored_postgres(settings: Mapping[str, str]) -> None:
    """Raise HomeError if ``DAGSTER_POSTGRES_*`` are set and Dagster's configuration does not use them."""
    if PostgresSettings.load(settings) is None:
        return
    home = settings.get("DAGSTER_HOME")
    file = Path(home or "") / _CONFIGURATION
    try:
        configuration = str(yaml.safe_load(file.read_text(encoding="utf-8"))) if home else ""
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        configuration = ""
    if not any(name in configuration for name in ("postgres", FROM_ENVIRONMENT, SQLITE)):
        reason = f"{file} does not use it" if home else "DAGSTER_HOME is not set"
        raise HomeError(
            f"{PREFIX}HOST is set, but {reason}: set DAGSTER_HOME to a folder with the project's dagster.yaml,"
            f" or unset the variables {PREFIX}*"
        )
