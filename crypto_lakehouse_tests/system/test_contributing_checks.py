"""After the steps of docs/contributing.md the other tests pass, and the code of the page has the style of the rest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from crypto_lakehouse_tests.system.contributing_page import copy_of_project, output

pytestmark = [pytest.mark.requirement("T11")]

UNIT = """
    acme realized_volatility insurance_fund
    catalog clean document entries epochs exchanges instruments layering layouts near sample_types schemas
    settings slices sql
"""
ORCHESTRATION = "all_tables definitions graph jobs pictures"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with a new gold table, archive type and exchange."""
    headings = ("Add a gold table", "Add an archive type", "Add an exchange")
    folder = copy_of_project(tmp_path_factory.mktemp("copy"), *headings)
    output(folder, {}, [sys.executable, "-m", "crypto_lakehouse.cli.document"])
    output(folder, {}, [sys.executable, "-m", "ruff", "check", "--fix", "."])
    return folder


def test_the_code_of_the_page_has_the_format_and_the_types_of_the_rest(copy: Path) -> None:
    output(copy, {}, [sys.executable, "-m", "ruff", "format", "--check", "."])
    output(copy, {}, [sys.executable, "-m", "crypto_lakehouse_tests.vocabulary"])
    output(copy, {}, [sys.executable, "-m", "mypy"])


def test_tests_that_know_every_table_type_and_exchange_still_pass(copy: Path) -> None:
    folder = "crypto_lakehouse_tests"
    tests = [f"{folder}/unit/test_{name}.py" for name in UNIT.split()]
    tests += [f"{folder}/orchestration/test_{name}.py" for name in ORCHESTRATION.split()]
    output(copy, {}, [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests])
