"""Wheel and sdist: they build, their metadata is valid, and the base installation reads a lake on every Python here."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from datetime import date
from pathlib import Path

import pytest

from benchmarks.install import ROOT, build_wheel, clean_environment, fresh_environment, interpreters, pip
from crypto_lakehouse.catalog.extras import PLATFORM, install_command
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.runs import run, settings

pytestmark = [pytest.mark.slow, pytest.mark.requirement("T6")]

INTERPRETERS = interpreters()
READ = """
import sys
from crypto_lakehouse import Lakehouse
import crypto_lakehouse
assert crypto_lakehouse.__file__.startswith(sys.prefix), crypto_lakehouse.__file__
lake = Lakehouse(sys.argv[1])
minutes = lake.read("silver.klines_1m", market="um", format="polars")
assert lake.scan("silver.klines_1m", market="um").collect().height == minutes.height > 0
stored = lake.read("gold.bars_1h", market="um")
computed = lake.bars(minutes["symbol"].unique().sort().to_list(), "2h", market="um", offset="30m")
assert len(stored) > len(computed) > 0
counted = lake.sql("SELECT count(*) AS rows FROM silver.klines_1m")
assert counted["rows"].tolist() == [len(minutes)]
assert len(lake.tables()) > 3
assert "dagster" not in sys.modules
"""


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with ``build`` and ``twine``."""
    if not INTERPRETERS:
        pytest.skip("no Python with venv and ensurepip is on PATH")
    python = fresh_environment(next(iter(INTERPRETERS.values())), tmp_path_factory.mktemp("tools") / "environment")
    try:
        pip(python, "install", "build", "twine")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"pip cannot install build and twine, so there is no package registry: {error.stderr[-200:]}")
    return python


@pytest.fixture(scope="module")
def wheel(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tools, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def small_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    tables = ("klines_1m", "funding_rates")
    make_sample(folder / "archive", symbols=2, days=2, start=date(2024, 12, 30), tables=tables, markets=("um",))
    with ArchiveServer(folder / "archive") as server:
        environment = settings(server, folder / "lake", tables=",".join(tables))
        assert run(environment, "um", "2024-12", "2024-12", cadence="monthly").success
        assert run(environment, "um", "2024-12-30", "2024-12-31").success
    return folder / "lake"


def test_wheel_and_sdist_build_and_their_metadata_is_valid(tools: Path, tmp_path: Path) -> None:
    build = [tools, "-m", "build", "--outdir", tmp_path, ROOT]
    subprocess.run(build, check=True, capture_output=True, env=clean_environment())
    (wheel,), (sdist,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    subprocess.run([tools, "-m", "twine", "check", "--strict", wheel, sdist], check=True, env=clean_environment())
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "crypto_lakehouse/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"crypto_lakehouse"}
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "crypto_lakehouse/py.typed"} <= packed


@pytest.mark.parametrize("version", INTERPRETERS or [f"{sys.version_info.major}.{sys.version_info.minor}"])
def test_the_base_installation_reads_a_lake(version: str, wheel: Path, small_lake: Path, tmp_path: Path) -> None:
    python = fresh_environment(INTERPRETERS[version], tmp_path / "environment")
    try:
        pip(python, "install", str(wheel))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"pip cannot install the dependencies for Python {version}: {error.stderr[-200:]}")
    names = {package["name"] for package in json.loads(pip(python, "list", "--format", "json"))}
    assert not [name for name in names if "dagster" in name or name in ("aiohttp", "isal", "plotly")]
    environment = {**clean_environment(), "LAKEHOUSE_LAKE_URI": str(small_lake)}

    def shell(*words: str) -> subprocess.CompletedProcess[str]:
        command = [python.with_name("crypto-lakehouse"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)

    read = [python, "-c", READ, str(small_lake)]
    result = subprocess.run(read, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for words in (
        ["--help"],
        ["config"],
        ["status"],
        ["verify"],
        ["tables"],
        ["describe", "gold.bars_1h"],
        ["coverage", "BTCUSDT"],
        ["sql", "SELECT count(*) AS rows FROM gold.bars_1h"],
        ["read", "gold.bars_1h", "--market", "um", "--format", "csv"],
    ):
        result = shell(*words)
        assert result.returncode == 0, (words, result.stderr)
    assert result.stdout.startswith("symbol,")
    refused = shell("compact", "--market", "um")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.strip().endswith(install_command(PLATFORM))


NOTEBOOK = """
import sys
import nbclient, nbformat
from nbformat.v4 import new_code_cell, new_notebook
cells = ["%pip --version", "from crypto_lakehouse import Lakehouse\\nLakehouse().plot('BTCUSDT', market='um')"]
notebook = new_notebook(cells=[new_code_cell(source) for source in cells])
nbclient.NotebookClient(notebook, kernel_name="python3", timeout=None).execute()
version, picture = (cell["outputs"][0] for cell in notebook["cells"])
assert sys.prefix in version["text"], version
assert "application/vnd.plotly.v1+json" in picture["data"]
"""


def test_the_extra_of_notebooks_has_jupyterlab_a_kernel_with_pip_and_pictures(
    wheel: Path, small_lake: Path, tmp_path: Path
) -> None:
    python = fresh_environment(list(INTERPRETERS.values())[-1], tmp_path / "environment")
    try:
        pip(python, "install", f"{wheel}[notebook]")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"pip cannot install the extra notebook: {error.stderr[-200:]}")
    environment = {
        **clean_environment(),
        "LAKEHOUSE_LAKE_URI": str(small_lake),
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    for command in ([python.with_name("jupyter"), "lab", "--version"], [python, "-c", NOTEBOOK]):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-2000:]
