"""Hooks of MkDocs: pages from files above ``docs/``, and links to files of the repository that are no pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = {"CHANGELOG.md": "changelog.md", "benchmarks/RESULTS.md": "testing/results.md"}
"""Files of the repository that are pages of the site, with their address."""
_LINK = re.compile(r"(\[[^]]*\])\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from above ``docs/``."""
    for source, address in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        if source == "CHANGELOG.md":
            # Its links start at the root of the repository.
            text = text.replace("](docs/", "](")
        files.append(File.generated(config, address, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links that leave ``docs/`` into links to pages, or into text if the file is not in the site."""
    folder = (ROOT / "docs" / page.file.src_uri).parent

    def replaced(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        path = (folder / target).resolve()
        if not path.is_relative_to(ROOT) or (path.is_relative_to(ROOT / "docs") and path.is_file()):
            return match[0]
        if not path.exists():
            return match[0]
        name = path.relative_to(ROOT).as_posix()
        if name in PAGES:
            up = "../" * page.file.src_uri.count("/")
            return f"{text}({up}{PAGES[name]}{anchor})"
        return f"`{name}`" if text == "[]" else f"{text[1:-1]} (`{name}`)"

    return _LINK.sub(replaced, markdown)
