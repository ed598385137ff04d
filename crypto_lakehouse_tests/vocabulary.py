"""Finds words that make the project's English hard to read (``python -m crypto_lakehouse_tests.vocabulary``).

Contains the words that are wrong in any prose, error or identifier of the project, and the search for them. Grammar and
style are for reviewers. Words that are only sometimes wrong are not listed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

WORDS: Mapping[str, str] = {
    "told": "reported, returned",
    "lacks": "is missing, does not have",
    "anew": "again; or a verb: rebuild, recompute",
    "behind": "after, following",
    "beside": "next to, with",
    "mend": "repair, rebuild",
    "mends": "repairs, rebuilds",
    "mended": "repaired, rebuilt",
    "mending": "repairing, rebuilding",
    "nobody": "no user, nothing; or name who does not",
}
"""Each wrong word with what to write instead."""

PLACES = ("crypto_lakehouse", "README.md", "docs")
"""Files and folders to search, below the root of the repository."""

GENERATED = ("docs/api/data-formats.md",)
"""Pages that a program writes; the words are checked where it takes them from."""

ALLOWED: Mapping[tuple[str, str], str] = {}
"""(path, word) that is right there, such as the quoted name of a file, with the reason."""

_SUFFIXES = (".py", ".md")
# Parts of identifiers too: ``_MENDED``, ``told_rows``, ``_Told``, ``isMended``.
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@dataclass(frozen=True, slots=True)
class Finding:
    """A wrong word in a line of a file; lines count from 1."""

    path: str
    line: int
    word: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word} -> {WORDS[self.word.lower()]}"


def find_words(path: str, text: str) -> list[Finding]:
    """The wrong words in the text of a file, in order.

    >>> [str(finding) for finding in find_words("a.py", "# The zip lacks a CSV.")]
    ['a.py:1: lacks -> is missing, does not have']
    """
    return [
        Finding(path, number, word)
        for number, line in enumerate(text.splitlines(), start=1)
        for word in _WORD.findall(line)
        if word.lower() in WORDS and (path, word.lower()) not in ALLOWED
    ]


def search(root: Path) -> Iterator[Finding]:
    """The wrong words in all files of PLACES below ``root``, except generated pages."""
    for path in _files(root, PLACES):
        name = path.relative_to(root).as_posix()
        if name not in GENERATED:
            yield from find_words(name, path.read_text(encoding="utf-8"))


def _files(root: Path, places: Iterable[str]) -> Iterator[Path]:
    for place in places:
        path = root / place
        if path.is_file():
            yield path
        else:
            yield from sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES)


def main(root: Path = Path()) -> int:
    """Print the findings. Returns 1 if it found any, 0 otherwise."""
    findings = list(search(root))
    for finding in findings:
        print(finding)
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
