"""Metrics for Prometheus, of one worker process or, by files in a shared folder, of all of them."""

from __future__ import annotations

import os
import time

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from crypto_lakehouse.api.call import Call

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable of prometheus_client that names the shared folder; it is set before several workers start."""

_PREFIX = "crypto_lakehouse_serve"
_REQUESTS = Counter(f"{_PREFIX}_requests", "Requests that were answered.", ["route", "method", "status", "outcome"])
_SECONDS = Histogram(
    f"{_PREFIX}_seconds",
    "Time from a request to the end of its answer.",
    ["route"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600),
)
_ROWS = Counter(f"{_PREFIX}_rows", "Rows that were sent.", ["route"])
_BYTES = Counter(f"{_PREFIX}_bytes", "Bytes that were sent, after compression.", ["route"])
RUNNING = Gauge(f"{_PREFIX}_running", "Requests that are being answered.", multiprocess_mode="livesum")

MEDIA_TYPE = CONTENT_TYPE_LATEST


def count(call: Call, method: str) -> None:
    """Count a request that has ended."""
    _REQUESTS.labels(call.route, method, str(call.status), call.outcome).inc()
    _SECONDS.labels(call.route).observe(time.monotonic() - call.start)
    _ROWS.labels(call.route).inc(call.rows)
    _BYTES.labels(call.route).inc(call.bytes)


def exposition() -> bytes:
    """All metrics in Prometheus' text format."""
    if FOLDER not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return generate_latest(registry)
