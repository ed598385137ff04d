"""The examples in docstrings run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import crypto_lakehouse
from crypto_lakehouse import Lakehouse

PACKAGE = Path(crypto_lakehouse.__file__).parent
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(PACKAGE)], f"{crypto_lakehouse.__name__}.")
    if not module.ispkg
    and ">>> " in PACKAGE.joinpath(*module.name.split(".")[1:]).with_suffix(".py").read_text(encoding="utf-8")
)
# Their examples read a lake in the present folder.
READERS = [name for name in MODULES if name.startswith("crypto_lakehouse.lake.reader.")]


def run_examples(name: str, **variables: object) -> None:
    """Run the examples of a module, in which ``variables`` are known."""
    module = importlib.import_module(name)
    # pandas ends some lines with spaces.
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    results = doctest.testmod(module, extraglobs=variables, optionflags=flags)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize("name", sorted(set(MODULES) - set(READERS)))
def test_the_examples_of_a_module_run(name: str) -> None:
    run_examples(name)


@pytest.mark.parametrize("name", READERS)
def test_the_examples_of_the_reader_run(name: str, sample_lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sample_lake.parent)
    # Frames are printed for the width of the terminal.
    monkeypatch.setenv("COLUMNS", "120")
    run_examples(name, lake=Lakehouse("./lake"))


def test_each_public_method_of_the_reader_has_an_example() -> None:
    methods = [name for name, _ in inspect.getmembers(Lakehouse, inspect.isfunction) if not name.startswith("_")]
    assert {"read", "scan", "sql"} <= set(methods)
    without = [name for name in methods if f"lake.{name}(" not in (inspect.getdoc(getattr(Lakehouse, name)) or "")]
    assert without == []
