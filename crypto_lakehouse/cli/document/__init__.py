"""The generated pages of the documentation: data formats, commands, settings and REST APIs.

``python -m crypto_lakehouse.cli.document`` writes them; with ``--check`` it only reports which are stale. Each page
has a module here that turns data of the code into text. Pages that people write are in ``docs/``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from crypto_lakehouse.cli.document.commands import commands_page
from crypto_lakehouse.cli.document.data_formats import data_formats
from crypto_lakehouse.cli.document.rest_endpoints import rest_page
from crypto_lakehouse.cli.document.settings import settings_page

PAGE = Path("docs/api/data-formats.md")
PAGES: dict[Path, Callable[[], str]] = {
    PAGE: data_formats,
    Path("docs/api/commands.md"): commands_page,
    Path("docs/api/settings.md"): settings_page,
    Path("docs/api/rest-endpoints.md"): rest_page,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages, or with ``--check`` compare them; 1 if one is stale."""
    parser = argparse.ArgumentParser(prog="python -m crypto_lakehouse.cli.document", description="Generated pages.")
    parser.add_argument("root", nargs="?", type=Path, default=Path(), help="folder of the repository, by default this")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is stale")
    options = parser.parse_args(arguments)
    stale = False
    for path, page in PAGES.items():
        text, target = page(), options.root / path
        fresh = target.is_file() and target.read_text(encoding="utf-8") == text
        stale |= not fresh
        if options.check:
            print(f"{target} is {'up to date' if fresh else 'stale: run make docs'}")
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        print(f"wrote {target}")
    return int(stale and options.check)
