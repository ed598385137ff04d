"""The page of libraries names the versions that the client tests install."""

from __future__ import annotations

import re

import pytest

from crypto_lakehouse_tests.clients.environments import REQUIREMENTS
from crypto_lakehouse_tests.clients.page import versions

_NAMES = {"backtesting": "backtesting.py"}


@pytest.mark.requirement("F6.18")
def test_the_versions_are_those_of_the_client_tests() -> None:
    pins = [line for path in REQUIREMENTS.glob("*.in") for line in path.read_text(encoding="utf-8").splitlines()]
    pinned = dict(line.split("==") for line in pins)
    assert versions() == {_NAMES.get(name, name): version for name, version in pinned.items()}
    for path in REQUIREMENTS.glob("*.in"):
        locked = path.with_suffix(".txt").read_text(encoding="utf-8").casefold().replace("_", "-")
        for line in path.read_text(encoding="utf-8").splitlines():
            assert re.search(rf"^{re.escape(line.casefold().replace('_', '-'))}( |$)", locked, re.MULTILINE), line
