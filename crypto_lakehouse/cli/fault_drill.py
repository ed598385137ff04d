"""The fault drill: build a lake from an archive with the faults of real ones, and show what became of each.

It runs the commands that a user would run, on folders that ``sample/faults.py`` writes and two local servers.
``fault_outcomes.py`` reads what the lake says about each fault.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from crypto_lakehouse.catalog.commands import command_line
from crypto_lakehouse.cli.console import say
from crypto_lakehouse.cli.fault_outcomes import differences, outcomes, report
from crypto_lakehouse.lake.reader.lakehouse import Lakehouse
from crypto_lakehouse.sample.api_server import ApiServer
from crypto_lakehouse.sample.faults import DAYS, FAULTS, MARKET, START, TABLE, heal, write_faulty
from crypto_lakehouse.sample.server import ArchiveServer

_LAST = START + timedelta(days=DAYS - 1)
_ALL_DAYS = ("--from", f"{START}", "--to", f"{_LAST}")
_LAST_DAY = ("--from", f"{_LAST}", "--to", f"{_LAST}")
# The clock of the exchange: after the last day of the archive.
_NOW = datetime(2024, 2, 1, 12, tzinfo=UTC)
_COMMANDS = (
    ("backfill", "--market", MARKET, "--table", TABLE, *_ALL_DAYS),
    ("backfill", "--market", MARKET, "--table", "instruments", *_LAST_DAY),
    ("compare", "--market", MARKET, *_ALL_DAYS),
    ("backfill", "--market", MARKET, "--table", "missing_minutes", *_ALL_DAYS),
)


def run_drill(folder: Path, console: Console) -> int:
    """Run the drill in ``folder``, which must be empty or missing; returns the exit code.

    It is that of the first command that fails although no fault is left that it has to report, and 1 if silver differs
    from what the exchange has. Raises FileExistsError if the folder has files, OSError if it cannot be written.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: choose a new folder with --folder")
    faulty = write_faulty(folder / "faulty")
    say(console, f"archive with {len(FAULTS)} faults: {faulty.archive}")
    (folder / "dagster").mkdir()
    with ArchiveServer(faulty.archive) as archive, ApiServer(faulty.exchange, now=_NOW) as api:
        variables = _variables(folder, archive, api)
        lake = Lakehouse(variables["LAKEHOUSE_LAKE_URI"])
        # A file that does not match its checksum makes a backfill end with exit code 1, after it has done all else.
        _run_all(variables, console)
        before, snapshot = outcomes(lake), lake.snapshot()
        say(console, f"\nthe archive publishes the right files of {', '.join(fault.name for fault in heal(faulty))}")
        if code := _run_all(variables, console):
            return code
    wrong = differences(lake, faulty.exchange)
    console.print(f"\n{report(before, outcomes(lake))}", markup=False, highlight=False, soft_wrap=True)
    say(console, f"minutes of silver.{TABLE} that are not what the exchange has: {wrong.height:,}")
    say(console, f"the lake before the files were published: Lakehouse({lake.uri!r}, as_of={snapshot!r})")
    return int(wrong.height > 0)


def _variables(folder: Path, archive: ArchiveServer, api: ApiServer) -> dict[str, str]:
    """The settings of the drill, and no other setting of this environment."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")}
    return others | {
        "DAGSTER_HOME": str((folder / "dagster").absolute()),
        "LAKEHOUSE_LAKE_URI": str((folder / "lake").absolute()),
        "LAKEHOUSE_ARCHIVE_URL": archive.url,
        "LAKEHOUSE_ARCHIVE_LISTING_URL": archive.listing_url,
        "LAKEHOUSE_REST_URLS": f"{MARKET}={api.url}",
        "LAKEHOUSE_COMPLETION": "true",
        "LAKEHOUSE_TABLES": TABLE,
        "LAKEHOUSE_MARKETS": MARKET,
    }


def _run_all(variables: Mapping[str, str], console: Console) -> int:
    """Run the commands one after the other; returns the exit code of the first that fails, else 0."""
    codes = []
    for words in _COMMANDS:
        say(console, f"\n$ {command_line(*words)}")
        codes.append(subprocess.run([sys.executable, "-m", "crypto_lakehouse", *words], env=variables).returncode)
    return next(filter(None, codes), 0)
