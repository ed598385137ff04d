"""Whatever happens to daily and monthly files and to the setting: no row is lost or doubled, or from a bad file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog.archive_files import ArchiveFiles
from crypto_lakehouse_tests.system.monthly import daily_file, ingest, ledger, monthly_file, put, quarantined, values
from crypto_lakehouse_tests.system.runs import WatchedServer, read
from crypto_lakehouse_tests.system.test_bad_input import line

SYMBOL, OTHER, MONTH, DAYS = "AUSDT", "ZUSDT", "2024-03", ("2024-03-05", "2024-03-06")
HOUR_MS = 3_600_000


def hours(day: str, volume: str = "100.0") -> str:
    """Hourly klines of a day."""
    rows = []
    for hour in range(24):
        opened = int(line(0, day).split(",", 1)[0]) + hour * HOUR_MS
        rows.append(line(0, day, open_time=f"{opened}", close_time=f"{opened + HOUR_MS - 1}", volume=volume))
    return "".join(rows)


CONTENTS: dict[str, dict[str, str | bytes | None]] = {
    "daily": {"good": hours(DAYS[0]), "other": hours(DAYS[0], "99.0"), "bad": b"no zip", "gone": None},
    "monthly": {
        "good": "".join(map(hours, DAYS)),
        "other": "".join(hours(day, "98.0") for day in DAYS),
        "without the day": hours(DAYS[1]),
        "bad": b"no zip",
        "gone": None,
    },
}
CHANGES = [(kind, content) for kind, contents in CONTENTS.items() for content in contents]


def place(archive: Path, kind: str, content: str) -> None:
    path = daily_file(archive, SYMBOL, DAYS[0]) if kind == "daily" else monthly_file(archive, SYMBOL, MONTH)
    data = CONTENTS[kind][content]
    if data is None:
        path.unlink(missing_ok=True)
    else:
        put(path, data)


@pytest.mark.requirement("D16", "D6")
@hypothesis_settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from(CHANGES), max_size=2), st.sampled_from(list(ArchiveFiles)), st.booleans()),
        min_size=2,
        max_size=7,
    )
)
def test_no_row_is_lost_or_doubled(steps: Sequence[tuple[list[tuple[str, str]], ArchiveFiles, bool]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        archive, lake = Path(name) / "archive", Path(name) / "lake"
        put(daily_file(archive, OTHER, DAYS[0]), hours(DAYS[0]))
        put(daily_file(archive, SYMBOL, DAYS[1]), hours(DAYS[1]))
        now = {"daily": "gone", "monthly": "gone"}
        had_rows = False
        with WatchedServer(archive) as server:
            for changes, files, is_other_new in steps:
                for kind, content in changes:
                    place(archive, kind, content)
                    now[kind] = content
                if is_other_new:
                    # Another symbol of the day writes the partition again.
                    put(daily_file(archive, OTHER, DAYS[0]), hours(DAYS[0], f"{100 + len(server.requests)}.0"))
                ingest(server, lake, DAYS, files, keep=False)
                rows = values(lake).filter(pl.col("open_time").dt.date() == pl.lit(DAYS[0]).str.to_date())
                counts = dict(rows.group_by("symbol").len().iter_rows())
                is_daily_good, is_month_good = (now[kind] in ("good", "other") for kind in ("daily", "monthly"))
                has_rows = had_rows or (is_daily_good and files is not ArchiveFiles.MONTHLY)
                has_rows = has_rows or (is_month_good and (files is not ArchiveFiles.DAILY))
                has_rows = has_rows or (is_daily_good and now["monthly"] == "gone")
                assert counts == ({SYMBOL: 24, OTHER: 24} if has_rows else {OTHER: 24})
                ingested = [row for row in ledger(lake, DAYS[0]) if row[0] == SYMBOL and row[2] == "ingested"]
                assert len(ingested) == has_rows
                assert rows.filter(symbol=SYMBOL)["base_volume"].n_unique() <= 1
                assert not [row for row in quarantined(lake, DAYS[0]) if row[0] == "silver"]
                sources = read(Lakehouse(lake), "silver.klines_1h").filter(symbol=SYMBOL)["source"]
                if has_rows:
                    assert f"archive_{ingested[0][1]}" in sources.unique().to_list()
                had_rows = has_rows
                if "gone" not in now.values() and "bad" not in now.values():
                    assert ingest(server, lake, DAYS, files, keep=False) == []
