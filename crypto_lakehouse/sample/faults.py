"""The faults of real archives, injected into a sample archive: for drills, tests and the page that lists them.

Writes three folders: what was true, what the exchange's REST API still has of it, and what the archive publishes.
``build.py`` writes the sample, ``server.py`` and ``api_server.py`` serve the folders.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from crypto_lakehouse.catalog import Cadence, Feed, feed, partition_key
from crypto_lakehouse.catalog.binance import EXCHANGE
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.coins import DELISTED_DAY
from crypto_lakehouse.sample.files import ArchiveFolder
from crypto_lakehouse.sample.format import file_key

MARKET, TABLE = "um", "klines_1m"
START, DAYS, COINS = date(2024, 1, 1), 31, 7
"""The faulty archive covers one month, because a monthly file is published when its month is over."""

_CLOSE = 4  # the column of a kline with its close
_MINUTES = 1440
Lines = list[bytes]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of the archive.

    ``day`` is its UTC day, ``minutes`` the minutes of that day which it concerns, [first, end) counted from midnight.
    ``symbol`` is empty if all symbols have it. ``heals`` says that the archive publishes the right file later.
    """

    name: str
    symbol: str
    day: date
    minutes: tuple[int, int]
    text: str
    heals: bool = False

    @property
    def period(self) -> str:
        """The partition of the day: ``YYYY-MM-DD``."""
        return self.day.isoformat()


def _on(day: int) -> date:
    return START + timedelta(days=day - 1)


_WHOLE = (0, _MINUTES)
FAULTS: tuple[Fault, ...] = (
    Fault("missing_day", "ETHUSDT", _on(10), _WHOLE, "The archive has no file of the day."),
    Fault("missing_hours", "BNBUSDT", _on(11), (300, 420), "Neither the daily nor the monthly file has two hours."),
    Fault("lost_minutes", "BTCUSDT", _on(12), (480, 490), "Ten minutes that the exchange does not have either."),
    Fault("late_day", "DOGEUSDT", _on(13), _WHOLE, "The file of the day is published later.", heals=True),
    Fault("replaced_file", "DOGEUSDT", _on(15), (600, 601), "A file with a wrong close is replaced.", heals=True),
    Fault("stale_checksum", "BTCUSDT", _on(16), _WHOLE, "The CHECKSUM is that of other bytes at first.", heals=True),
    Fault("monthly_short", "ETHUSDT", _on(20), (0, 720), "The monthly file does not have half of the day."),
    Fault("monthly_wrong", "BNBUSDT", _on(21), (720, 721), "The monthly file has another close of one minute."),
    Fault("halt", "", _on(18), (180, 210), "The exchange pauses all trading for half an hour."),
    Fault("delisting", "XRPUSDT", _on(1 + DELISTED_DAY), _WHOLE, "The symbol has no files from this day on."),
)
"""All faults. A pause and a delisting are no errors of the archive: they must not be taken for such."""


@dataclass(frozen=True, slots=True)
class FaultyArchive:
    """The folders of a faulty archive, below ``folder``."""

    folder: Path

    @property
    def truth(self) -> Path:
        """What was traded: the sample archive without faults."""
        return self.folder / "truth"

    @property
    def exchange(self) -> Path:
        """What the REST API of the exchange answers from: the truth without lost minutes."""
        return self.folder / "exchange"

    @property
    def archive(self) -> Path:
        """What the archive publishes."""
        return self.folder / "archive"


def write_faulty(folder: Path) -> FaultyArchive:
    """Write the three folders with all faults; ``heal`` then publishes what the archive publishes later.

    Raises OSError if the folder cannot be written.
    """
    faulty = FaultyArchive(folder)
    make_sample(faulty.truth, symbols=COINS, days=DAYS, start=START, tables=[TABLE], markets=[MARKET], monthly=True)
    by_name = {fault.name: fault for fault in FAULTS}
    for path in sorted(faulty.truth.glob(f"data/futures/um/daily/klines/*/1m/*-{by_name['halt'].period}.zip")):
        halt = replace(by_name["halt"], symbol=path.parent.parent.name)
        for cadence in (Cadence.DAILY, Cadence.MONTHLY):
            _edit(faulty.truth, halt, cadence, _without_minutes)
    for copy in (faulty.exchange, faulty.archive):
        shutil.copytree(faulty.truth, copy, dirs_exist_ok=True)

    lost = by_name["lost_minutes"]
    for place in (faulty.exchange, faulty.archive):
        _edit(place, lost, Cadence.DAILY, _without_minutes)
        _edit(place, lost, Cadence.MONTHLY, _without_minutes)
    hours = by_name["missing_hours"]
    for cadence in (Cadence.DAILY, Cadence.MONTHLY):
        _edit(faulty.archive, hours, cadence, _without_minutes)
    for name in ("missing_day", "late_day"):
        _remove(faulty.archive, by_name[name])
    _edit(faulty.archive, by_name["replaced_file"], Cadence.DAILY, _with_other_close)
    _edit(faulty.archive, by_name["monthly_wrong"], Cadence.MONTHLY, _with_other_close)
    _edit(faulty.archive, by_name["monthly_short"], Cadence.MONTHLY, _without_minutes)
    stale = _path(faulty.archive, by_name["stale_checksum"], Cadence.DAILY)
    _checksum(stale).write_text(f"{'0' * 64}  {stale.name}\n")
    return faulty


def heal(faulty: FaultyArchive) -> list[Fault]:
    """Publish the right files of the faults that heal, with their checksums; returns these faults."""
    healed = [fault for fault in FAULTS if fault.heals]
    for fault in healed:
        right, published = (_path(place, fault, Cadence.DAILY) for place in (faulty.truth, faulty.archive))
        for source, target in ((right, published), (_checksum(right), _checksum(published))):
            # A server may be reading: the new file replaces the old one as a whole.
            draft = target.with_name(f".{target.name}.tmp")
            shutil.copyfile(source, draft)
            draft.replace(target)
    return healed


def _without_minutes(fault: Fault, lines: Lines) -> Lines:
    return [line for line in lines if not _concerns(fault, line)]


def _with_other_close(fault: Fault, lines: Lines) -> Lines:
    """The close of the minutes is their low, which is a valid bar, or their open if that is the same."""
    changed = []
    for line in lines:
        fields = line.split(b",")
        if _concerns(fault, line):
            fields[_CLOSE] = next(price for price in (fields[3], fields[2], fields[1]) if price != fields[_CLOSE])
        changed.append(b",".join(fields))
    return changed


def _concerns(fault: Fault, line: bytes) -> bool:
    time = line.split(b",", 1)[0]
    if not time.isdigit():
        return False
    minute = int(time) // 60_000 - (fault.day - date(1970, 1, 1)).days * _MINUTES
    return fault.minutes[0] <= minute < fault.minutes[1]


def _edit(place: Path, fault: Fault, cadence: Cadence, change: Callable[[Fault, Lines], Lines]) -> None:
    path = _path(place, fault, cadence)
    with zipfile.ZipFile(path) as archive:
        lines = archive.read(archive.namelist()[0]).splitlines()
    _write(place, path, change(fault, lines))


def _write(place: Path, path: Path, lines: Iterable[bytes]) -> None:
    ArchiveFolder(place).add(path.relative_to(place).as_posix(), [b"".join(line + b"\n" for line in lines)])


def _remove(place: Path, fault: Fault) -> None:
    path = _path(place, fault, Cadence.DAILY)
    path.unlink(missing_ok=True)
    _checksum(path).unlink(missing_ok=True)


def _path(place: Path, fault: Fault, cadence: Cadence) -> Path:
    table: Feed = replace(feed(EXCHANGE, MARKET, TABLE), cadence=cadence)
    return place / file_key(table, fault.symbol, partition_key(fault.day, cadence))


def _checksum(path: Path) -> Path:
    return path.with_name(f"{path.name}.CHECKSUM")
