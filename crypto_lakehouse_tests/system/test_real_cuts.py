"""Real archive files through real runs: the same bytes in every layer for any split into runs, and on S3."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.realdata import ARCHIVE, needs_real_archive
from crypto_lakehouse_tests.system.runs import digests, run, settings

pytestmark = needs_real_archive

SYMBOLS = "FILUSDT,NEARUSDT"
BARS = "1h:5m,1d,1w,dollar:5000000"
MONTHS = [("2023-08-01", "2023-08-31"), ("2023-09-01", "2023-09-30")]
# NEARUSDT ends within this range: its files of September are not available.
DAYS = ["2023-08-30", "2023-08-31", "2023-09-01", "2023-09-02"]
ONE_RANGE = [(DAYS[0], DAYS[-1])]
SINGLE = [(day, day) for day in DAYS]


@pytest.fixture(scope="module")
def server() -> Iterator[ArchiveServer]:
    with ArchiveServer(ARCHIVE) as running:
        yield running


def make(server: ArchiveServer, lake: Path | str, spans: list[tuple[str, str]], **more: str) -> None:
    for first, last in spans:
        assert run(settings(server, lake, bars=BARS, **more), "um", first, last, SYMBOLS).success


@pytest.fixture(scope="module")
def at_once(server: ArchiveServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    lake = tmp_path_factory.mktemp("at_once")
    make(server, lake, ONE_RANGE)
    return digests(lake)


@pytest.mark.requirement("D6", "D8", "D9")
@pytest.mark.parametrize(
    "spans",
    [
        SINGLE,
        SINGLE[::-1],
        [(DAYS[0], DAYS[1]), (DAYS[2], DAYS[3])],
        [(DAYS[2], DAYS[3]), (DAYS[0], DAYS[1])],
        ONE_RANGE * 2,
    ],
    ids=["day by day", "in reverse order", "by month", "by month, in reverse order", "twice"],
)
def test_single_days_and_ranges_write_the_same_bytes(
    spans: list[tuple[str, str]], server: ArchiveServer, at_once: dict[str, str], tmp_path: Path
) -> None:
    make(server, tmp_path, spans)
    assert digests(tmp_path) == at_once


@pytest.mark.requirement("D6", "D9")
def test_a_deleted_day_is_rebuilt_with_the_same_bytes(
    server: ArchiveServer, at_once: dict[str, str], tmp_path: Path
) -> None:
    make(server, tmp_path, ONE_RANGE)
    for layer in ("bronze", "silver", "gold"):
        for folder in (tmp_path / layer).rglob(f"date={DAYS[1]}"):
            shutil.rmtree(folder)
    assert digests(tmp_path) != at_once
    make(server, tmp_path, [(DAYS[1], DAYS[1])])
    assert digests(tmp_path) == at_once


@pytest.mark.requirement("D6", "D8", "D9", "T5")
def test_two_months_by_month_on_s3_equal_the_local_range(
    server: ArchiveServer,
    tmp_path: Path,
    s3_lake: tuple[str, str, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base, endpoint, env = s3_lake
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    make(server, tmp_path, [(MONTHS[0][0], MONTHS[1][1])])
    make(server, f"{base}/real", MONTHS, s3_endpoint_url=endpoint)
    store = LakeStore.open(f"{base}/real", endpoint)
    local = digests(tmp_path)
    # 61 days of 2 tables of minutes and of continuous_1m, gaps, symbol_states, instruments and 4 tables of bars.
    assert len(local) == 61 * 10
    for path in local:
        assert store.read_bytes(path) == (tmp_path / path).read_bytes(), path
