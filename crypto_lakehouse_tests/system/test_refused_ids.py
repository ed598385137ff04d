"""Ids of trades whose rows were refused, next to ids that are missing in the archive, with a served archive."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.definitions import build_defs
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse.settings import Settings
from crypto_lakehouse_tests.system.runs import digests, read, settings

DAYS = ("2024-12-27", "2024-12-28")
Lines = list[str]


def rewrite(archive: Path, day: str, change: Callable[[Lines], Lines]) -> Lines:
    """Change the rows of a day's file of aggregate trades; the rows before, without the header."""
    path = archive / f"data/futures/um/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-{day}.zip"
    with zipfile.ZipFile(path) as opened:
        [name] = opened.namelist()
        header, *lines = opened.read(name).decode().splitlines()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr(name, "\n".join([header, *change(list(lines))]) + "\n")
    path.write_bytes(buffer.getvalue())
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    path.with_name(f"{path.name}.CHECKSUM").write_text(f"{digest}  {path.name}\n")
    return lines


def field(line: str, position: int, text: str) -> str:
    fields = line.split(",")
    fields[position] = text
    return ",".join(fields)


def damaged(lines: Lines) -> Lines:
    """Rows 3, 4 and the last have no quantity, 6 is missing, 8 has a price that is not a number."""
    changed = [*lines[:6], *lines[7:-1], field(lines[-1], 2, "0.0")]
    changed[3], changed[4] = field(lines[3], 2, "0.0"), field(lines[4], 2, "0.0")
    changed[7] = field(lines[8], 1, "many")
    return changed


def run(environment: Settings, first: str, last: str) -> list[dg.AssetCheckEvaluation]:
    """Update the market for the days; return the result of the check of ids."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = (
            build_defs(environment)
            .resolve_job_def("update_binance_um_daily")
            .execute_in_process(instance=instance, tags={RANGE_START_TAG: first, RANGE_END_TAG: last})
        )
    return [check for check in result.get_asset_check_evaluations() if check.check_name == "id_continuity"]


@pytest.mark.requirement("F4.8", "D13")
def test_refused_and_missing_ids_are_distinguished_in_any_order_of_days(tmp_path: Path) -> None:
    make_sample(tmp_path / "archive", symbols=1, days=2, tables=["agg_trades"], markets=["um"])
    lines = rewrite(tmp_path / "archive", DAYS[0], damaged)
    first, last = (int(line.split(",")[0]) for line in (lines[0], lines[-1]))
    with ArchiveServer(tmp_path / "archive") as server:
        at_once, one_by_one = (
            settings(server, tmp_path / name, tables="agg_trades", symbols="BTCUSDT") for name in ("a", "b")
        )
        [check] = run(at_once, *DAYS)
        for day in reversed(DAYS):
            run(one_by_one, day, day)
        assert digests(tmp_path / "a") == digests(tmp_path / "b")
        lake = Lakehouse(str(tmp_path / "a"))
        missing = read(lake, "gold.agg_trades_missing_ids", market="um").sort("first_missing_id")
        assert missing.select("first_missing_id", "last_missing_id", "missing_ids", "refused").rows() == [
            (first + 3, first + 4, 2, True),
            (first + 6, first + 6, 1, False),
            (first + 8, first + 8, 1, True),
            # The last row of a day is missed when the next one goes on after it.
            (last, last, 1, True),
        ]
        continuity = read(lake, "gold.agg_trades_continuity", market="um").sort("first_time")
        assert continuity.select("missing_ids", "refused_ids").rows() == [(4, 3), (1, 1)]
        said = re.findall(r"\d+ ids are missing[^|]*", str(check.metadata["table"].value))
        assert said == [
            "4 ids are missing in 3 ranges, 3 of them refused here: see the quarantine ",
            "1 ids are missing in 1 ranges, 1 of them refused here: see the quarantine ",
        ]

        # The exchange replaces the file by one without its last row: now that id is missing in the archive.
        rewrite(tmp_path / "archive", DAYS[0], lambda damaged_lines: damaged_lines[:-1])
        run(at_once, DAYS[0], DAYS[0])
        later = read(lake, "gold.agg_trades_missing_ids", market="um", start=DAYS[1])
        assert later.select("first_missing_id", "refused").rows() == [(last, False)]
