"""Leftovers of killed processes in TMPDIR: drafts of S3 objects, and folders of downloads.

Drafts of a local lake are next to their target files; see ``drafts.py``.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

TEMPORARY = "crypto-lakehouse-"
"""Prefix of names in TMPDIR."""


def sweep_temporary(older_than: timedelta = timedelta(days=1)) -> int:
    """Remove S3 drafts and download folders that killed processes left in TMPDIR, and return their number.

    Younger files, other files and files that cannot be removed stay.
    """
    newest = (datetime.now(UTC) - older_than).timestamp()
    swept = 0
    for leftover in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            if all(path.stat().st_mtime < newest for path in (leftover, *leftover.rglob("*"))):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
                swept += 1
    return swept
