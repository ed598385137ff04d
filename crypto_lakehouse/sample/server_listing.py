"""A folder as an S3 bucket: keys in byte order, pages of listings, ETags, and their XML.

Symbolic links, hidden names and drafts (``.tmp``) are neither listed nor served. HTTP is in ``server.py``.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from xml.sax.saxutils import escape

from crypto_lakehouse.catalog.commands import command_line

MAX_KEYS = 1000
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(frozen=True, slots=True)
class Entry:
    """One listed file; ``modified`` is in seconds since the Unix epoch, ``etag`` is md5 without quotes."""

    key: str
    size: int
    modified: float
    etag: str


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open file, with the state of exactly these bytes. The caller closes ``handle``."""

    handle: io.BufferedReader
    size: int
    modified: float
    etag: str


@dataclass(slots=True)
class Page:
    """One page of a listing: the request and its results."""

    prefix: str
    delimiter: str
    marker: str
    max_keys: int
    contents: list[Entry] = field(default_factory=list)
    common_prefixes: list[str] = field(default_factory=list)
    truncated: bool = False
    last: str = ""


class Folder:
    """The files below ``directory`` by key. Raises NotADirectoryError if the directory does not exist."""

    def __init__(self, directory: Path) -> None:
        self.root = directory.resolve()
        if not self.root.is_dir():
            raise NotADirectoryError(
                f"there is no folder {directory}: name the folder of an archive, or write one with"
                f" {command_line('archive', 'sample', str(directory))}"
            )
        self._etags: dict[str, tuple[int, int, str]] = {}
        self._lock = threading.Lock()

    def open(self, key: str) -> OpenFile | None:
        """The file of a key; None if it does not exist or must not be served."""
        if not all(_visible(name) for name in key.split("/")):
            return None
        path = self.root.joinpath(*key.split("/"))
        try:
            # A link anywhere on the path makes the real path differ.
            if path.resolve() != path or not path.is_file():
                return None
            handle = path.open("rb")
        except OSError:
            return None
        state = os.fstat(handle.fileno())
        return OpenFile(handle, state.st_size, state.st_mtime, self._etag(key, handle, state))

    def page(self, prefix: str, delimiter: str, marker: str, max_keys: int) -> Page:
        """One page, with the limits of S3 ListObjects V1; ``delimiter`` is ``/`` or empty."""
        page = Page(prefix, delimiter, marker, max_keys)
        # All keys with the prefix are below it; its siblings, maybe thousands of symbols, are not read.
        base = prefix[: prefix.rfind("/") + 1]
        if not max_keys or not self._is_folder(base):
            return page
        for name in self._names(base, prefix, marker, bool(delimiter)):
            if len(page.contents) + len(page.common_prefixes) == max_keys:
                page.truncated = True
                break
            if name.endswith("/"):
                page.common_prefixes.append(name)
            elif (entry := self._entry(name)) is not None:
                page.contents.append(entry)
            else:
                continue
            page.last = name
        return page

    def _is_folder(self, base: str) -> bool:
        """Whether ``base`` (``""``, or ending with a slash) is a folder that is reached without a link."""
        names = base.split("/")[:-1]
        path = self.root.joinpath(*names)
        return all(_visible(name) for name in names) and path.is_dir() and path.resolve() == path

    def _entry(self, key: str) -> Entry | None:
        """The entry of a key of ``_names``, which contains no link; only changed files are opened."""
        try:
            state = (self.root / key).stat()
        except OSError:
            return None
        known = self._etags.get(key)
        if known is not None and known[:2] == (state.st_mtime_ns, state.st_size):
            return Entry(key, state.st_size, state.st_mtime, known[2])
        opened = self.open(key)
        if opened is None:
            return None
        with opened.handle:
            return Entry(key, opened.size, opened.modified, opened.etag)

    def _names(self, base: str, prefix: str, marker: str, fold: bool) -> Iterator[str]:
        """Keys after ``marker`` in byte order; with ``fold``, folders below the prefix as ``name/``."""
        try:
            with os.scandir(self.root / base) as found:
                # Python compares strings by code point, which is the byte order of UTF-8.
                names = sorted(
                    base + entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "")
                    for entry in found
                    if _visible(entry.name) and not entry.is_symlink()
                )
        except FileNotFoundError:
            return
        for name in names:
            if not name.endswith("/"):
                if name > marker and name.startswith(prefix):
                    yield name
            elif name < marker and not marker.startswith(name):
                continue
            elif fold and name.startswith(prefix) and name != prefix:
                # S3 has no empty folders: list one only if it contains a key.
                if name != marker and next(self._names(name, prefix, marker, False), None) is not None:
                    yield name
            elif name.startswith(prefix) or prefix.startswith(name):
                yield from self._names(name, prefix, marker, fold)

    def _etag(self, key: str, handle: io.BufferedReader, state: os.stat_result) -> str:
        with self._lock:
            known = self._etags.get(key)
        if known is not None and known[:2] == (state.st_mtime_ns, state.st_size):
            return known[2]
        digest = hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        handle.seek(0)
        with self._lock:
            self._etags[key] = (state.st_mtime_ns, state.st_size, digest)
        return digest


def listing_xml(page: Page) -> bytes:
    """The XML of a page; it has ``NextMarker`` only with a delimiter, as on S3."""
    parts = [_tag("Name", "archive"), _tag("Prefix", page.prefix), _tag("Marker", page.marker)]
    if page.truncated and page.delimiter:
        parts.append(_tag("NextMarker", page.last))
    parts.append(_tag("MaxKeys", str(page.max_keys)))
    if page.delimiter:
        parts.append(_tag("Delimiter", page.delimiter))
    parts.append(_tag("IsTruncated", "true" if page.truncated else "false"))
    parts += [_contents(entry) for entry in page.contents]
    parts += [f"<CommonPrefixes>{_tag('Prefix', name)}</CommonPrefixes>" for name in page.common_prefixes]
    return _document(f'<ListBucketResult xmlns="{_NAMESPACE}">{"".join(parts)}</ListBucketResult>')


def error_xml(code: str, message: str, key: str = "") -> bytes:
    """The XML of an S3 error."""
    text = _tag("Code", code) + _tag("Message", message) + (_tag("Key", key) if key else "")
    return _document(f"<Error>{text}</Error>")


def _contents(entry: Entry) -> str:
    modified = datetime.fromtimestamp(int(entry.modified), UTC)
    return (
        f"<Contents>{_tag('Key', entry.key)}{_tag('LastModified', f'{modified:%Y-%m-%dT%H:%M:%S}.000Z')}"
        f"<ETag>&quot;{entry.etag}&quot;</ETag>{_tag('Size', str(entry.size))}"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


def _tag(name: str, text: str) -> str:
    # Characters that XML cannot contain can only come from the request, never from a key.
    return f"<{name}>{escape(''.join(c if c.isprintable() else '?' for c in text))}</{name}>"


def _document(xml: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{xml}'.encode()


def _visible(name: str) -> bool:
    return name.isprintable() and not name.startswith((".", "~")) and not name.endswith((".tmp", "~")) and name != ""
