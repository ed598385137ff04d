"""A log handler for ``dagster.yaml`` that writes what runs report as JSON, one object a line, on stderr.

It writes nothing unless ``LAKEHOUSE_LOG_FORMAT`` is ``json``. Dagster's servers and its daemon have an option of their
own, ``--log-format json``.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from crypto_lakehouse.alert_settings import LogFormat
from crypto_lakehouse.settings import Settings


class JsonHandler(logging.StreamHandler):
    """Writes each record of a run as one line, with the run, job, step, asset and partition where they are known."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self._is_on = Settings.load().log_format is LogFormat.JSON

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, if JSON is switched on."""
        if self._is_on:
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return json.dumps(facts(record), default=str)


def facts(record: logging.LogRecord) -> dict[str, Any]:
    """What a record says, by name. Names whose values are not known are left out."""
    meta = getattr(record, "dagster_meta", None) or {}
    event = getattr(record, "dagster_event", None)
    tags = meta.get("job_tags") or {}
    asset = event.asset_key if event is not None else None
    line: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "message": meta.get("orig_message") or record.getMessage(),
        "event": event.event_type_value if event is not None else None,
        "run": meta.get("run_id"),
        "job": meta.get("job_name"),
        "step": meta.get("step_key"),
        "asset": asset.to_user_string() if asset is not None else None,
        "partition": (event.partition if event is not None else None) or tags.get("dagster/partition"),
        "first": tags.get("dagster/asset_partition_range_start"),
        "last": tags.get("dagster/asset_partition_range_end"),
    }
    return {name: value for name, value in line.items() if value is not None}
