"""The examples in docstrings run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import crypto_lakehouse

# Its examples need a lake; those of the README run in system tests.
NEED_A_LAKE = ("crypto_lakehouse.lake.reader.lakehouse", "crypto_lakehouse.lake.reader.methods.")
PACKAGE = Path(crypto_lakehouse.__file__).parent
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(PACKAGE)], f"{crypto_lakehouse.__name__}.")
    if not module.ispkg
    and not module.name.startswith(NEED_A_LAKE)
    and ">>> " in PACKAGE.joinpath(*module.name.split(".")[1:]).with_suffix(".py").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.attempted > 0
    assert results.failed == 0
