"""What the client of a REST API returns and raises: answers, and errors in this project's own words.

Requests are in ``requests.py``, the client in ``client.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from crypto_lakehouse.rest.requests import RestRequest


class AnswerStatus(StrEnum):
    """What the API said to a request."""

    ANSWERED = "answered"
    EMPTY = "empty"
    """No rows: the API has none in this range at this time."""
    REFUSED = "refused"
    """An error that a retry does not change, such as an unknown symbol."""


@dataclass(frozen=True, slots=True)
class RestAnswer:
    """The answer to one request, as it came.

    Parameters
    ----------
    request
        The request. Pages by id each have their own.
    status
        Whether there are rows. ``reason`` (a code) and ``detail`` (for people) say why a request was refused.
    body
        The bytes of the body; ``sha256`` is theirs.
    rows
        Number of rows in the body.
    server_time
        UTC time that the server's own clock had reached when the request was sent: what was over by then is complete.
    fetched_at
        UTC time of this machine when the answer had arrived.
    """

    request: RestRequest
    status: AnswerStatus
    body: bytes
    sha256: str
    rows: int
    server_time: datetime
    fetched_at: datetime
    reason: str = ""
    detail: str = ""


class RestError(Exception):
    """The API cannot be used now. Says what, where and what to do next; answers that came before are valid."""


class RestBanError(RestError):
    """The API has banned this address, or asks for a longer pause than a run waits; ``until`` is UTC."""

    def __init__(self, message: str, until: datetime) -> None:
        super().__init__(message)
        self.until = until


class RestRefusedError(RestError):
    """The API refuses this place or this client (HTTP 403, 451), or the host does not serve the path (HTTP 404)."""


class RestRequestError(RestError):
    """The API refuses one request, with its own ``code``; others may be answered. ``body`` is its answer."""

    def __init__(self, code: int, message: str, body: bytes) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.body = code, body
