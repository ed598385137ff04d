"""Dagster's own storage, chosen by the environment: SQLite, or PostgreSQL where DAGSTER_POSTGRES_HOST is set.

``dagster.yaml`` names this class, because the file itself cannot choose between two kinds of storage.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster import DagsterStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

_POSTGRES = "DAGSTER_POSTGRES_"


class StorageFromEnvironment(DagsterStorage, ConfigurableClass):
    """Factory only: ``from_config_value`` gives Dagster's own SQLite or PostgreSQL storage."""

    @classmethod
    def config_type(cls) -> Any:
        """No configuration in the file: all of it comes from ``DAGSTER_POSTGRES_*`` and ``DAGSTER_HOME``."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        """The storage. Raises ValueError that names the variables where PostgreSQL is half configured."""
        del config_value
        if not os.environ.get(f"{_POSTGRES}HOST"):
            home = Path(os.environ["DAGSTER_HOME"]).resolve()
            return DagsterSqliteStorage(str(home / ".dagster"), inst_data)
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
