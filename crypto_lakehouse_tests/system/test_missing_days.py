"""Missing days between stored days: a hole of the lake, which is not a gap of the market."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.runs import digests, read
from crypto_lakehouse_tests.system.test_cli import UM, run


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    archive = tmp_path_factory.mktemp("archive")
    make_sample(archive, symbols=1, days=21, start=date(2024, 3, 1), tables=("klines_1m",), markets=("um",))
    with ArchiveServer(archive) as server:
        yield {"LAKEHOUSE_ARCHIVE_URL": server.url, "LAKEHOUSE_ARCHIVE_LISTING_URL": server.listing_url}


def backfill(folder: Path, first: str, last: str, settings: dict[str, str]) -> str:
    folder.mkdir(exist_ok=True)
    done = run(folder, *UM, "klines_1m", "--from", first, "--to", last, LAKEHOUSE_BARS="1h,1w", **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.requirement("F4.3", "F7.3", "D9")
def test_a_gap_over_missing_days_is_marked_and_starts_no_segment(tmp_path: Path, served: dict[str, str]) -> None:
    folder = tmp_path / "holes"
    backfill(folder, "2024-03-01", "2024-03-02", served)
    said = backfill(folder, "2024-03-20", "2024-03-21", served)
    # The command in the summary builds the days.
    assert (
        "missing_days of gold/binance/um/gaps: 1 findings: 2024-03-20 BTCUSDT 17 days from 2024-03-03 to 2024-03-19 are"
        " not in the lake, so this may not be a real gap; it starts no segment. Build them with: crypto-lakehouse"
        " backfill --market um --table klines_1m --from 2024-03-03 --to 2024-03-19"
    ) in said
    lake = Lakehouse(folder / "lake")
    (gap,) = read(lake, "gold.gaps", market="um").iter_rows(named=True)
    assert (gap["reason"], gap["missing_days"], gap["segment"]) == ("missing_days", 17, 0)
    with pytest.warns(UserWarning, match="no partition for 2024-03-03"):
        minutes = lake.read("gold.continuous_1m", format="polars", market="um")
    assert minutes["segment"].unique().to_list() == [0]
    said = backfill(folder, "2024-03-03", "2024-03-19", served)
    assert "missing_days" not in said
    assert read(lake, "gold.gaps", market="um").is_empty()
    whole = tmp_path / "whole"
    backfill(whole, "2024-03-01", "2024-03-21", served)
    assert digests(folder / "lake") == digests(whole / "lake")


@pytest.mark.requirement("F4.3", "D9")
def test_a_new_day_in_the_middle_splits_the_hole(tmp_path: Path, served: dict[str, str]) -> None:
    folders = tmp_path / "late", tmp_path / "early"
    for folder, days in zip(folders, ("01 20 10", "10 01 20"), strict=True):
        for day in days.split():
            backfill(folder, f"2024-03-{day}", f"2024-03-{day}", served)
    late, early = (digests(folder / "lake") for folder in folders)
    assert late == early
    with pytest.warns(UserWarning, match="no partition for"):
        gaps = Lakehouse(folders[0] / "lake").read("gold.gaps", format="polars", market="um")
    assert gaps.select(pl.col("gap_end").dt.date(), "missing_days", "reason").rows() == [
        (date(2024, 3, 10), 8, "missing_days"),
        (date(2024, 3, 20), 9, "missing_days"),
    ]
