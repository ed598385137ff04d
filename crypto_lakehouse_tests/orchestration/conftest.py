"""A served sample archive and a lake made from it once; tests copy what they change. Real components only."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from crypto_lakehouse.definitions import build_defs
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse.schemas import gold
from crypto_lakehouse.settings import Settings

START = date(2024, 12, 30)
DAYS = ("2024-12-30", "2024-12-31", "2025-01-01")


@dataclass
class Platform:
    """Definitions over one lake and one archive, and a Dagster instance in memory."""

    lake: Path
    archive: Path
    url: str
    listing_url: str
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def defs(self, **settings: Any) -> dg.Definitions:
        """The real definitions; ``settings`` go before those of the platform."""
        chosen = {
            "env": "test",
            "lake_uri": str(self.lake),
            "archive_url": self.url,
            "archive_listing_url": self.listing_url,
            "retries": 2,
            "tables": "klines_1m",
            **self.settings,
        }
        return build_defs(Settings.load(**{**chosen, **settings}))

    @property
    def store(self) -> LakeStore:
        return LakeStore.open(str(self.lake))

    def run(self, job: str, first: str, last: str, **settings: Any) -> dg.ExecuteInProcessResult:
        """Execute a job for a range of partitions; a failed run is returned, not raised."""
        tags = {RANGE_START_TAG: first, RANGE_END_TAG: last}
        made = self.defs(**settings).resolve_job_def(job)
        return made.execute_in_process(instance=self.instance, tags=tags, raise_on_error=False)


@pytest.fixture(scope="package", autouse=True)
def _tables_with_code_of_their_own() -> Iterator[None]:
    """Hide gold tables that are one file and one entry: the tests here count the tables of a run, and a new table must
    not change them. ``system/test_contributing.py`` builds such a table.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gold, "GOLD_TABLES", tuple(table for table in gold.GOLD_TABLES if table.maker != "days"))
        yield


@pytest.fixture(scope="package")
def seed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of two symbols and three days, and the lake of market ``um`` made from it."""
    folder = tmp_path_factory.mktemp("seed")
    make_sample(folder / "archive", symbols=2, days=3, start=START)
    with ArchiveServer(folder / "archive") as server:
        platform = Platform(folder / "lake", folder / "archive", server.url, server.listing_url)
        assert platform.run("update_binance_um_daily", DAYS[0], DAYS[-1]).success
    return folder


@pytest.fixture
def empty(seed_folder: Path, tmp_path: Path) -> Iterator[Platform]:
    """A platform with the archive and an empty lake; both are the test's own."""
    shutil.copytree(seed_folder / "archive", tmp_path / "archive")
    with ArchiveServer(tmp_path / "archive") as server:
        yield Platform(tmp_path / "lake", tmp_path / "archive", server.url, server.listing_url)


@pytest.fixture
def filled(seed_folder: Path, empty: Platform) -> Platform:
    """As ``empty``, with the lake of market ``um`` in place."""
    shutil.copytree(seed_folder / "lake", empty.lake)
    return empty


@pytest.fixture
def replace_file() -> Callable[[Path, str], None]:
    """Give an archive file other contents with a checksum that fits, as the exchange does."""

    def replace(archive: Path, key: str) -> None:
        symbol_day = Path(key).stem[-10:]
        other = archive.parent / "other"
        make_sample(other, symbols=2, days=3, start=START, seed=8)
        assert symbol_day in DAYS
        for name in (key, f"{key}.CHECKSUM"):
            assert (other / name).read_bytes() != (archive / name).read_bytes()
            shutil.copyfile(other / name, archive / name)

    return replace


def failure_text(result: dg.ExecuteInProcessResult) -> str:
    """What the failed steps say, without stack traces."""
    causes = []
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            error = data.error
            while error is not None:
                causes.append(error.message)
                error = error.cause
            failure = data.user_failure_data
            if failure is not None:
                causes.append(failure.description or "")
    return "\n".join(causes)
