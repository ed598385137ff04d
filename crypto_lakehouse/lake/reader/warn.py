"""Warnings of the reader, which point to the line of the caller.

What is warned about is decided where rows are read.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

_LAKE = f"{Path(__file__).parents[1]}{os.sep}"


class LakeWarning(UserWarning):
    """A read is empty or incomplete. The message says what is missing, why, and what to do next."""


def warn(text: str) -> None:
    """Warn with a LakeWarning at the line that called the reader, however many calls are between."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_LAKE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, LakeWarning, stacklevel=level)
