"""Dagster's own storage: SQLite, or PostgreSQL where DAGSTER_POSTGRES_HOST is set; files in ``$DAGSTER_HOME``.

``dagster.yaml`` names these classes, because the file itself cannot choose between two kinds of storage,
and takes relative folders from the working directory rather than from its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from crypto_lakehouse.orchestration.sqlite_storage import SqliteStorage

_POSTGRES = "DAGSTER_POSTGRES_"


def _folder() -> Path:
    home = Path(os.environ["DAGSTER_HOME"]).resolve()
    folder = home if home.name == ".dagster" else home / ".dagster"
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
        """The storage. Raises ValueError that names the variables where PostgreSQL is half configured."""
        if not os.environ.get(f"{_POSTGRES}HOST"):
            return SqliteInHome.from_config_value(inst_data, config_value)
        _batch_events()
        from dagster_postgres import DagsterPostgresStorage

        missing = [n for n in ("USER", "PASSWORD", "DB") if not os.environ.get(f"{_POSTGRES}{n}")]
        if missing:
            raise ValueError(f"{_POSTGRES}HOST is set, so set {', '.join(_POSTGRES + n for n in missing)} too")
        from dagster_postgres.utils import get_conn_string

        url = get_conn_string(
            username=os.environ[f"{_POSTGRES}USER"],
            password=os.environ[f"{_POSTGRES}PASSWORD"],
            hostname=os.environ[f"{_POSTGRES}HOST"],
            port=os.environ.get(f"{_POSTGRES}PORT", "5432"),
            db_name=os.environ[f"{_POSTGRES}DB"],
            # SQLAlchemy 2.1 takes psycopg 3 for a bare "postgresql".
            scheme="postgresql+psycopg2",
        )
        return DagsterPostgresStorage(url, should_autocreate_tables=True, inst_data=inst_data)


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
