"""A folder with a lake in ``demo/lake``: of real files of the archive if they are here, and of the sample archive."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.clients.page import Section, section
from crypto_lakehouse_tests.system.realdata import ARCHIVE
from crypto_lakehouse_tests.system.runs import run, settings


@dataclass(frozen=True)
class Desk:
    """The folder, and a symbol of USD-M futures in its lake; on spot there is BTCUSDT."""

    folder: Path
    symbol: str
    is_real: bool

    @property
    def lake(self) -> Lakehouse:
        return Lakehouse(self.folder / "demo" / "lake")

    def section(self, heading: str) -> Section:
        """A section of the page on libraries, about this symbol."""
        return section(heading, self.symbol)

    def shell(self, commands: str) -> None:
        """Run commands of ours, which must succeed."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAKEHOUSE_", "DAGSTER_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        variables = {**kept, "LAKEHOUSE_LAKE_URI": "./demo/lake", "PATH": path}
        command = ["bash", "-euxo", "pipefail", "-c", commands]
        done = subprocess.run(command, cwd=self.folder, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session", params=["real", "sample"])
def desk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sample":
        yield Desk(_of_the_sample(folder), "BTCUSDT", is_real=False)
    elif ARCHIVE.is_dir():
        yield Desk(_of_real_files(folder), "FILUSDT", is_real=True)
    else:
        pytest.skip("no real archive files in ../shared/realdata/archive")


def _of_real_files(folder: Path) -> Path:
    with ArchiveServer(ARCHIVE) as server:
        environment = settings(server, folder / "demo" / "lake", bars="1h,1d")
        assert run(environment, "um", "2023-08-01", "2023-08-31", "FILUSDT,NEARUSDT").success
        assert run(environment, "spot", "2020-01-01", "2020-01-03", "BTCUSDT").success
    return folder


def _of_the_sample(folder: Path) -> Path:
    tables = ("klines_1m", "funding_rates", "mark_klines_1m")
    markets = ("um", "spot")
    make_sample(folder / "archive", symbols=2, days=5, start=date(2024, 12, 28), tables=tables, markets=markets)
    with ArchiveServer(folder / "archive") as server:
        environment = settings(server, folder / "demo" / "lake", tables=",".join(tables), bars="1h,1d")
        assert run(environment, "um", "2024-12", "2025-01", cadence="monthly").success
        for market in markets:
            assert run(environment, market, "2024-12-28", "2025-01-01").success
    return folder
