"""The snippets of the page of the Python API run on a lake of the sample archive, and it names every method."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import crypto_lakehouse
from crypto_lakehouse import Lakehouse

PAGE = (Path(__file__).parents[2] / "docs/api/python.md").read_text(encoding="utf-8")


@pytest.mark.requirement("F6.2", "F6.5", "F6.12", "F6.13")
def test_the_snippets_of_the_page_run(sample_lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sample_lake.parent)
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(sample_lake))
    snippets = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(snippets) >= 8
    exec("\n".join(snippets).replace("./demo/lake", "./lake"), {})


@pytest.mark.requirement("F6.4")
def test_the_page_names_every_public_method_and_exception() -> None:
    methods = [name for name, _ in inspect.getmembers(Lakehouse, inspect.isfunction) if not name.startswith("_")]
    names = {*methods, *crypto_lakehouse.__all__}
    assert {name for name in names if f"`{name}`" not in PAGE} == set()
