"""Markdown for generated pages: paragraphs and tables."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

_WIDTH = 118


def prose(text: str) -> str:
    """A paragraph, folded."""
    return textwrap.fill(text, _WIDTH, break_on_hyphens=False, break_long_words=False) + "\n"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; bars within cells are escaped."""
    lines = [list(head), ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
