"""The private members of Dagster that this package uses, and why. No other module imports private modules of Dagster.

They may change with any minor version, so ``pyproject.toml`` has an upper bound. To raise it, check each of these.

- A run of the command line is recorded with the origin of the code location: ``execute_run`` and ``InMemoryJob`` run it
  in this process, ``RemoteJobOrigin`` and its parts are its origin. ``JobExecutionResult`` is its result,
  ``RunFailureReason`` and ``SerializableErrorInfo`` say why it failed.
- What a check found when it last ran is read from Dagster's records: a run that is still
  on its way to the check has another ``AssetCheckExecutionRecordStatus``.
- The answer of a launcher to the question whether a run lives: ``CheckRunHealthResult`` and ``WorkerStatus``.
- The storage of Dagster's records, chosen by environment variables: ``DagsterStorage``, ``DagsterSqliteStorage``,
  ``SqliteEventLogStorage``, its base ``SqlEventLogStorage`` and its table ``SqlEventLogStorageTable``,
  ``SQLITE_BUSY_TIMEOUT_SECONDS``, ``LocalArtifactStorage`` and ``LocalComputeLogManager``, configured through
  ``ConfigurableClass`` and ``ConfigurableClassData``.
"""

from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.events import RunFailureReason
from dagster._core.execution.api import execute_run
from dagster._core.execution.job_execution_result import JobExecutionResult
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster._utils.error import SerializableErrorInfo

__all__ = [
    "SINGLETON_REPOSITORY_NAME",
    "SQLITE_BUSY_TIMEOUT_SECONDS",
    "AssetCheckExecutionRecordStatus",
    "CheckRunHealthResult",
    "ConfigurableClass",
    "ConfigurableClassData",
    "DagsterSqliteStorage",
    "DagsterStorage",
    "InMemoryJob",
    "JobExecutionResult",
    "LoadableTargetOrigin",
    "LocalArtifactStorage",
    "LocalComputeLogManager",
    "ManagedGrpcPythonEnvCodeLocationOrigin",
    "RemoteJobOrigin",
    "RemoteRepositoryOrigin",
    "RunFailureReason",
    "SerializableErrorInfo",
    "SqlEventLogStorage",
    "SqlEventLogStorageTable",
    "SqliteEventLogStorage",
    "WorkerStatus",
    "execute_run",
]
