"""The lake's storage: one small interface over a local folder or an S3 bucket, with atomic publishing.

This module opens the storage, reads and writes whole objects, and explains errors with the advice of ``advice.py``.
Drafts of local files are in ``drafts.py``. What the objects are (paths, Parquet, tables) is in ``paths`` and
``partitions``. Every path that a method takes or returns is relative to the root of the lake, with ``/`` between names.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

from pyarrow import NativeFile, fs

from crypto_lakehouse.lake.storage.advice import advice
from crypto_lakehouse.lake.storage.drafts import TEMP_PREFIX, publish_draft, sweep_drafts
from crypto_lakehouse.lake.storage.identity import (
    IdentityError,
    PolarsCredentials,
    arrow_s3,
    check_endpoint,
    find_credentials,
    find_endpoint,
    find_region,
    polars_credentials,
)
from crypto_lakehouse.lake.storage.leftovers import TEMPORARY, sweep_temporary
from crypto_lakehouse.lake.storage.upload import copy_object, head_object, put_bytes, put_file

_COPIED_AT_ONCE = 8 * 1024**2
_NAME = re.compile(r"[\w=.\-]+", re.UNICODE)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.\-]{1,62}")
# The read-ahead defaults of Polars suit disks. On S3 many objects should be requested at the same time, and the first
# request of a month file should include its footer. Polars reads these only from the environment, at each query.
_POLARS_ON_S3 = {
    "POLARS_MAX_CONCURRENT_SCANS": "32",
    "POLARS_NUM_READERS_PRE_INIT": "32",
    "POLARS_CLOUD_FOOTER_READ_SIZE": "524288",
}
_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_LOCAL = fs.LocalFileSystem()


class LakeError(Exception):
    """The lake could not be read or written. The message says what, where and what to do next, without secrets."""


@dataclass(frozen=True, slots=True)
class LakeFile:
    """One object of the lake: path relative to the root, size in bytes, time of last change (UTC)."""

    path: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class LakeStore:
    """A lake in a local folder or in S3, opened by ``open``. It can be pickled and never holds credentials.

    ``root`` is the lake's path inside ``filesystem``. Each process takes its credentials from boto3's chain.
    """

    uri: str
    root: str
    is_local: bool
    s3_endpoint_url: str | None = None
    s3_region: str | None = None

    @classmethod
    def open(cls, uri: str, s3_endpoint_url: str | None = None, s3_region: str | None = None) -> LakeStore:
        """Open ``./folder``, ``file:///folder`` or ``s3://bucket/prefix``; this reads and creates nothing.

        Without ``s3_endpoint_url`` and ``s3_region``, boto3's chain provides them (``identity.py``). For S3, this sets
        the read-ahead variables of Polars in the environment, unless they are set.

        Raises LakeError if the URI or the endpoint cannot be used.
        """
        scheme, separator, rest = uri.partition("://")
        if not separator or scheme == "file":
            try:
                folder = Path(unquote(rest) if separator else uri).expanduser().absolute()
            except RuntimeError:
                raise LakeError(
                    f"cannot open the lake {uri}: there is no home directory for this user; give a path"
                ) from None
            with suppress(PermissionError):
                for above in (folder, *folder.parents):
                    if above.exists() and not above.is_dir():
                        raise LakeError(f"cannot open the lake {uri}: {above} is a file; give a folder")
            root = os.path.normpath(folder)
            return cls(root, root, is_local=True)
        if scheme != "s3":
            raise LakeError(f"cannot open a lake in {scheme}://: give a folder or s3://bucket/prefix")
        root = rest.strip("/")
        bucket, *prefix = root.split("/")
        if not _BUCKET.fullmatch(bucket):
            raise LakeError(
                "cannot open the lake: the URI does not name a bucket. Give s3://bucket/prefix, and "
                "credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, never in the URI"
            )
        try:
            _checked(*prefix)
        except ValueError as error:
            raise LakeError(
                f"cannot open the lake: {error}. Give s3://bucket/prefix, where names in the prefix consist of "
                "letters, digits and _ = . -"
            ) from None
        for name, value in _POLARS_ON_S3.items():
            os.environ.setdefault(name, value)
        try:
            endpoint, region = check_endpoint(s3_endpoint_url or find_endpoint()), s3_region or find_region()
        except IdentityError as error:
            raise LakeError(f"cannot open the lake s3://{root}: {error}") from None
        return cls(f"s3://{root}", root, is_local=False, s3_endpoint_url=endpoint, s3_region=region)

    def __repr__(self) -> str:
        return f"LakeStore({self.uri!r})"

    @property
    def filesystem(self) -> fs.FileSystem:
        """The file system of the lake with the current credentials: get it again for each use.

        Raises IdentityError if there are no credentials.
        """
        return _LOCAL if self.is_local else arrow_s3(self.s3_endpoint_url, str(self.s3_region), find_credentials())

    @property
    def as_of(self) -> datetime | None:
        """The earlier time (UTC) of an ``AsOfStore``; None if the store is that of the present."""
        return None

    @property
    def is_below_hive_names(self) -> bool:
        """Whether a folder above the lake looks like a Hive column (``date=2024-01-01``).

        Engines read columns from the whole path, so here they must not read columns from paths themselves.
        """
        return "=" in self.root

    def path(self, *parts: str) -> str:
        """Return the path inside ``filesystem`` of a path in the lake. Raises ValueError on unsafe names (``..``)."""
        return "/".join((self.root.rstrip("/"), *_checked(*parts))) if parts else self.root

    def polars_uri(self, path: str) -> str:
        """Return the address of an object for Polars and DuckDB: a local path or ``s3://..``."""
        return self.path(path) if self.is_local else f"s3://{self.path(path)}"

    def polars_options(self) -> dict[str, str] | None:
        """Return the ``storage_options`` of Polars for this lake, None if it is local.

        They hold no credentials, because a lazy frame can be pickled: see ``polars_credentials``.
        """
        if self.is_local:
            return None
        options = {"aws_region": str(self.s3_region)}
        if self.s3_endpoint_url:
            # Under any other name the variable AWS_ENDPOINT_URL_S3 would override it.
            options["aws_endpoint_url_s3"] = self.s3_endpoint_url
            options["aws_virtual_hosted_style_request"] = "false"
            if self.s3_endpoint_url.startswith("http://"):
                # Under the name ``aws_allow_http`` it would switch off the search of Polars for credentials.
                options["allow_http"] = "true"
        return options

    def polars_credentials(self) -> PolarsCredentials | None:
        """Return the ``credential_provider`` of Polars for this lake, None if it is local.

        Polars calls it in the process that reads the rows. Raises LakeError if there are no credentials.
        """
        if self.is_local:
            return None
        with self.explained("read", ""):
            return polars_credentials(find_credentials())

    def exists(self, path: str) -> bool:
        """Whether there is an object at ``path``. Raises LakeError if the storage fails."""
        return self.find(path) is not None

    def find(self, path: str) -> LakeFile | None:
        """Return the object at ``path``, None if there is none. Raises LakeError if the storage fails."""
        with self.explained("look up", path):
            info = self.filesystem.get_file_info(self.path(path))
            if info.type == fs.FileType.NotFound:
                self._check_bucket()
            return LakeFile(path, info.size, info.mtime) if info.type == fs.FileType.File else None

    def head(self, path: str) -> LakeFile | None:
        """Return the object at ``path`` like ``find``, by one request also if there is none."""
        if self.is_local:
            return self.find(path)
        with self.explained("look up", path):
            known = head_object(self.path(path), self.s3_endpoint_url, str(self.s3_region))
        return LakeFile(path, *known) if known else None

    def read_bytes(self, path: str) -> bytes:
        """Return all bytes of an object. Raises FileNotFoundError if there is none, LakeError otherwise."""
        with self.explained("read", path):
            try:
                with self.filesystem.open_input_file(self.path(path)) as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                self._check_bucket()
                raise

    def open_file(self, path: str) -> NativeFile:
        """Open an object as a seekable file. Raises FileNotFoundError if there is none, LakeError otherwise."""
        with self.explained("read", path):
            return self.filesystem.open_input_file(self.path(path))

    def write_bytes_atomic(self, path: str, data: bytes) -> None:
        """Publish ``data`` at ``path``: readers see the old object or the new one, never a part.

        Raises LakeError (disk full, no rights, no bucket) and then removes its draft.
        """
        if self.is_local:
            with self.publishing(path) as draft, self.explained("write", path):
                draft.write_bytes(data)
            return
        with self.explained("write", path):
            put_bytes(self.path(path), data, self.s3_endpoint_url, str(self.s3_region))

    @contextmanager
    def publishing(self, path: str) -> Iterator[Path]:
        """Yield a local file to write, and publish it at ``path`` when the block ends without an error.

        Readers see the old object or the new one, never a part; after an error the draft is removed.
        Raises LakeError like ``write_bytes_atomic``.
        """
        if self.is_local:
            draft = Path(self.path(path)).parent / f"{TEMP_PREFIX}{uuid.uuid4().hex}"
        else:
            draft = Path(tempfile.gettempdir()) / f"{TEMPORARY}{uuid.uuid4().hex}"
        try:
            with self.explained("write", path):
                draft.parent.mkdir(parents=True, exist_ok=True)
                draft.touch(exist_ok=False)
            yield draft
            with self.explained("write", path):
                self._publish(draft, path)
        finally:
            # Do not mask the original error.
            with suppress(OSError):
                draft.unlink(missing_ok=True)

    def copy(self, path: str, target: str) -> None:
        """Give an object a second path: a hard link on disk where that is possible, a copy by the server on S3.

        Raises LakeError like ``write_bytes_atomic``.
        """
        with self.explained("write", target):
            if not self.is_local:
                copy_object(self.path(path), self.path(target), self.s3_endpoint_url, str(self.s3_region))
                return
            link = Path(self.path(target))
            link.parent.mkdir(parents=True, exist_ok=True)
            # Some file systems have no links.
            with suppress(OSError):
                os.link(self.path(path), link)
                return
        with self.publishing(target) as draft:
            shutil.copyfile(self.path(path), draft)

    def fetch_to(self, path: str, local: Path) -> None:
        """Copy an object to a local file. Raises FileNotFoundError if there is none, LakeError otherwise."""
        with (
            self.explained("read", path),
            self.filesystem.open_input_stream(self.path(path)) as stream,
            local.open("wb") as target,
        ):
            shutil.copyfileobj(stream, target, _COPIED_AT_ONCE)

    def _publish(self, draft: Path, path: str) -> None:
        if self.is_local:
            publish_draft(draft, Path(self.path(path)))
            return
        put_file(self.path(path), draft, self.s3_endpoint_url, str(self.s3_region))

    def folders(self, path: str = "") -> Sequence[str]:
        """Return the sorted names of the folders directly in a folder; a missing folder is empty.

        Lists one level only. Raises LakeError like ``list``.
        """
        selector = fs.FileSelector(self.path(path) if path else self.root, allow_not_found=True)
        with self.explained("list", path):
            infos = self.filesystem.get_file_info(selector)
            if not infos:
                self._check_bucket()
        return sorted(info.base_name for info in infos if info.type == fs.FileType.Directory)

    def list(self, path: str = "", recursive: bool = True) -> list[LakeFile]:
        """Return the objects below a folder, sorted by path, without drafts; a missing folder is empty.

        Raises LakeError if the storage fails or the bucket does not exist.
        """
        selector = fs.FileSelector(self.path(path) if path else self.root, allow_not_found=True, recursive=recursive)
        with self.explained("list", path):
            infos = self.filesystem.get_file_info(selector)
            if not infos:
                self._check_bucket()
        skip = len(self.root.rstrip("/")) + 1
        return sorted(
            (
                LakeFile(info.path[skip:], info.size, info.mtime)
                for info in infos
                if info.type == fs.FileType.File and not info.base_name.startswith(TEMP_PREFIX)
            ),
            key=lambda file: file.path,
        )

    def now(self) -> datetime:
        """Return the storage's time (UTC), in the resolution of ``LakeFile.modified``, by writing an object.

        Raises LakeError like ``write_bytes_atomic``.
        """
        path = f"{TEMP_PREFIX}{uuid.uuid4().hex}"
        with self.explained("write", path):
            try:
                with self.filesystem.open_output_stream(self.path(path)) as stream:
                    stream.write(b"now")
                return self.filesystem.get_file_info(self.path(path)).mtime
            finally:
                with suppress(OSError):
                    self.filesystem.delete_file(self.path(path))

    def delete(self, path: str) -> None:
        """Remove an object; a missing one is not an error. Raises LakeError if the storage fails."""
        with self.explained("delete", path):
            if self.exists(path):
                # Another process may delete it at the same time.
                with suppress(FileNotFoundError):
                    self.filesystem.delete_file(self.path(path))

    def sweep(self, older_than: timedelta = timedelta(days=1)) -> int:
        """Remove drafts that killed processes left in a local lake or in TMPDIR, and return their number.

        No draft that is still being written is older than ``older_than``. Raises LakeError if the folder cannot be
        read or written.
        """
        swept = sweep_temporary(older_than)
        if not self.is_local:
            return swept
        with self.explained("sweep", ""):
            return swept + sweep_drafts(Path(self.root), older_than)

    @contextmanager
    def explained(self, action: str, path: str) -> Iterator[None]:
        """Turn the storage's errors into LakeError; FileNotFoundError passes, unless the bucket is missing."""
        try:
            yield
        except OSError as error:
            text = str(error)
            if isinstance(error, FileNotFoundError) and action == "read" and "NO_SUCH_BUCKET" not in text:
                raise
            for secret in self._secrets():
                text = text.replace(secret, "***")
            target = "/".join(part for part in (self.uri, path) if part)
            endpoint = f" at {self.s3_endpoint_url}" if self.s3_endpoint_url else ""
            # An IdentityError itself says what to set.
            hint = "" if isinstance(error, IdentityError) else f". {advice(error, text, self.is_local)}"
            # ``from None``: the text of the cause may contain secrets.
            raise LakeError(f"cannot {action} {target}{endpoint}: {text}{hint}") from None

    def _secrets(self) -> Iterator[str]:
        """Yield the texts that no message may contain."""
        secrets = {os.environ.get(name) for name in _SECRETS}
        if not self.is_local:
            with suppress(IdentityError):
                credentials = find_credentials()
                secrets |= {credentials.secret_key, credentials.token}
        yield from filter(None, secrets)

    def _check_bucket(self) -> None:
        # S3 answers "not found" both for a missing object and for a missing bucket.
        if self.is_local:
            return
        bucket = self.root.split("/", 1)[0]
        if self.filesystem.get_file_info(bucket).type == fs.FileType.NotFound:
            raise FileNotFoundError(f"NO_SUCH_BUCKET: there is no bucket {bucket}")


def _checked(*parts: str) -> list[str]:
    names = [name for part in parts for name in part.split("/")]
    for name in names:
        if not _NAME.fullmatch(name) or name in (".", ".."):
            raise ValueError(f"{name!r} in {'/'.join(parts)!r} is not a safe name for the lake")
    return names
