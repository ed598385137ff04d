"""Dagster's own storage: PostgreSQL if DAGSTER_POSTGRES_HOST is set, else SQLite; files in ``$DAGSTER_HOME``, logs also
on S3.

``dagster.yaml`` names these classes, because the file itself cannot choose between two kinds of storage, and resolves
relative folders from the working directory rather than from its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg2  # type: ignore[import-untyped]
from sqlalchemy import URL

from crypto_lakehouse.orchestration.home import HomeError, PostgresSettings, records_folder
from crypto_lakehouse.orchestration.home_faults import opening
from crypto_lakehouse.orchestration.private_dagster import (
    ConfigurableClass,
    ConfigurableClassData,
    DagsterStorage,
    LocalArtifactStorage,
    LocalComputeLogManager,
)
from crypto_lakehouse.orchestration.sqlite_storage import SqliteStorage
from crypto_lakehouse.settings import Settings, SettingsError

_CONNECT_SECONDS = 10
# The number of an advisory lock: any that no other program uses in the same database.
_FIRST_OPENING = 0x1A4E_D465_7E12


def _folder() -> Path:
    folder = records_folder()
    with opening():
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _batch_events() -> None:
    """Switch on batches: without this variable Dagster writes each event of a batch separately."""
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")


class StorageFromEnvironment(DagsterStorage, ConfigurableClass):
    """Factory only: ``from_config_value`` returns Dagster's SQLite or PostgreSQL storage."""

    @classmethod
    def config_type(cls) -> Any:
        """No configuration in the file: it all comes from ``DAGSTER_POSTGRES_*`` and ``DAGSTER_HOME``."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        """Open the storage. Raises HomeError that names missing variables of PostgreSQL."""
        settings = PostgresSettings.load(os.environ)
        if settings is None:
            return SqliteInHome.from_config_value(inst_data, config_value)
        _batch_events()
        return _open_postgres(settings, inst_data)


def _open_postgres(settings: PostgresSettings, inst_data: ConfigurableClassData | None) -> Any:
    """Open Dagster's PostgreSQL storage under a lock: of several commands at once, one creates the tables."""
    from crypto_lakehouse.orchestration.postgres_storage import PostgresStorage

    url = URL.create(
        # SQLAlchemy 2.1 uses psycopg 3 for a bare "postgresql".
        "postgresql+psycopg2",
        username=settings.user,
        password=settings.password,
        host=settings.host,
        port=settings.port,
        database=settings.database,
        query={"connect_timeout": str(_CONNECT_SECONDS)},
    )
    with opening():
        # Connect first: Dagster would retry a refused connection six times, with a warning of several lines each.
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
                # Closing the connection releases the lock.
                cursor.execute("SELECT pg_advisory_lock(%s)", [_FIRST_OPENING])
            text = url.render_as_string(hide_password=False)
            return PostgresStorage(text, inst_data)
        finally:
            connection.close()


class SqliteInHome(DagsterStorage, ConfigurableClass):
    """Factory only: SQLite in ``$DAGSTER_HOME/.dagster``, even if ``DAGSTER_POSTGRES_*`` are set."""

    @classmethod
    def config_type(cls) -> Any:
        """No configuration."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        """Open the storage."""
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
        """Open the artifact storage."""
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
        """Open the log manager."""
        del config_value
        return LocalComputeLogManager(str(_folder() / "compute_logs"), inst_data=inst_data)


class ComputeLogsFromEnvironment(ComputeLogsInHome):
    """Factory only: what steps print, on S3 if the settings say so (``Settings.compute_logs_uri``), else as files."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Any:
        """Open the log manager. Raises HomeError if the settings are wrong or S3 has no credentials."""
        try:
            settings = Settings.load()
        except SettingsError as error:
            raise HomeError(str(error)) from None
        if not settings.compute_logs_uri:
            return super().from_config_value(inst_data, config_value)
        from crypto_lakehouse.orchestration.s3_logs import open_logs

        return open_logs(settings, str(_folder() / "compute_logs"), inst_data)
