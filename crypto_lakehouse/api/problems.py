"""Errors as problem details (RFC 9457): what went wrong, and what to do next.

``asking`` turns the errors of the reader into problems. Nothing here decides what is an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from starlette.responses import Response

from crypto_lakehouse.lake.reader.sql_limits import QueryLimit
from crypto_lakehouse.lake.storage.as_of import ChangedSnapshot, NoVersion, PurgedVersion
from crypto_lakehouse.lake.storage.damage import DamagedFile, FilesChanged
from crypto_lakehouse.lake.storage.describe import MissingLakeError
from crypto_lakehouse.lake.storage.partitions import MissingPartition
from crypto_lakehouse.lake.storage.store import LakeError

MEDIA_TYPE = "application/problem+json"
_URN = "urn:crypto-lakehouse:problem:"

# Title and what to do next, by the last part of the type.
KINDS: Mapping[str, tuple[int, str, str]] = {
    "wrong-argument": (400, "An argument is wrong", "Correct the argument; /v1/openapi.json lists all of them."),
    "wrong-cursor": (400, "The cursor does not fit", "Start again without cursor, or repeat the other arguments."),
    "no-token": (401, "A token is needed", "Send a valid token: Authorization: Bearer TOKEN, or X-MBX-APIKEY: TOKEN."),
    "not-allowed": (403, "The token does not allow this", "Use a token whose scope includes it."),
    "sql-off": (403, "SQL is off", "Start the server with --sql, or read with the other endpoints."),
    "wrong-host": (403, "The name of the server is not known", "Use 127.0.0.1 or localhost in the URL, or use tokens."),
    "other-site": (403, "A page of another site asks", "Ask from a program, or use tokens."),
    "unknown-name": (404, "A name is unknown", "Use a name that /v1/tables or /v1/symbols lists."),
    "not-built": (404, "The lake does not hold this", "Build it with the command in detail, or read something else."),
    "no-version": (404, "The lake does not hold this version", "Choose another as_of, or leave it out."),
    "no-endpoint": (404, "There is no such endpoint", "/v1/openapi.json lists all endpoints."),
    "wrong-method": (405, "The endpoint has another method", "/v1/openapi.json lists the methods of each endpoint."),
    "no-format": (406, "No format of the Accept header is available", "Accept one of the types in detail."),
    "lake-changed": (409, "The lake has changed", "Start again without cursor."),
    "too-large": (413, "The answer is too large", "Ask for fewer symbols, days or columns, or page with limit."),
    "query-limit": (413, "The query needs too much", "Read less: fewer symbols, days or columns."),
    "too-many-requests": (429, "Too many requests", "Wait as long as Retry-After says."),
    "internal": (500, "The server failed", "Tell the operator the request id; the log has the error."),
    "damaged-file": (500, "A file of the lake is damaged", "Ask the operator to rebuild it."),
    "lake-unavailable": (503, "The lake cannot be read", "Try again later; the log has the reason."),
    "tokens-unreadable": (503, "The tokens cannot be read", "Ask the operator to look at the log."),
    "time-limit": (503, "The request took too long", "Ask for fewer symbols or days."),
}


class Problem(Exception):
    """A request that cannot be answered. ``kind`` is one of KINDS."""

    def __init__(self, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.headers = kind, detail, dict(headers or {})

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.kind][0]

    def response(self, request_id: str) -> Response:
        """The answer."""
        status, title, step = KINDS[self.kind]
        content = {
            "type": f"{_URN}{self.kind}",
            "title": title,
            "status": status,
            "detail": self.detail,
            "next": step,
            "instance": f"urn:crypto-lakehouse:request:{request_id}",
        }
        if status == 401:
            self.headers["WWW-Authenticate"] = 'Bearer realm="crypto-lakehouse"'
        headers = {**self.headers, "Cache-Control": "no-store"}
        return Response(json.dumps(content), status, headers, MEDIA_TYPE)


@contextmanager
def asking(*places: str) -> Iterator[None]:
    """Turn errors of the reader into problems, whose texts do not show the ``places`` (folder, bucket) of the lake."""
    try:
        yield
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        text = error.args[0] if error.args else error
        kind = "unknown-name" if isinstance(error, KeyError) else "wrong-argument"
        raise Problem(kind, without(str(text), places)) from None
    except LakeError as error:
        kind = _kind(error)
        if kind == "lake-unavailable":
            # Its text may name what only the operator should see. The cause goes to the log.
            raise Problem(kind, "the storage of the lake refuses, or is not reachable") from error
        raise Problem(kind, without(str(error), places)) from error


def _kind(error: LakeError) -> str:
    if isinstance(error, MissingLakeError | MissingPartition):
        return "not-built"
    if isinstance(error, NoVersion | PurgedVersion | ChangedSnapshot):
        return "no-version"
    if isinstance(error, QueryLimit):
        return "query-limit"
    if isinstance(error, DamagedFile):
        return "damaged-file"
    return "lake-changed" if isinstance(error, FilesChanged) else "lake-unavailable"


def without(text: str, places: tuple[str, ...]) -> str:
    """The text with the location of the lake replaced by words.

    >>> without("gold.bars_1h in /data/lake has no rows", ("/data/lake",))
    'gold.bars_1h in the lake has no rows'
    """
    for place in sorted(filter(None, places), key=len, reverse=True):
        text = text.replace(place, "the lake")
    return text


def problem_schema() -> dict[str, Any]:
    """The description of a problem for OpenAPI."""
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["type", "title", "status", "detail", "next"],
        "properties": {
            "type": {**text, "enum": [f"{_URN}{kind}" for kind in KINDS]},
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "next": {**text, "description": "What to do next."},
            "instance": text,
        },
        "example": {
            "type": f"{_URN}unknown-name",
            "title": KINDS["unknown-name"][1],
            "status": 404,
            "detail": "no table 'bars_1g' in layer gold; did you mean bars_1h, bars_1d or bars_1w?",
            "next": KINDS["unknown-name"][2],
            "instance": "urn:crypto-lakehouse:request:40de67288dc31bae",
        },
    }
