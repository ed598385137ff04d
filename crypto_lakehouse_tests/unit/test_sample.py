"""The sample archive: the properties that a reader of the real archive relies on."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from datetime import date
from decimal import Decimal
from itertools import groupby
from pathlib import Path

import pytest

from crypto_lakehouse.catalog.binance import CM
from crypto_lakehouse.sample.build import SampleSummary, make_sample

pytestmark = pytest.mark.requirement("F2.5")

FOLDERS = {"spot": "spot", "um": "futures/um", "cm": "futures/cm"}
MINUTE, HOUR = 60_000, 3_600_000


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SampleSummary]:
    directory = tmp_path_factory.mktemp("archive")
    return directory, make_sample(directory, symbols=5, days=7)


def path_of(root: Path, market: str, symbol: str, interval: str, day: str) -> Path:
    folder = root / "data" / FOLDERS[market] / "daily/klines" / symbol / interval
    return folder / f"{symbol}-{interval}-{day}.zip"


def lines(path: Path) -> list[list[str]]:
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [path.with_suffix(".csv").name]
        return list(csv.reader(io.StringIO(archive.read(archive.namelist()[0]).decode())))


def rows(path: Path) -> list[list[Decimal]]:
    return [[Decimal(v) for v in line] for line in lines(path) if line[0].isdigit()]


def zips(root: Path, pattern: str) -> list[Path]:
    found = sorted(root.glob(f"data/**/{pattern}.zip"))
    assert found
    return found


def test_summary_counts_what_is_on_disk(sample: tuple[Path, SampleSummary]) -> None:
    root, summary = sample
    files = [p for p in root.rglob("*") if p.is_file()]
    assert (summary.files, summary.bytes) == (len(files), sum(p.stat().st_size for p in files))
    assert (summary.markets, summary.symbols) == (("spot", "um", "cm"), 5)
    assert (summary.first, summary.end) == (date(2024, 12, 27), date(2025, 1, 3))


def test_every_zip_has_a_true_checksum(sample: tuple[Path, SampleSummary]) -> None:
    texts = []
    for path in zips(sample[0], "*"):
        texts.append(path.with_name(f"{path.name}.CHECKSUM").read_text())
        assert texts[-1].rstrip("\n") == f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}"
    assert sum(text.endswith("\n") for text in texts) > len(texts) / 2


def test_hours_are_exactly_the_sum_of_their_minutes(sample: tuple[Path, SampleSummary]) -> None:
    for hourly in zips(sample[0], "*-1h-*"):
        minutely = hourly.parent.parent / "1m" / hourly.name.replace("-1h-", "-1m-")
        unit = 1000 if "/spot/" in str(hourly) and "-2025-" in hourly.name else 1
        expected = []
        for start, group in groupby(rows(minutely), key=lambda r, u=unit: r[0] // (HOUR * u) * HOUR * u):
            bars = list(group)
            total = {i: sum(b[i] for b in bars) for i in (5, 7, 8, 9, 10)}
            high, low = max(b[2] for b in bars), min(b[3] for b in bars)
            end = start + HOUR * unit - 1
            expected.append(
                [
                    start,
                    bars[0][1],
                    high,
                    low,
                    bars[-1][4],
                    total[5],
                    end,
                    *(total[i] for i in (7, 8, 9, 10)),
                    0,
                ]
            )
        assert rows(hourly) == expected


def test_bars_are_possible(sample: tuple[Path, SampleSummary]) -> None:
    for path in zips(sample[0], "*-1m-2024-12-2[89]"):
        size = Decimal(int(CM.contract_size(path.name.split("-")[0]))) if "/cm/" in str(path) else None
        for _, opened, high, low, close, volume, _, quote, count, taker, taker_quote, _ in rows(path):
            assert low <= min(opened, close) <= max(opened, close) <= high
            assert low > 0
            assert 0 <= taker <= volume
            assert 0 <= taker_quote <= quote
            assert (count > 0) == (volume > 0)
            if volume:
                price = quote / volume if size is None else volume * size / quote
                assert low <= price <= high


def test_spot_turns_to_microseconds_with_2025_and_futures_do_not(sample: tuple[Path, SampleSummary]) -> None:
    for market, symbol in (("spot", "BTCUSDT"), ("um", "BTCUSDT"), ("cm", "BTCUSD_PERP")):
        for day, unit in (("2024-12-31", 1), ("2025-01-01", 1000 if market == "spot" else 1)):
            bars = rows(path_of(sample[0], market, symbol, "1m", day))
            assert len(bars) == 1440
            midnight = 1735603200000 if day.startswith("2024") else 1735689600000
            assert [b[0] for b in bars] == [(midnight + i * MINUTE) * unit for i in range(1440)]
            assert all(b[6] == b[0] + MINUTE * unit - 1 for b in bars)


def test_headers_and_number_formats_differ_by_market(sample: tuple[Path, SampleSummary]) -> None:
    root, _ = sample
    headed = {
        market: {not lines(p)[0][0].isdigit() for p in sorted((root / "data" / folder / "daily").rglob("*-1m-*.zip"))}
        for market, folder in FOLDERS.items()
    }
    assert headed == {"spot": {False}, "um": {True, False}, "cm": {True}}
    spot = lines(path_of(root, "spot", "BTCUSDT", "1m", "2024-12-27"))[0]
    assert all(len(spot[i].split(".")[1]) == 8 for i in (1, 2, 3, 4, 5, 7, 9, 10))
    inverse = lines(path_of(root, "cm", "BTCUSD_PERP", "1m", "2024-12-27"))
    assert inverse[0][:2] == ["open_time", "open"]
    assert inverse[1][5].isdigit()
    assert len(inverse[1][7].split(".")[1]) == 8


def test_quirks_of_coins_are_there_in_each_market(sample: tuple[Path, SampleSummary]) -> None:
    root, _ = sample
    for market in FOLDERS:
        suffix = "USD_PERP" if market == "cm" else "USDT"
        late = [path_of(root, market, f"SOL{suffix}", "1m", f"2024-12-{day}") for day in (29, 30)]
        assert [p.exists() for p in late] == [False, True]
        assert len(rows(late[1])) == 840
        gone = [path_of(root, market, f"XRP{suffix}", "1m", day).exists() for day in ("2025-01-01", "2025-01-02")]
        assert gone == [True, False]
        quiet = [r for r in rows(path_of(root, market, f"LTC{suffix}", "1m", "2024-12-28")) if not r[5]]
        assert len(quiet) == 360
        assert len({price for r in quiet for price in r[1:5]}) == 1
        minutes = len(rows(path_of(root, market, f"BTC{suffix}", "1m", "2024-12-29")))
        hours = len(rows(path_of(root, market, f"BTC{suffix}", "1h", "2024-12-29")))
        assert (minutes, hours) == ((1350, 23) if market == "spot" else (1440, 24))


def test_funding_covers_the_months_just_after_the_hour(sample: tuple[Path, SampleSummary]) -> None:
    root, _ = sample
    assert not (root / "data/spot/monthly").exists()
    for market, suffix in (("um", "USDT"), ("cm", "USD_PERP")):
        for coin, hours in (("BTC", 8), ("ETH", 4)):
            for month in ("2024-12", "2025-01"):
                folder = root / "data" / FOLDERS[market] / "monthly/fundingRate" / f"{coin}{suffix}"
                header, *events = lines(folder / f"{coin}{suffix}-fundingRate-{month}.zip")
                assert header == ["calc_time", "funding_interval_hours", "last_funding_rate"]
                assert len(events) == 31 * 24 // hours
                assert {e[1] for e in events} == {str(hours)}
                assert all(0 <= int(e[0]) % (hours * HOUR) <= 13 for e in events)


def test_the_same_arguments_give_the_same_bytes_and_touch_nothing(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    make_sample(first, symbols=2, days=2)
    before = {p.relative_to(first): (p.read_bytes(), p.stat().st_mtime_ns) for p in first.rglob("*.*")}
    make_sample(second, symbols=2, days=2)
    assert {p.relative_to(second): p.read_bytes() for p in second.rglob("*.*")} == {
        k: content for k, (content, _) in before.items()
    }
    make_sample(first, symbols=12, days=3)
    assert all(((first / k).read_bytes(), (first / k).stat().st_mtime_ns) == v for k, v in before.items())
    assert path_of(first, "um", "C011USDT", "1m", "2024-12-29").exists()
    make_sample(second, symbols=2, days=2, seed=8)
    changed = path_of(second, "um", "BTCUSDT", "1m", "2024-12-27")
    assert changed.read_bytes() != before[changed.relative_to(second)][0]


def test_the_default_sample_is_what_it_has_always_been(tmp_path: Path) -> None:
    """A digest of names and texts; zips would differ between versions of zlib."""
    make_sample(tmp_path, symbols=2, days=2, start=date(2024, 12, 31))
    digest = hashlib.sha256()
    for path in zips(tmp_path, "*"):
        with zipfile.ZipFile(path) as archive:
            digest.update(f"{path.relative_to(tmp_path)}\0".encode() + archive.read(archive.namelist()[0]))
    assert digest.hexdigest() == "5e8001ff3c059f3d7106fe81606e47c74d5945126946fd464554e3e0d7af1cc5"


def test_impossible_arguments_are_refused(tmp_path: Path) -> None:
    for symbols, days in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="at least one"):
            make_sample(tmp_path, symbols=symbols, days=days)
    with pytest.raises(ValueError, match=r"no table 'ticks'; there are klines_\*, agg_trades, "):
        make_sample(tmp_path, tables=("klines_1m", "ticks"))
    with pytest.raises(ValueError, match="no market 'coin'; did you mean cm"):
        make_sample(tmp_path, markets=("coin",))
    for trades in (0, 10_079, 40_000_001):
        with pytest.raises(ValueError, match="use 10080 to 40000000"):
            make_sample(tmp_path, trades_per_day=trades)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("table", ["klines_1m", "mark_klines_1h"])
def test_a_monthly_file_has_the_rows_of_its_days_with_one_header_line(table: str, tmp_path: Path) -> None:
    days = {"symbols": 1, "days": 40, "start": date(2024, 12, 20), "tables": [table], "markets": ["um"]}
    make_sample(tmp_path / "daily", **days)
    make_sample(tmp_path / "both", **days, monthly=True)
    monthly = sorted((tmp_path / "both").glob("data/futures/um/monthly/**/*.zip"))
    # January has only days up to the 28th in the sample.
    assert [path.stem[-7:] for path in monthly] == ["2024-12"]
    (december,) = monthly
    folder = tmp_path / "both" / str(december.parent.relative_to(tmp_path / "both")).replace("monthly", "daily")
    daily = [lines(path) for path in sorted(folder.glob("*-2024-12-*.zip"))]
    assert len(daily) == 12
    content = lines(december)
    assert [line for line in content if line[0].isdigit()] == [
        line for of_day in daily for line in of_day if line[0].isdigit()
    ]
    assert not [line for line in content[1:] if not line[0].isdigit()]
    sha256 = hashlib.sha256(december.read_bytes()).hexdigest()
    assert december.with_name(f"{december.name}.CHECKSUM").read_text().startswith(sha256)
    others = [path.relative_to(tmp_path / "both") for path in (tmp_path / "both").rglob("*.zip")]
    assert {path for path in others if "monthly" not in path.parts} == {
        path.relative_to(tmp_path / "daily") for path in (tmp_path / "daily").rglob("*.zip")
    }
