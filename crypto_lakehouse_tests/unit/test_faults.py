"""Whether the faulty archive has exactly the faults that it names, and heals those that it says."""

import hashlib
import zipfile
from datetime import date
from pathlib import Path

import pytest

from crypto_lakehouse.catalog.model import Cadence
from crypto_lakehouse.sample.faults import FAULTS, Fault, FaultyArchive, heal, write_faulty

_FOLDER = "data/futures/um/{cadence}/klines/{symbol}/1m/{symbol}-1m-{period}.zip"


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> FaultyArchive:
    return write_faulty(tmp_path_factory.mktemp("faulty"))


def _fault(name: str) -> Fault:
    return next(fault for fault in FAULTS if fault.name == name)


def _daily(place: Path, fault: Fault) -> Path:
    return place / _FOLDER.format(cadence=Cadence.DAILY, symbol=fault.symbol, period=fault.period)


def _monthly(place: Path, fault: Fault) -> Path:
    return place / _FOLDER.format(cadence=Cadence.MONTHLY, symbol=fault.symbol, period=fault.period[:7])


def _rows(path: Path, day: date) -> dict[int, bytes]:
    """The rows of a UTC day in a file, by minute of the day."""
    midnight = (day - date(1970, 1, 1)).days * 1440
    with zipfile.ZipFile(path) as archive:
        lines = archive.read(archive.namelist()[0]).splitlines()
    by_minute = {int(line.split(b",")[0]) // 60_000 - midnight: line for line in lines if line[:1].isdigit()}
    return {minute: line for minute, line in by_minute.items() if 0 <= minute < 1440}


def _named_checksum(path: Path) -> str:
    return path.with_name(f"{path.name}.CHECKSUM").read_text().split()[0]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_files_that_are_missing_at_first(faulty: FaultyArchive) -> None:
    for name in ("missing_day", "late_day"):
        assert _daily(faulty.truth, _fault(name)).is_file()
        assert _daily(faulty.exchange, _fault(name)).is_file()
        assert not _daily(faulty.archive, _fault(name)).exists()


@pytest.mark.parametrize(
    ("name", "where", "path", "missing"),
    [
        ("missing_hours", "archive", _daily, range(300, 420)),
        ("missing_hours", "archive", _monthly, range(300, 420)),
        ("missing_hours", "exchange", _daily, []),
        ("lost_minutes", "archive", _daily, range(480, 490)),
        ("lost_minutes", "archive", _monthly, range(480, 490)),
        ("lost_minutes", "exchange", _daily, range(480, 490)),
        ("monthly_short", "archive", _monthly, range(720)),
        ("monthly_short", "archive", _daily, []),
    ],
)
def test_minutes_that_are_missing_in_a_file(faulty: FaultyArchive, name, where, path, missing) -> None:
    fault = _fault(name)
    right, served = (_rows(path(place, fault), fault.day) for place in (faulty.truth, getattr(faulty, where)))
    assert served.items() <= right.items()
    assert sorted(right.keys() - served.keys()) == list(missing)


@pytest.mark.parametrize(("name", "path", "minute"), [("replaced_file", _daily, 600), ("monthly_wrong", _monthly, 720)])
def test_minutes_with_another_close(faulty: FaultyArchive, name, path, minute) -> None:
    fault = _fault(name)
    right, served = (_rows(path(place, fault), fault.day) for place in (faulty.truth, faulty.archive))
    assert right.keys() == served.keys()
    assert [each for each in right if right[each] != served[each]] == [minute]
    (*before, low, close), (*served_before, _, other) = (rows[minute].split(b",")[:5] for rows in (right, served))
    assert (before, low) == (served_before, other)
    assert close != other


def test_all_symbols_pause_in_the_halt_and_the_delisted_one_ends(faulty: FaultyArchive) -> None:
    halt, delisting = _fault("halt"), _fault("delisting")
    files = sorted(faulty.truth.glob(_FOLDER.format(cadence="daily", symbol="*", period=halt.period)))
    assert len(files) == 6
    for path in files:
        assert sorted(set(range(1440)) - _rows(path, halt.day).keys()) == list(range(*halt.minutes))
    folder = _daily(faulty.truth, delisting).parent
    assert max(path.name for path in folder.glob("*.zip")) < f"XRPUSDT-1m-{delisting.period}.zip"


def test_the_stale_checksum_and_all_other_faults_that_heal(tmp_path: Path) -> None:
    faulty = write_faulty(tmp_path)
    stale = _daily(faulty.archive, _fault("stale_checksum"))
    assert _named_checksum(stale) != _sha256(stale)
    healed = heal(faulty)
    assert {fault.name for fault in healed} == {"late_day", "replaced_file", "stale_checksum"}
    for fault in healed:
        published = _daily(faulty.archive, fault)
        assert published.read_bytes() == _daily(faulty.truth, fault).read_bytes()
        assert _named_checksum(published) == _sha256(published)
