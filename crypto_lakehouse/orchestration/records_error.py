"""The error for Dagster's records. It imports nothing, so that a command without Dagster can catch it."""

from __future__ import annotations


class RecordsError(Exception):
    """Dagster's records cannot be opened or written: one sentence."""
