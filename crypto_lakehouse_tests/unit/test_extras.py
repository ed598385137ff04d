"""The base installation reads; a command whose packages are missing names the extra that has them.

``system/test_install.py`` shows the same with real installations.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from crypto_lakehouse.catalog.extras import MODULES, PLATFORM, PLOT, SERVE, install_command
from crypto_lakehouse_tests.unit.test_layering import NAME, PACKAGE, imported_modules, modules, package_of

pytestmark = pytest.mark.requirement("T6")

PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BUILDING = {"archive", "rest", "sample", "pipeline", "orchestration", "definitions", "cli"}
# The command line without packages of extras, as in a base installation.
RUN = f"""
import sys
from {NAME}.catalog.extras import MODULES
sys.modules.update({{module: None for names in MODULES.values() for module in names}})
from {NAME}.__main__ import main
sys.argv[0] = "crypto-lakehouse"
main()
"""


def distributions(requirements: list[str]) -> set[str]:
    """Names of the packages, without versions, in the spelling of metadata."""
    names = (requirement.partition("[")[0] for requirement in requirements)
    return {name.partition(">")[0].partition("<")[0].strip().lower() for name in names}


def imports_of(distribution: set[str]) -> set[str]:
    wanted = {_plain(name) for name in distribution}
    return {module for module, names in packages_distributions().items() if {_plain(name) for name in names} & wanted}


def _plain(name: str) -> str:
    """A name as registries compare it: prometheus-client is prometheus_client."""
    return name.lower().replace("_", "-").replace(".", "-")


def outside(path: Path) -> set[str]:
    """Top-level modules of other packages that a module imports."""
    names = {name.split(".")[0] for name in imported_modules(path, path.read_text(encoding="utf-8"))}
    return names - {NAME} - set(sys.stdlib_module_names)


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")}
    environment["LAKEHOUSE_LAKE_URI"] = str(folder)
    command = [sys.executable, "-c", RUN, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)


def test_what_reads_imports_only_packages_of_the_base_installation_and_of_pictures() -> None:
    # botocore comes with boto3, pydantic with pydantic-settings.
    allowed = imports_of(distributions(PROJECT["dependencies"])) | {"botocore", "pydantic", *MODULES[PLOT]}
    of_rooms = {"api": set(MODULES[SERVE])}
    wrong = {
        path.name: outside(path) - allowed - of_rooms.get(package_of(path), set())
        for path in modules()
        if package_of(path) not in BUILDING
    }
    assert {name: others for name, others in wrong.items() if others} == {}


@pytest.mark.parametrize("extra", [PLATFORM, PLOT, SERVE])
def test_each_package_of_an_extra_has_a_module_that_names_the_extra(extra: str) -> None:
    wanted = distributions(PROJECT["optional-dependencies"][extra]) - {"crypto-lakehouse"}
    for name in wanted:
        assert imports_of({name}) & set(MODULES[extra]), name
    assert not imports_of(distributions(PROJECT["dependencies"])) & set(MODULES[extra])


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("demo", PLATFORM),
        ("compact --market um", PLATFORM),
        ("backfill --market um --table klines_1m --from 2024-01-01 --to 2024-01-02", PLATFORM),
        ("archive symbols --market um --table klines_1m", PLATFORM),
        ("archive sample ./archive", PLATFORM),
        ("archive serve .", PLATFORM),
        ("update", PLATFORM),
        ("serve", SERVE),
        ("plot candles BTCUSDT --market um --out chart.png", PLOT),
        ("plot coverage silver.klines_1m --market um --out chart.html", PLOT),
    ],
)
def test_a_command_without_its_packages_says_what_to_install(tmp_path: Path, command: str, extra: str) -> None:
    result = run(tmp_path, *command.split())
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(install_command(extra))
    assert not result.stdout
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["--help", "--version", "config", "status", "tables"])
def test_commands_that_read_need_no_extra(tmp_path: Path, command: str) -> None:
    result = run(tmp_path, command)
    assert "pip install" not in result.stderr
    assert "Traceback" not in result.stderr
