"""Sizes of memory as people write them: ``4GB``, ``512 MiB``."""

from __future__ import annotations

import re

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT])(i?)B", re.ASCII | re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes of a size; GB are powers of 1000, GiB of 1024. Raises ValueError for anything else, and for zero."""
    match = _SIZE.fullmatch(text.strip())
    size = int(float(match[1]) * (1024 if match[3] else 1000) ** ("KMGT".index(match[2].upper()) + 1)) if match else 0
    if not size:
        raise ValueError(f"{text!r} is not a size such as 4GB or 512MiB")
    return size
