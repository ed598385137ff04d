"""What killed processes leave in TMPDIR: drafts of objects for S3, and folders of downloads.

Drafts in a local lake lie next to the files that they are for; see ``store.py``.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

TEMPORARY = "crypto-lakehouse-"
"""How names in TMPDIR start."""


def sweep_temporary(older_than: timedelta = timedelta(days=1)) -> int:
    """Remove drafts for S3, and folders of downloads, that killed processes left in TMPDIR; how many.

    What is younger, of others, or cannot be removed is left there.
    """
    newest = (datetime.now(UTC) - older_than).timestamp()
    swept = 0
    for left in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            if all(path.stat().st_mtime < newest for path in (left, *left.rglob("*"))):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
                swept += 1
    return swept
