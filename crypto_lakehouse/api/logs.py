"""Logs as JSON, one object a line on stderr, without secrets: an audit line for each request, and errors.

An audit line has checked arguments only. Whatever looks like a token is masked, in errors of libraries too.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any

from crypto_lakehouse.api.call import Call
from crypto_lakehouse.api.tokens import PATTERN

AUDIT = logging.getLogger("crypto_lakehouse.audit")
ERRORS = logging.getLogger("crypto_lakehouse.serve")


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return PATTERN.sub("clh_***", json.dumps(line, default=str))


def configure_logs() -> None:
    """Send everything that this process logs to stderr as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # The audit line has all that an access log has.
    logging.getLogger("uvicorn.access").disabled = True


def audit(call: Call, method: str, client: str) -> None:
    """Log who asked for what, and what was sent."""
    facts = {
        "request": call.id,
        "who": call.caller,
        "client": client,
        "method": method,
        "what": call.route,
        **call.facts,
        "status": call.status,
        "outcome": call.outcome,
        "rows": call.rows,
        "bytes": call.bytes,
        "ms": round((time.monotonic() - call.start) * 1000, 1),
    }
    AUDIT.info("request", extra={"facts": facts})
