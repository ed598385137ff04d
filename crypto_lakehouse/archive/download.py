"""Verified downloads of single files: resuming them and comparing their checksums.

Requests and their retries are in ``http_client.py``, listings in ``listing.py``, file names in the
layout of an exchange. Nothing here opens the zips.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from yarl import URL

from crypto_lakehouse.archive.http_client import (
    AnswerTimeoutError,
    HttpClient,
    HttpError,
    MalformedAnswerError,
    RequestError,
)
from crypto_lakehouse.archive.layout import Checksum, Layout
from crypto_lakehouse.archive.memory_budget import HeldFile, MemoryBudget
from crypto_lakehouse.archive.model import ArchiveError, ArchiveFile, FetchedFile, RejectedFile
from crypto_lakehouse.archive.partial_file import PartialFile

# A file system allows 255, and drafts have longer names.
_NAME_BYTES = 200
_COMPONENT = re.compile(r"\w[\w.-]*")
_CHECKSUM = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(\S+)\s*")
_CHECKSUM_LIMIT = 4096
# A CDN may serve a stale zip, with a new or an old CHECKSUM, so a mismatch is tried once more without caches.
_CHECKSUM_TRIES = 2
_NO_CACHE = {"Cache-Control": "no-cache"}


def local_path(directory: Path, object_key: str) -> Path:
    """The file below ``directory`` for a key: its folders are kept, because files of two symbols may have one name.

    Raises ValueError unless the whole key is safe.
    """
    parts = object_key.split("/")
    if not all(_COMPONENT.fullmatch(part) and len(part.encode()) <= _NAME_BYTES for part in parts):
        raise ValueError(
            "not a safe archive key: its names must be of letters, digits, '_', '-' and '.' only, with at most "
            f"{_NAME_BYTES} bytes each: {object_key!r}"
        )
    return directory.joinpath(*parts)


def parse_checksum(text: str, name: str) -> str:
    """The lower-case sha256 in a CHECKSUM text for the file ``name``.

    Raises ValueError for anything else; the error does not quote the text, which may be anything.
    """
    match = _CHECKSUM.fullmatch(text)
    if match is None:
        raise ValueError(f"its {len(text):,} characters are not '<sha256>  <file name>'")
    if match[2] != name:
        raise ValueError(f"it is for another file, not for {name!r}")
    return match[1].lower()


class _TooLongError(Exception):
    """The archive serves more bytes than it lists."""


class _RejectedError(Exception):
    def __init__(self, reason: str, detail: str, sha256: str | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.sha256 = sha256


class _SizeError(_RejectedError):
    """The archive lists another size than it serves."""


@dataclass(frozen=True, slots=True)
class Downloader:
    """Fetches single files of the archive at ``url`` into ``directory``, small ones into ``budget`` while it has room.

    ``list_again`` returns the current listing of a file, which may have been replaced since it was listed; None if it
    has been removed.
    """

    client: HttpClient
    layout: Layout
    url: str
    directory: Path
    list_again: Callable[[ArchiveFile], Awaitable[ArchiveFile | None]]
    budget: MemoryBudget | None = None

    async def fetch(self, file: ArchiveFile) -> FetchedFile | RejectedFile:
        """Download and verify one file; the result may be a newer version than ``file``, if it was replaced.

        Raises ArchiveError if the folder cannot be written, or if the archive refuses everything: then no other file
        can be fetched either.
        """
        try:
            path = local_path(self.directory, file.object_key)
        except ValueError as error:
            return RejectedFile(file, "unsafe_name", str(error))
        try:
            try:
                sha256, stored = await self._verified(file, path)
            except _SizeError:
                listed = None
                # If the listing fails now, report the wrong size.
                with suppress(RequestError):
                    listed = await self.list_again(file)
                if listed is None or listed == file:
                    raise
                file = listed
                sha256, stored = await self._verified(file, path)
        except _RejectedError as error:
            return RejectedFile(file, error.reason, str(error), error.sha256)
        except HttpError as error:
            return RejectedFile(file, self._reason(error.status), str(error))
        except AnswerTimeoutError as error:
            return RejectedFile(file, "timeout", f"{file.object_key}: {error}")
        except RequestError as error:
            return RejectedFile(file, "connection_error", f"{file.object_key}: {error}")
        except OSError as error:
            raise ArchiveError(
                f"cannot write {path.name} to {self.directory}: {error}; free space or correct the folder's "
                "rights, then run again: finished and partial files are kept"
            ) from error
        return FetchedFile(file, stored, sha256)

    async def _verified(self, file: ArchiveFile, path: Path) -> tuple[str, Path | HeldFile]:
        served, size, is_too_long, stated = "", 0, False, None
        for number in range(_CHECKSUM_TRIES):
            fresh = _NO_CACHE if number else {}
            stated = await self._stated_sha256(file, path.name, fresh)
            # Without a stated checksum, a file from before may be an older version of the same size.
            if stated and _has_size(path, file.size) and await asyncio.to_thread(_sha256, path) == stated:
                return stated, path
            part = PartialFile(path)
            if part.is_on_disk:
                await asyncio.to_thread(part.load)
            try:
                await self._download(file, part, fresh)
            except _TooLongError:
                is_too_long = True
                part.discard()
                continue
            except BaseException:
                part.keep()
                raise
            is_too_long = False
            served, size = part.sha256(), part.size
            # The sha256 also matches for an old zip with its old CHECKSUM, so compare the size as well; an ETag need
            # not be the MD5 of the bytes.
            if stated in (None, served) and size == file.size:
                if self.budget is not None and not part.is_on_disk and self.budget.take(part.size):
                    return served, HeldFile(path.name, part.content())
                part.publish()
                return served, path
            part.discard()
        if is_too_long:
            raise _SizeError(
                "size_mismatch",
                f"{file.object_key}: the archive lists {file.size:,} bytes but serves more; the download was stopped: "
                "try again later",
            )
        if stated in (None, served):
            matches = ", whose CHECKSUM matches" if stated else ""
            raise _SizeError(
                "size_mismatch",
                f"{file.object_key}: the archive lists {file.size:,} bytes but serves {size:,}{matches}; one of the "
                "two is an older version: try again later",
                served,
            )
        raise _RejectedError(
            "checksum_mismatch",
            f"{file.object_key}: the archive states sha256 {stated} but serves {served}; it may be republishing the "
            "file: try again later",
            served,
        )

    def _reason(self, status: int) -> str:
        if status in self.layout.absent:
            return "not_found"
        return "forbidden" if status in self.layout.ban else "http_error"

    async def _stated_sha256(self, file: ArchiveFile, name: str, headers: Mapping[str, str]) -> str | None:
        """The sha256 that the archive states; None if it states none for any file."""
        if self.layout.checksum is Checksum.NONE:
            return None
        try:
            body = await self._small_body(checksum_key(file.object_key), headers)
        except HttpError as error:
            if error.status not in self.layout.absent:
                raise
            # Distinguish a removed file from one without a CHECKSUM.
            async for attempt in self.client.attempts(file.object_key):
                with attempt:
                    async with self.client.request(self._url(file.object_key), method="HEAD"):
                        pass
            raise _RejectedError(
                "checksum_missing", f"{file.object_key}.CHECKSUM does not exist, but the file does"
            ) from error
        try:
            return parse_checksum(body.decode("utf-8", "replace"), name)
        except ValueError as error:
            raise _RejectedError("checksum_malformed", f"{file.object_key}.CHECKSUM: {error}") from None

    async def _small_body(self, object_key: str, headers: Mapping[str, str]) -> bytes:
        body = b""
        async for attempt in self.client.attempts(object_key):
            with attempt:
                body = b""
                async with self.client.request(self._url(object_key), headers) as response:
                    async for chunk in response.chunks():
                        body += chunk
                        if len(body) > _CHECKSUM_LIMIT:
                            break
        return body

    async def _download(self, file: ArchiveFile, part: PartialFile, headers: Mapping[str, str]) -> None:
        async for attempt in self.client.attempts(file.object_key):
            with attempt:
                await self._download_once(file, part, headers)

    async def _download_once(self, file: ArchiveFile, part: PartialFile, headers: Mapping[str, str]) -> None:
        """One attempt; received bytes stay in ``part``, and the next attempt resumes from there."""
        if part.size > file.size:
            part.discard()
        offset, etag = (part.size, part.etag) if part.can_go_on else (0, "")
        if offset:
            headers = {**headers, "Range": f"bytes={offset}-", "If-Range": etag}
        async with self.client.request(self._url(file.object_key), headers, accept=(200, 206, 416)) as response:
            if response.status == 200:
                part.restart(response.headers.get("ETag", ""))
            elif not (
                response.status == 206
                and response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
                and response.headers.get("ETag", etag) == etag
            ):
                part.discard()
                raise MalformedAnswerError(f"HTTP {response.status} does not continue the file at byte {offset}")
            async for chunk in response.chunks():
                if part.size + len(chunk) > file.size:
                    raise _TooLongError
                part.write(chunk)

    def _url(self, object_key: str) -> URL:
        return file_url(self.url, object_key)


def file_url(archive_url: str, object_key: str) -> URL:
    """Where the archive serves a file."""
    return URL(f"{archive_url.rstrip('/')}/{quote(object_key)}", encoded=True)


def checksum_key(object_key: str) -> str:
    """The key of the text with the sha256 of a file."""
    return f"{object_key}.CHECKSUM"


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
