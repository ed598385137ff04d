"""Dagster's own storage: SQLite, or PostgreSQL where DAGSTER_POSTGRES_HOST is set; files in ``$DAGSTER_HOME``.

``dagster.yaml`` names these classes, because the file itself cannot choose between two kinds of storage,
and takes relative folders from the working directory rather than from its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg2  # type: ignore[import-untyped]
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from sqlalchemy import URL

from crypto_lakehouse.orchestration.home import PostgresSettings, records_folder
from crypto_lakehouse.orchestration.home_faults import opening
from crypto_lakehouse.orchestration.sqlite_storage import SqliteStorage

_CONNECT_SECONDS = 10
# Any number that no other program takes in the same database.
_FIRST_OPENING = 0x1A4E_D465_7E12


def _folder() -> Path:
    folder = records_folder()
    with opening():
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _batch_events() -> None:
    """Without it Dagster writes every event of a batch by itself."""
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")


class StorageFromEnvironment(DagsterStorage, ConfigurableClass):
    """Factory only: ``from_config_value`` gives Dagster's own SQLite or PostgreSQL storage."""

    @classmethod
    def config_type(cls) -> Any:
        """No configuration in the file: all of it comes from ``DAGSTER_POSTGRES_*`` and ``DAGSTER_HOME``."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        """The storage. Raises HomeError that names the variables where PostgreSQL is half configured."""
        settings = PostgresSettings.load(os.environ)
        if settings is None:
            return SqliteInHome.from_config_value(inst_data, config_value)
        _batch_events()
        return _open_postgres(settings, inst_data)


def _open_postgres(settings: PostgresSettings, inst_data: ConfigurableClassData | None) -> Any:
    """Dagster's PostgreSQL storage. Commands that open an empty database at once make its tables one by one."""
    from crypto_lakehouse.orchestration.postgres_storage import PostgresStorage

    url = URL.create(
        # SQLAlchemy 2.1 takes psycopg 3 for a bare "postgresql".
        "postgresql+psycopg2",
        username=settings.user,
        password=settings.password,
        host=settings.host,
        port=settings.port,
        database=settings.database,
        query={"connect_timeout": str(_CONNECT_SECONDS)},
    )
    with opening():
        # Dagster tries each refused connection six times, with a warning of several lines for each.
        connection = psycopg2.connect(
            host=settings.host,
            port=settings.port,
            user=settings.user,
            password=settings.password,
            dbname=settings.database,
            connect_timeout=_CONNECT_SECONDS,
        )
        try:
            with connection.cursor() as cursor:
                # The end of the connection releases the lock.
                cursor.execute("SELECT pg_advisory_lock(%s)", [_FIRST_OPENING])
            text = url.render_as_string(hide_password=False)
            return PostgresStorage(text, inst_data)
        finally:
            connection.close()


class SqliteInHome(DagsterStorage, ConfigurableClass):
    """Factory only: SQLite in ``$DAGSTER_HOME/.dagster``, whatever ``DAGSTER_POSTGRES_*`` say."""

    @classmethod
    def config_type(cls) -> Any:
        """No configuration."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        """The storage."""
        del config_value
        _batch_events()
        with opening():
            return SqliteStorage(_folder(), inst_data)


class ArtifactsInHome(LocalArtifactStorage):
    """Factory only: Dagster's own artifact storage in ``$DAGSTER_HOME/.dagster``."""

    @classmethod
    def config_type(cls) -> Any:
        """No configuration."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Any:
        """The artifact storage."""
        del config_value
        return LocalArtifactStorage(str(_folder()), inst_data)


class ComputeLogsInHome(LocalComputeLogManager):
    """Factory only: Dagster's own logs of what steps print, in ``$DAGSTER_HOME/.dagster``."""

    @classmethod
    def config_type(cls) -> Any:
        """No configuration."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Any:
        """The log manager."""
        del config_value
        return LocalComputeLogManager(str(_folder() / "compute_logs"), inst_data=inst_data)
