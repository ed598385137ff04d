"""The snippets of the page of SQL run on a lake of the sample archive."""

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
