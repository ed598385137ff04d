"""Answers with rows: frames and streams of the reader in the format that the client accepts, within the limits.

``compute`` runs the reader in a thread. A stream is read only as fast as its client takes it, and a thread is busy only
while a batch is read and written.
"""

from __future__ import annotations

import contextvars
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
import polars as pl
import pyarrow as pa
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from crypto_lakehouse.api.call import CALL
from crypto_lakehouse.api.compression import Coding, choose_coding, compressed
from crypto_lakehouse.api.config import ServeConfig
from crypto_lakehouse.api.formats import MEDIA_TYPES, Form, encoded, negotiate
from crypto_lakehouse.api.problems import Problem, asking, without
from crypto_lakehouse.api.states import etag, is_known
from crypto_lakehouse.lake.reader.lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.store import LakeStore

T = TypeVar("T")

BATCH_ROWS = 8_192
"""Rows of a batch. A row is some hundred bytes as text, and an answer holds a few copies of a batch."""
COMPUTED_AT_ONCE = max(2, os.cpu_count() or 1)
"""Answers that one process computes in memory at the same time: bars, panels, queries."""

_VARY = "Accept, Accept-Encoding, Authorization"
_WARNINGS, _WARNING_LENGTH = 5, 1_000


class Service:
    """The open lake, its configuration, and what turns rows into answers."""

    def __init__(self, config: ServeConfig) -> None:
        self.config = config
        self.lake = Lakehouse(config.lake_uri, s3_endpoint_url=config.s3_endpoint_url)
        # Only its listings are used: states of files are no rows.
        self.store = LakeStore.open(config.lake_uri, config.s3_endpoint_url, config.s3_region)
        self._heavy = anyio.Semaphore(COMPUTED_AT_ONCE)
        self.places = (self.store.uri, self.store.root, config.lake_uri if "/" in config.lake_uri else "")

    async def compute_alone(self, work: Callable[[], T]) -> T:
        """``compute`` for what may take much memory: it waits while others are computed."""
        await self._heavy.acquire()
        return await self._in_thread(work, self._heavy.release)

    async def compute(self, work: Callable[[], T]) -> T:
        """Run ``work`` in a thread and return its result. Errors of the reader become problems.

        If the request ends first, the work goes on, and holds the place of the request until it ends.
        """
        return await self._in_thread(work, lambda: None)

    async def _in_thread(self, work: Callable[[], T], release: Callable[[], None]) -> T:
        call, context, start = CALL.get(), contextvars.copy_context(), threading.Lock()
        call.occupy()

        def run() -> T:
            # The request may have ended while this thread was about to start.
            if not start.acquire(blocking=False):
                raise Problem("time-limit", "the request has ended")
            try:
                with asking(*self.places):
                    return context.run(work)
            finally:
                call.leave()
                anyio.from_thread.run_sync(release)

        try:
            return await anyio.to_thread.run_sync(run, abandon_on_cancel=True)
        finally:
            # Either the thread gives back what it holds, or it never starts.
            if start.acquire(blocking=False):
                call.leave()
                release()

    def unchanged(self, request: Request, form: Form | None, digest: str) -> Response | None:
        """The answer to a client that has the right rows already; None if it has not."""
        headers = self._headers(request, form, digest)
        is_right = is_known(request.headers.get("if-none-match", ""), headers["ETag"])
        return Response(status_code=304, headers=headers) if is_right else None

    def frame(
        self,
        request: Request,
        form: Form | None,
        frame: pl.DataFrame | pa.Table,
        cache: str = "private, no-cache",
        digest: str | None = None,
    ) -> Response:
        """The answer with rows that are in memory. Without a digest of their files, the ETag is of the rows."""
        table = frame if isinstance(frame, pa.Table) else frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if table.num_rows > self.config.max_rows:
            raise Problem("too-large", f"{table.num_rows:,} rows; the limit is {self.config.max_rows:,}")
        digest = digest or _content(table)
        batches = table.combine_chunks().to_batches(max_chunksize=BATCH_ROWS)
        return self.rows(request, form, table.schema, batches, digest, cache)

    def rows(
        self,
        request: Request,
        form: Form | None,
        schema: pa.Schema,
        batches: Iterable[pa.RecordBatch],
        digest: str,
        cache: str,
        next_cursor: str | None = None,
    ) -> Response:
        """The answer with the rows of batches, which are read while they are sent."""
        if (unchanged := self.unchanged(request, form, digest)) is not None:
            return unchanged
        chosen, coding = _chosen(request, form)
        headers = {**self._headers(request, form, digest), "Cache-Control": cache}
        warnings = [without(text, self.places) for text in CALL.get().warnings]
        facts = {"next": next_cursor, "warnings": warnings}
        pieces = encoded(chosen, schema, self._counted(batches), facts)
        stream = self._limited(compressed(coding, pieces))
        # An error of the first batch becomes a problem instead of a broken answer.
        first = next(stream, b"")
        if coding is not None:
            headers["Content-Encoding"] = coding
        if next_cursor is not None:
            headers["Next-Cursor"] = next_cursor
            url = request.url.include_query_params(cursor=next_cursor)
            headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
        response = StreamingResponse(_chained(first, stream), headers=headers, media_type=MEDIA_TYPES[chosen])
        for text in warnings[:_WARNINGS]:
            response.headers.append("Lake-Warning", _header(text))
        return response

    def _headers(self, request: Request, form: Form | None, digest: str) -> dict[str, str]:
        chosen, coding = _chosen(request, form)
        return {"ETag": etag(digest, str(chosen), coding), "Vary": _VARY}

    def _counted(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        call = CALL.get()
        # A stream is read outside of ``compute``.
        with asking(*self.places):
            for batch in batches:
                call.rows += batch.num_rows
                if call.rows > self.config.max_rows:
                    raise Problem("too-large", f"more than {self.config.max_rows:,} rows, the limit of one answer")
                yield batch

    def _limited(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        size = 0
        for piece in pieces:
            size += len(piece)
            if size > self.config.max_bytes:
                raise Problem("too-large", f"more than {self.config.max_bytes:,} bytes, the limit of one answer")
            yield piece


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _content(table: pa.Table) -> str:
    """A digest of the rows of a table in memory."""
    digest = hashlib.sha256()
    for piece in encoded(Form.ARROW, table.schema, table.to_batches(), {}):
        digest.update(piece)
    return digest.hexdigest()


def _chosen(request: Request, form: Form | None) -> tuple[Form, Coding | None]:
    chosen = negotiate(request.headers.get("accept", ""), form)
    # Parquet is compressed already.
    return chosen, None if chosen is Form.PARQUET else choose_coding(request.headers.get("accept-encoding", ""))


def _header(text: str) -> str:
    """A text that fits in a header: printable ASCII."""
    plain = text.encode("ascii", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else " " for letter in plain)[:_WARNING_LENGTH]
