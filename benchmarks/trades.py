"""A big day of trades from zip to bronze: its time over a plain reader's, and a peak that does not grow with the file.

``python -m benchmarks.trades FOLDER`` ingests the day from the folder of an archive, for a measurement of its peak
memory from outside.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from zipfile import ZipFile

from pyarrow import csv

from benchmarks.archives import FolderArchive, cli
from benchmarks.measure import Result, interleaved, peak_mib
from crypto_lakehouse.archive.unzip import iter_member
from crypto_lakehouse.catalog import FEEDS
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.bronze.partitions import BronzeIngest
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.parse import parse_blocks

TRADES = FEEDS["binance", "um", "trades"]
DAY = "2024-12-27"
_ROWS = (4_000_000, 12_000_000)


def run() -> Iterator[Result]:
    """Yield the times of the smaller day, read and ingested, over a plain reader's, and the peaks of both days."""
    with tempfile.TemporaryDirectory() as name:
        folder, numbers = Path(name), count()
        for rows in _ROWS:
            wish = ["--tables", "trades", "--markets", "um", "--symbols", "1", "--days", "1", "--start", DAY]
            wish += ["--trades-per-day", str(rows)]
            subprocess.run(cli("archive", "sample", str(folder / str(rows)), *wish), check=True, capture_output=True)
        small = folder / str(_ROWS[0])
        (path,) = small.rglob("*.zip")

        def read() -> None:
            chunks = iter_member(path, f"{path.stem}.csv", 2**40)
            assert sum(block.rows.height for block in parse_blocks(chunks, TRADES.file_format)) == _ROWS[0]

        def plain() -> None:
            with ZipFile(path) as archive, archive.open(archive.namelist()[0]) as text:
                assert sum(batch.num_rows for batch in csv.open_csv(text)) == _ROWS[0]

        seconds = interleaved(
            {"read": read, "ingest": lambda: ingest(small, folder / f"lake-{next(numbers)}"), "plain": plain}, rounds=3
        )
        rates = ", ".join(f"{way} {_ROWS[0] / taken / 1e6:.1f}" for way, taken in seconds.items())
        for words, way, goal in (("read, streamed", "read", 1.0), ("zip to bronze", "ingest", 1.6)):
            yield Result(
                f"trades: {words}, over a streamed pyarrow.csv that inflates and parses alone",
                seconds[way] / seconds["plain"],
                goal,
                at_most=True,
                detail=f"M rows/s: {rates}",
            )
        peaks = [peak_mib("benchmarks.trades", str(folder / str(rows))) for rows in _ROWS]
        sizes = f"{_ROWS[0]:,} rows {peaks[0]:,.0f} MiB, {_ROWS[1]:,} rows {peaks[1]:,.0f} MiB"
        yield Result("trades: peak of the larger day", peaks[1], 400, at_most=True, unit="MiB", detail=sizes)
        yield Result("trades: peak of a day three times as large", peaks[1] / peaks[0], 1.2, at_most=True)


def ingest(archive: Path, lake: Path) -> None:
    """Write the bronze partition of the day into a new lake."""
    store = LakeStore.open(str(lake))
    raw = RawStore(store, "binance", keep=False)
    source = FolderArchive(archive, TRADES)
    made = BronzeIngest(TRADES, source, store, raw, SymbolFilter.parse("*"), lambda: datetime.now(UTC))
    for part in made.partitions([DAY]):
        write_partition(store, TableSlice("bronze", "binance", "um", "trades").partition(part.key), part.rows)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        ingest(Path(sys.argv[1]), Path(temporary) / "lake")
