"""The description of answers for OpenAPI: formats with examples, headers, and problems."""

from __future__ import annotations

from typing import Any

from crypto_lakehouse.api.formats import MEDIA_TYPES, Form
from crypto_lakehouse.api.problems import MEDIA_TYPE

Responses = dict[int | str, dict[str, Any]]

_TEXT = {"type": "string"}
_HEADERS = {
    "ETag": {"description": "Changes when a file of the answer changes.", "schema": _TEXT},
    "Cache-Control": {"description": "An hour if all days of the range are complete.", "schema": _TEXT},
    "Next-Cursor": {"description": "Where the next page starts; missing on the last one.", "schema": _TEXT},
    "Link": {"description": "The next page, with rel=next.", "schema": _TEXT},
    "Lake-Warning": {"description": "What is missing of the answer, why, and what to do.", "schema": _TEXT},
    "Request-Id": {"description": "The request in the log.", "schema": _TEXT},
}
PROBLEM_NAME = "Problem"
_PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{PROBLEM_NAME}"}}}
_PROBLEMS = {
    400: "An argument is wrong.",
    401: "A token is needed.",
    403: "The token does not allow this.",
    404: "A name is unknown, or the lake does not hold the data.",
    406: "No accepted format is available.",
    409: "The lake has changed.",
    413: "The answer, or what it needs, is too large.",
    429: "Too many requests.",
    500: "The server failed, or a file of the lake is damaged.",
    503: "The lake cannot be read, or the request took too long.",
}


def problems(*codes: int) -> Responses:
    """The problems of an endpoint; all of them by default."""
    return {code: {"description": _PROBLEMS[code], "content": _PROBLEM} for code in codes or _PROBLEMS}


def with_rows(example: dict[str, Any]) -> Responses:
    """The answers of an endpoint with rows, of which ``example`` is one."""
    schema = {
        "type": "object",
        "required": ["rows", "next", "warnings"],
        "properties": {
            "rows": {"type": "array", "items": {"type": "object"}},
            "next": {"type": ["string", "null"], "description": "The cursor of the next page."},
            "warnings": {"type": "array", "items": _TEXT},
        },
    }
    answer = {"rows": [example], "next": None, "warnings": []}
    content: dict[str, Any] = {MEDIA_TYPES[Form.JSON]: {"schema": schema, "example": answer}}
    content |= {MEDIA_TYPES[form]: {"schema": _TEXT} for form in (Form.JSONL, Form.CSV)}
    binary = {"schema": {"type": "string", "format": "binary"}}
    content |= {MEDIA_TYPES[form]: binary for form in (Form.ARROW, Form.PARQUET)}
    return {
        200: {"description": "Rows. Times are ISO 8601 in UTC.", "content": content, "headers": _HEADERS},
        304: {"description": "The answer that the client has (If-None-Match) is still right."},
        **problems(),
    }
