"""Drafts in the folders of a local lake: a file is written next to its target under another name, then published.

The name of a draft starts with TEMP_PREFIX, and readers skip it. Uploads to S3 are in ``upload.py``, files in TMPDIR in
``leftovers.py``.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

TEMP_PREFIX = ".tmp-"


def publish_draft(draft: Path, target: Path) -> None:
    """Give a draft the name of its target, which it replaces: whole, and also after a power failure.

    The bytes are on disk before the name. The name itself is not waited for: after a power failure the old file may be
    there, as if the run had ended before, and the next run writes the new one.
    """
    with draft.open("rb") as stream:
        os.fsync(stream.fileno())
    # Its time of change is when it becomes visible: reads of an earlier time rely on that.
    os.utime(draft)
    draft.replace(target)


def sweep_drafts(root: Path, older_than: timedelta) -> int:
    """Remove drafts below ``root`` that were not written for ``older_than``, and return their number."""
    newest, swept = (datetime.now(UTC) - older_than).timestamp(), 0
    for draft in root.rglob(f"{TEMP_PREFIX}*"):
        # Its writer may publish it at the same time.
        with suppress(FileNotFoundError):
            if draft.stat().st_mtime < newest:
                draft.unlink()
                swept += 1
    return swept
