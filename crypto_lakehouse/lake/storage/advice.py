"""Advice after an error of the storage: what to check or do, by the kind of the error.

``store.py`` raises the error with it.
"""

from __future__ import annotations

import errno
import tempfile


def advice(error: OSError, text: str, local: bool) -> str:
    """Return what to do after an error whose message is ``text``; ``local`` is false for S3."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        if local:
            return "The disk is full: free space or move the lake, then run again; no partial file was published"
        drafts = tempfile.gettempdir()
        return f"The disk of TMPDIR ({drafts}) is full: free space there or set TMPDIR to another disk, then run again"
    if local:
        return "Check that the folder exists and that this user may read and write it, then run again"
    # Arrow and boto3 write the same words in upper or lower case, with or without underscores.
    words = text.replace("_", "").lower()
    if any(word in words for word in ("accessdenied", "invalidaccesskey", "signature", "403", "credentials")):
        return (
            "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or the profile in AWS_PROFILE, and the rights of that user "
            "on the bucket"
        )
    if "nosuchbucket" in words or "does not exist" in words:
        return "Create the bucket or correct the lake's URI"
    return "Check the endpoint, the region and the network, then run again"
