"""The lake's storage: one small interface over a local folder or an S3 bucket, with atomic publishing.

Here belong opening the storage, moving whole objects in and out, and errors in words. What the objects
are (paths, Parquet, tables) does not: see ``paths`` and ``partitions``. Every path that a method takes
or gives is relative to the root of the lake, with ``/`` between names.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

from pyarrow import NativeFile, fs

from crypto_lakehouse.lake.identity import (
    IdentityError,
    PolarsCredentials,
    arrow_s3,
    check_endpoint,
    find_credentials,
    find_endpoint,
    find_region,
    polars_credentials,
)
from crypto_lakehouse.lake.leftovers import TEMPORARY, sweep_temporary
from crypto_lakehouse.lake.upload import put_bytes, put_file

TEMP_PREFIX = ".tmp-"
_COPIED_AT_ONCE = 8 * 1024**2
_NAME = re.compile(r"[\w=.\-]+", re.UNICODE)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.\-]{1,62}")
# What Polars reads ahead by default suits disks: round trips of many objects should be under way together, and the
# footer of a month file should come with the first. Polars takes this from the environment alone, at each query.
_POLARS_ON_S3 = {
    "POLARS_MAX_CONCURRENT_SCANS": "32",
    "POLARS_NUM_READERS_PRE_INIT": "32",
    "POLARS_CLOUD_FOOTER_READ_SIZE": "524288",
}
_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_LOCAL = fs.LocalFileSystem()


class LakeError(Exception):
    """The lake could not be read or written. Says what, where and what to do next; holds no secrets."""


@dataclass(frozen=True, slots=True)
class LakeFile:
    """One object of the lake: path relative to the root, size in bytes, time of last change (UTC)."""

    path: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class LakeStore:
    """A lake in a local folder or in S3. Made by ``open``; can be pickled, never holds credentials.

    ``root`` is the lake's place inside ``filesystem``. Credentials come from boto3's chain, in each process again.
    """

    uri: str
    root: str
    is_local: bool
    s3_endpoint_url: str | None = None
    s3_region: str | None = None

    @classmethod
    def open(cls, uri: str, s3_endpoint_url: str | None = None, s3_region: str | None = None) -> LakeStore:
        """Open ``./folder``, ``file:///folder`` or ``s3://bucket/prefix``; nothing of the lake is read or made yet.

        Endpoint and region of S3 are those of boto3's chain where they are not given (``identity.py``).
        For S3, Polars is told in the environment to read ahead of round trips, where its settings there are not set.

        Raises LakeError where the URI or the endpoint cannot be used.
        """
        scheme, separator, rest = uri.partition("://")
        if not separator or scheme == "file":
            try:
                place = Path(unquote(rest) if separator else uri).expanduser().absolute()
            except RuntimeError:
                raise LakeError(f"cannot open the lake {uri}: nobody has this home, give a folder") from None
            with suppress(PermissionError):
                for above in (place, *place.parents):
                    if above.exists() and not above.is_dir():
                        raise LakeError(f"cannot open the lake {uri}: {above} is a file, give a folder")
            root = os.path.normpath(place)
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
                f"cannot open the lake: {error}. Give s3://bucket/prefix, where names of the prefix are of letters, "
                "digits and _ = . -"
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
        """Where the lake lies, with the credentials of this moment: ask again for each use.

        Raises IdentityError where there are none.
        """
        return _LOCAL if self.is_local else arrow_s3(self.s3_endpoint_url, str(self.s3_region), find_credentials())

    @property
    def is_below_hive_names(self) -> bool:
        """Whether a folder above the lake looks like a Hive column (``date=2024-01-01``).

        Engines take columns from all of a path, so they must not take them here from paths by themselves.
        """
        return "=" in self.root

    def path(self, *parts: str) -> str:
        """Path inside ``filesystem`` of a path in the lake. Raises ValueError on unsafe names (``..``)."""
        return "/".join((self.root.rstrip("/"), *_checked(*parts))) if parts else self.root

    def polars_uri(self, path: str) -> str:
        """What polars and DuckDB call the object: a local path or ``s3://..``."""
        return self.path(path) if self.is_local else f"s3://{self.path(path)}"

    def polars_options(self) -> dict[str, str] | None:
        """``storage_options`` of polars for this lake: None if local.

        They hold no credentials, since a lazy frame can be pickled: see ``polars_credentials``.
        """
        if self.is_local:
            return None
        options = {"aws_region": str(self.s3_region)}
        if self.s3_endpoint_url:
            # Under another name than this one it would give way to the variable AWS_ENDPOINT_URL_S3.
            options["aws_endpoint_url_s3"] = self.s3_endpoint_url
            options["aws_virtual_hosted_style_request"] = "false"
            if self.s3_endpoint_url.startswith("http://"):
                # Called ``aws_allow_http`` it switches off the chain by which Polars looks for credentials itself.
                options["allow_http"] = "true"
        return options

    def polars_credentials(self) -> PolarsCredentials | None:
        """``credential_provider`` of polars for this lake: None if local. It is called where the rows are read.

        Raises LakeError where there are no credentials.
        """
        if self.is_local:
            return None
        with self.explained("read", ""):
            return polars_credentials(find_credentials())

    def exists(self, path: str) -> bool:
        """Whether there is an object at ``path``. Raises LakeError if the storage cannot be asked."""
        return self.find(path) is not None

    def find(self, path: str) -> LakeFile | None:
        """The object at ``path``, None if there is none. Raises LakeError if the storage cannot be asked."""
        with self.explained("look up", path):
            info = self.filesystem.get_file_info(self.path(path))
            if info.type == fs.FileType.NotFound:
                self._check_bucket()
            return LakeFile(path, info.size, info.mtime) if info.type == fs.FileType.File else None

    def read_bytes(self, path: str) -> bytes:
        """All bytes of an object. Raises FileNotFoundError if there is none, LakeError otherwise."""
        with self.explained("read", path):
            try:
                with self.filesystem.open_input_file(self.path(path)) as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                self._check_bucket()
                raise

    def open_file(self, path: str) -> NativeFile:
        """An object as an open file that can seek. Raises FileNotFoundError if there is none, LakeError otherwise."""
        with self.explained("read", path):
            return self.filesystem.open_input_file(self.path(path))

    def write_bytes_atomic(self, path: str, data: bytes) -> None:
        """Publish ``data`` at ``path``: readers see the old object or the new one, never a part.

        Raises LakeError (disk full, no rights, no bucket); nothing is left behind then.
        """
        if self.is_local:
            with self.publishing(path) as draft, self.explained("write", path):
                draft.write_bytes(data)
            return
        with self.explained("write", path):
            put_bytes(self.path(path), data, self.s3_endpoint_url, str(self.s3_region))

    @contextmanager
    def publishing(self, path: str) -> Iterator[Path]:
        """A file of this machine to write, which is published at ``path`` when the block ends well.

        Readers see the old object or the new one, never a part; nothing is left behind after an error.
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
            # What went wrong before says more.
            with suppress(OSError):
                draft.unlink(missing_ok=True)

    def fetch_to(self, path: str, local: Path) -> None:
        """Copy an object to a file of this machine. Raises FileNotFoundError if there is none, LakeError otherwise."""
        with (
            self.explained("read", path),
            self.filesystem.open_input_stream(self.path(path)) as stream,
            local.open("wb") as target,
        ):
            shutil.copyfileobj(stream, target, _COPIED_AT_ONCE)

    def _publish(self, draft: Path, path: str) -> None:
        if self.is_local:
            _replace(draft, Path(self.path(path)))
            return
        put_file(self.path(path), draft, self.s3_endpoint_url, str(self.s3_region))

    def folders(self, path: str = "") -> list[str]:
        """Names of the folders directly in a folder, sorted; a missing folder is empty.

        Raises LakeError like ``list``, but asks for one level only.
        """
        selector = fs.FileSelector(self.path(path) if path else self.root, allow_not_found=True)
        with self.explained("list", path):
            infos = self.filesystem.get_file_info(selector)
            if not infos:
                self._check_bucket()
        return sorted(info.base_name for info in infos if info.type == fs.FileType.Directory)

    def list(self, path: str = "", recursive: bool = True) -> list[LakeFile]:
        """Objects below the folder, sorted by path, unpublished ones left out; a missing folder is empty.

        Raises LakeError if the storage cannot be asked or the bucket does not exist.
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
        """The time (UTC) by the clock that ``list`` tells times by, cut as there; an object is written to learn it.

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
        """Remove an object; one that does not exist is no error. Raises LakeError otherwise."""
        with self.explained("delete", path):
            if self.exists(path):
                # Others may delete it meanwhile.
                with suppress(FileNotFoundError):
                    self.filesystem.delete_file(self.path(path))

    def sweep(self, older_than: timedelta = timedelta(days=1)) -> int:
        """Remove drafts that killed processes left in a local lake or in TMPDIR; how many. None that is being written
        is so old.

        Raises LakeError where the folder cannot be read or written.
        """
        newest = (datetime.now(UTC) - older_than).timestamp()
        swept = sweep_temporary(older_than)
        if not self.is_local:
            return swept
        with self.explained("sweep", ""):
            for draft in Path(self.root).rglob(f"{TEMP_PREFIX}*"):
                # Its writer may publish it meanwhile.
                with suppress(FileNotFoundError):
                    if draft.stat().st_mtime < newest:
                        draft.unlink()
                        swept += 1
        return swept

    @contextmanager
    def explained(self, action: str, path: str) -> Iterator[None]:
        """Turn the storage's errors into LakeError; FileNotFoundError passes (a bucket's absence not)."""
        try:
            yield
        except OSError as error:
            text = str(error)
            if isinstance(error, FileNotFoundError) and action == "read" and "NO_SUCH_BUCKET" not in text:
                raise
            for secret in self._secrets():
                text = text.replace(secret, "***")
            where = "/".join(part for part in (self.uri, path) if part)
            place = f" at {self.s3_endpoint_url}" if self.s3_endpoint_url else ""
            hint = _hint(error, text, self.is_local)
            # ``from None``: the cause's text has not been cleared of secrets.
            raise LakeError(f"cannot {action} {where}{place}: {text}. {hint}") from None

    def _secrets(self) -> Iterator[str]:
        """What no text may show."""
        secrets = {os.environ.get(name) for name in _SECRETS}
        if not self.is_local:
            with suppress(IdentityError):
                found = find_credentials()
                secrets |= {found.secret_key, found.token}
        yield from filter(None, secrets)

    def _check_bucket(self) -> None:
        # S3 gives "not found" for the object and for the whole bucket alike.
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


def _replace(draft: Path, target: Path) -> None:
    with draft.open("rb") as stream:
        os.fsync(stream.fileno())
    draft.replace(target)
    # The new name survives a power cut only once its folder is on disk as well.
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _hint(error: OSError, text: str, local: bool) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        if local:
            return "The disk is full: free space or move the lake, then run again; nothing was half written"
        drafts = tempfile.gettempdir()
        return f"The disk of TMPDIR ({drafts}) is full: free space there or set TMPDIR to another disk, then run again"
    if local:
        return "Check that the folder exists and may be read and written by this user, then run again"
    # Arrow and boto3 write the same words in capitals or not, with or without underscores.
    told = text.replace("_", "").lower()
    if any(word in told for word in ("accessdenied", "invalidaccesskey", "signature", "403", "credentials")):
        return (
            "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or the profile in AWS_PROFILE, and the rights of that user "
            "on the bucket"
        )
    if "nosuchbucket" in told or "does not exist" in told:
        return "Create the bucket or correct the lake's URI"
    return "Check the endpoint, the region and the network, then run again"
