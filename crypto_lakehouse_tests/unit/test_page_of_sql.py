"""The snippets of the page of SQL run on a lake of the sample archive, and queries of all pages are of one market."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/api/sql.md"


@pytest.mark.requirement("F6.3")
def test_the_snippets_of_the_page_run(sample_lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sample_lake.parent)
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(snippets) >= 4
    exec("\n".join(snippets).replace("./demo/lake", "./lake"), {})


AGGREGATE = re.compile(r"\b(?:sum|max|min|avg|count|vwap)\(")


@pytest.mark.requirement("F6.3")
def test_no_query_of_the_pages_adds_up_several_markets() -> None:
    root, queries = PAGE.parents[2], []
    for page in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        for line in page.read_text(encoding="utf-8").splitlines():
            if AGGREGATE.search(line) and re.search(r"\bFROM (?:gold|silver|daily)\b", line):
                queries.append(line)
                # The example of plain files compares the rows of all markets.
                assert "market" in line or line.startswith("assert"), f"{page.name}: {line}"
    assert len(queries) >= 6


@pytest.mark.requirement("F7.1")
def test_the_pages_that_type_the_program_say_where_it_is() -> None:
    root = PAGE.parents[2]
    pages = [
        *(root / "docs/start").glob("*.md"),
        root / "docs/api/command-line.md",
        root / "docs/workflows/backfill.md",
    ]
    typed = [page for page in pages if re.search(r"^ *crypto-lakehouse ", page.read_text("utf-8"), re.MULTILINE)]
    assert len(typed) >= 5
    for page in typed:
        assert "source .venv/bin/activate" in page.read_text(encoding="utf-8"), page.name
