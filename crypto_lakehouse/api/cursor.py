"""The cursor of a page of rows: where the next page starts, in text that clients only pass back."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import asdict, dataclass

from crypto_lakehouse.api.problems import Problem

_MOST = 2_000


@dataclass(frozen=True, slots=True)
class Cursor:
    """After ``skip`` rows of the partition ``key``; of the whole range if the table has no partition column.

    ``request`` is a digest of the other arguments, ``state`` of the files of the partition. ``start`` is the start of
    the range in ISO 8601, which was computed from ``last`` for the first page.
    """

    request: str
    key: str | None
    skip: int
    state: str
    start: str | None

    def text(self) -> str:
        """The cursor as text for a URL."""
        return base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str, request: str) -> Cursor:
        """The cursor of a request. Raises Problem if it is none, or that of another request."""
        try:
            if len(text) > _MOST:
                raise ValueError
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            cursor = cls(**json.loads(base64.b64decode(padded, altchars=b"-_", validate=True)))
            texts = (cursor.request, cursor.state, cursor.key or "", cursor.start or "")
            if not all(isinstance(each, str) for each in texts) or type(cursor.skip) is not int or cursor.skip < 0:
                raise ValueError
        except (ValueError, TypeError, binascii.Error, RecursionError):
            raise Problem("wrong-cursor", "the cursor is not one that this server has returned") from None
        if cursor.request != request:
            raise Problem("wrong-cursor", "the cursor is that of a request with other arguments")
        return cursor


def request_digest(*arguments: object) -> str:
    """A short text for the arguments of a request."""
    return hashlib.sha256(repr(arguments).encode("utf-8", "surrogatepass")).hexdigest()[:16]
