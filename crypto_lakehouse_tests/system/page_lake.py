"""Lakes to look at: one of real runs with a fault of every kind, and one of the size of a whole market."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from crypto_lakehouse.catalog import feed
from crypto_lakehouse.lake.storage.ledger import record_files
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.files import ArchiveFolder
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.runs import run, settings

KLINES = "data/futures/um/daily/klines"
FIRST, LAST = "2024-12-27", "2025-01-02"
REVISED, LOST, REFUSED, NOT_BUILT = "2024-12-29", "2024-12-30", "2024-12-28", "2025-01-01"
SYMBOLS, DAYS = 800, 2600


def build_faulty_lake(folder: Path) -> Path:
    """A lake of a week and five symbols in um.

    ETHUSDT has no file on LOST and a refused row on REFUSED, the minutes and hours of NOT_BUILT are missing, LTCUSDT
    has quiet hours, and the archive has replaced the file of BTCUSDT of REVISED.
    """
    archive, lake = folder / "archive", folder / "lake"
    tables = ("klines_1m", "funding_rates")
    make_sample(archive, symbols=5, days=7, start=date.fromisoformat(FIRST), tables=tables, markets=("um",))
    for path in _files(archive, "ETHUSDT", LOST):
        path.unlink()
    _edit(archive, "ETHUSDT", REFUSED, lambda fields: [*fields[:2], "-1", *fields[3:]])
    with ArchiveServer(archive) as server:
        environment = settings(server, lake, tables=",".join(tables))
        assert run(environment, "um", "2024-12", "2025-01", cadence="monthly").success
        run(environment, "um", FIRST, LAST)
        _edit(archive, "BTCUSDT", REVISED, lambda fields: [*fields[:5], str(float(fields[5]) + 1), *fields[6:]])
        run(environment, "um", REVISED, LAST)
    for table in ("silver/klines_1m", "gold/continuous_1m", "gold/bars_1h"):
        (lake / f"{table}/exchange=binance/market=um/date={NOT_BUILT}/part-0.parquet").unlink()
    return lake


def build_large_lake(folder: Path) -> Path:
    """What the coverage of a market of SYMBOLS and DAYS is read from: a ledger, and partitions that are not opened."""
    lake = LakeStore.open(str(folder))
    klines, first = feed("binance", "um", "klines_1m"), date(2019, 12, 31)
    names = [f"A{number:03}USDT" for number in range(SYMBOLS)]
    for number in range(DAYS):
        day = str(first + timedelta(days=number))
        # A market grows, and some of its files are missing or bad.
        listed = [name for at, name in enumerate(names) if at * 3 <= number and (at * 7 + number) % 97]
        rows = [
            _row(name, day, "quarantined" if (at * 13 + number) % 211 == 0 else "ingested")
            for at, name in enumerate(listed)
        ]
        record_files(lake, klines, day, rows, datetime(2024, 1, 2, tzinfo=UTC))
        lake.write_bytes_atomic(f"silver/klines_1m/exchange=binance/market=um/date={day}/part-0.parquet", b"not opened")
    return folder


def _row(symbol: str, day: str, status: str) -> dict[str, object]:
    key = f"{KLINES}/{symbol}/1m/{symbol}-1m-{day}.zip"
    facts = {"symbol": symbol, "period": day, "rows": 1440, "rejected_rows": 0, "sha256": "a" * 64}
    return {"key": key, "status": status, **facts}


def _files(archive: Path, symbol: str, day: str) -> list[Path]:
    (path,) = archive.glob(f"{KLINES}/{symbol}/1m/*{day}.zip")
    return [path, path.with_name(f"{path.name}.CHECKSUM")]


def _edit(archive: Path, symbol: str, day: str, change: Callable[[Sequence[str]], Sequence[str]]) -> None:
    """Change one line of a file, and its checksum."""
    path = _files(archive, symbol, day)[0]
    with zipfile.ZipFile(path) as container:
        lines = container.read(container.namelist()[0]).decode().splitlines()
    lines[100] = ",".join(change(lines[100].split(",")))
    ArchiveFolder(archive).add(str(path.relative_to(archive)), ["\n".join([*lines, ""]).encode()])
