"""What docs/contributing.md and the README promise to those who change the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/contributing.md")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_every_make_command_of_the_pages_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    commands = re.findall(r"(?:^|`)make((?: [a-z][a-z-]*)+)", text(page), re.MULTILINE)
    named = {target for command in commands for target in command.split()}
    assert named
    assert named <= targets


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_the_pages_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text(page))
    missing = [link for link in links if "://" not in link and not (ROOT / page).parent.joinpath(link).exists()]
    assert links
    assert not missing


def test_the_changelog_starts_with_what_is_unreleased_and_the_newest_release_is_the_version_of_the_package() -> None:
    headings = re.findall(r"^## \[?([^]\s]+)", text("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    version = tomllib.loads(text("pyproject.toml"))["project"]["version"]
    assert headings[1:2] in ([version], [])


def test_ci_runs_the_lint_and_the_test_command_of_the_readme() -> None:
    lines = text(".ci/run").splitlines()
    assert [line for line in lines if line.startswith("make ")] == [
        "make lint",
        "make test",
        "make drills",
        "make clients",
        "make prod-check",
    ]


def test_the_package_tells_type_checkers_that_it_has_types() -> None:
    assert (ROOT / "crypto_lakehouse" / "py.typed").is_file()
