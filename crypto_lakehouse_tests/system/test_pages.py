"""The documentation does what it says: every snippet of the README and of ``docs/`` runs, or says why it does not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.runs import run, settings

pytestmark = [pytest.mark.slow, pytest.mark.requirement("T12")]

ROOT = Path(__file__).parents[2]
# Pages whose snippets other tests follow.
FOLLOWED = {
    "docs/contributing.md": "system/test_contributing.py",
    "docs/api/python.md": "unit/test_page_of_python.py",
    "docs/api/rest.md": "system/test_serve_page.py",
    "docs/api/sql.md": "unit/test_page_of_sql.py",
    "docs/workflows/own-assets.md": "orchestration/test_own_assets.py",
}
PAGES = [
    path
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if path.relative_to(ROOT).as_posix() not in FOLLOWED
]
# A mark, then a block of code, both perhaps within a list.
BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- not executed: (?P<reason>.+?) -->\n+ *)?"
    r"```(?P<language>sh|bash|python)\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Snippet:
    """A block of code, and why it is not executed; empty if it is."""

    language: str
    code: str
    reason: str


def snippets(page: Path) -> list[Snippet]:
    found = []
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        indent = len(match["indent"])
        code = "\n".join(line[indent:] for line in match["code"].splitlines())
        found.append(Snippet(match["language"].replace("bash", "sh"), code, match["reason"] or ""))
    return found


def executed(language: str) -> list[Path]:
    return [page for page in PAGES if any(s.language == language and not s.reason for s in snippets(page))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder with the lake of the demo in ``demo/lake``, and the environment of a user whose archive is a sample."""
    folder = tmp_path_factory.mktemp("pages")
    make_sample(folder / "archive", symbols=4, start=date(2024, 12, 27), days=10)
    tables = "klines_1m,funding_rates"
    with ArchiveServer(folder / "archive") as server:
        environment = settings(server, folder / "demo" / "lake", tables=tables)
        assert run(environment, "um", "2024-12", "2025-01", cadence="monthly").success
        assert run(environment, "um", "2024-12-27", "2025-01-05").success
        variables = {key: value for key, value in os.environ.items() if not key.startswith(("LAKEHOUSE_", "DAGSTER_"))}
        programs = Path(sys.executable).parent
        yield (
            folder,
            {
                **variables,
                "LAKEHOUSE_ARCHIVE_URL": server.url,
                "LAKEHOUSE_ARCHIVE_LISTING_URL": server.url,
                "LAKEHOUSE_LAKE_URI": "./demo/lake",
                "PATH": f"{programs}{os.pathsep}{variables['PATH']}",
            },
        )


@pytest.fixture
def desk(place: tuple[Path, dict[str, str]], tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A new folder that looks like a checkout with the demo."""
    folder, environment = place
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "lake").symlink_to(folder / "demo" / "lake")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (tmp_path / "query.sql").write_text("SELECT count(*) FROM gold.bars_1h", encoding="utf-8")
    return tmp_path, {**environment, "DAGSTER_HOME": str(tmp_path / "home")}


@pytest.mark.parametrize("page", executed("sh"), ids=name)
def test_the_commands_of_a_page_succeed(page: Path, desk: tuple[Path, dict[str, str]]) -> None:
    folder, environment = desk
    script = "\n".join(snippet.code for snippet in snippets(page) if snippet.language == "sh" and not snippet.reason)
    command = ["bash", "-euxo", "pipefail", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.parametrize("page", executed("python"), ids=name)
def test_the_python_of_a_page_runs(page: Path, desk: tuple[Path, dict[str, str]]) -> None:
    folder, environment = desk
    script = "\n".join(s.code for s in snippets(page) if s.language == "python" and not s.reason)
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert result.returncode == 0, result.stderr[-2000:]


def test_every_message_of_the_page_on_troubleshooting_is_what_the_command_says(
    desk: tuple[Path, dict[str, str]],
) -> None:
    folder, environment = desk
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]*crypto-lakehouse[^`]*)` \| (.+?) \| .+ \|$", page, re.MULTILINE)
    assert len(rows) >= 10
    for command, message in rows:
        shell = ["bash", "-c", command]
        result = subprocess.run(shell, capture_output=True, text=True, check=False, cwd=folder, env=environment)
        assert message in result.stderr, command


def test_each_page_that_another_test_follows_has_that_test() -> None:
    for page, test in FOLLOWED.items():
        assert (ROOT / page).is_file()
        assert Path(page).name in (ROOT / "crypto_lakehouse_tests" / test).read_text(encoding="utf-8")


def test_the_site_builds_without_a_warning_and_loads_nothing_from_other_hosts(tmp_path: Path) -> None:
    mkdocs = shutil.which("mkdocs", path=str(Path(sys.executable).parent))
    if mkdocs is None:
        pytest.skip("mkdocs is not installed: install the extra docs")
    command = [mkdocs, "build", "--strict", "-f", ROOT / "docs" / "site" / "mkdocs.yml", "-d", tmp_path / "site"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr[-2000:]
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|img|iframe)[^>]+src=\"?(?:https?:)?//[^> ]+", text), page.name
        assert not re.findall(r"<link[^>]+rel=\"?(?:stylesheet|preconnect)[^>]+href=\"?(?:https?:)?//[^> ]+", text)
        # Strict builds check links in Markdown; those in the HTML include the navigation and images.
        for link in re.findall(r"(?:href|src)=\"([^\"#?:]+)[#?\"]", text):
            if not link.startswith("/"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"
