"""Peak memory of a big day: a real backfill of sample trades of one symbol; prints rows, seconds and the peak.

``python -m benchmarks.big_day [TRADES]``, 20 million by default. Other processes write and serve the archive, so the
peak is that of the backfill alone: Dagster, bronze, silver, the tables of ids and the checks.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.archives import CLI, cli, served

DAY = "2024-12-27"


def main(trades: int) -> None:
    """Write and serve an archive, run the backfill in a temporary folder, and print one line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sample = ["--tables", "trades", "--markets", "um", "--symbols", "1", "--days", "1", "--start", DAY]
        sample += ["--trades-per-day", f"{trades}"]
        subprocess.run(cli("archive", "sample", str(folder / "archive"), *sample), check=True)
        with served(folder / "archive") as (settings, _):
            home = folder / "dagster"
            home.mkdir()
            (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
            settings |= {"LAKEHOUSE_TABLES": "trades", "LAKEHOUSE_LAKE_URI": str(folder / "lake")}
            begun = time.perf_counter()
            wish = ["--market", "um", "--table", "trades", "--from", DAY, "--to", DAY]
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-c", CLI, "backfill", *wish],
                {**os.environ, **settings, "DAGSTER_HOME": str(home)},
            )
            _, status, usage = os.wait4(pid, 0)
            seconds = time.perf_counter() - begun
    if status:
        sys.exit("the backfill failed")
    print(f"{trades:,} trades: {seconds:.0f} s, peak {usage.ru_maxrss / 1024:,.0f} MiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000_000)
