"""Every archive type in the sample archive: its files and their quirks."""

from __future__ import annotations

import hashlib
import zipfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from crypto_lakehouse.archive.unzip import read_member
from crypto_lakehouse.catalog import FEEDS, Cadence, feed, partition_key
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse.transforms.parse import parse_csv
from crypto_lakehouse_tests.binance_archive import BINANCE_FEEDS, BinanceArchive
from crypto_lakehouse_tests.unit.sample_reading import lines, one, rows, zips

pytestmark = pytest.mark.requirement("F2.5")

ALL_LIVE = date(2023, 9, 10)  # a day on which every type of that time had files
LIVE = [one for one in BINANCE_FEEDS if one.covers(ALL_LIVE)]
TRADES = 10_080


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One coin, one day, every type."""
    root = tmp_path_factory.mktemp("archive")
    made = make_sample(root, 1, 1, ALL_LIVE, tables=("*",), trades_per_day=TRADES)
    assert made.markets == ("spot", "um", "cm", "option")
    return root


def futures(root: Path, kind: str, market: str, day: date) -> list[list[str]]:
    return lines(one(root, f"futures/{market}/daily/{kind}/BTC*/BTC*-{kind}-{day}"))


def test_every_feed_has_valid_files_that_the_parser_reads(everything: Path) -> None:
    seen = set()
    for entry in LIVE:
        interval = f"{entry.interval.name}/" if entry.interval else ""
        folder = f"{entry.market.archive_path}/{entry.cadence.value}/{entry.archive_type}"
        for path in zips(everything, f"{folder}/*/{interval}*"):
            seen.add(path)
            if not (entry.interval and entry.cadence is Cadence.MONTHLY):
                assert path.stem.endswith(partition_key(ALL_LIVE, entry.cadence))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert path.with_name(f"{path.name}.CHECKSUM").read_text().rstrip() == f"{digest}  {path.name}"
            assert {len(line) for line in lines(path)} == {len(entry.file_format.columns)}
            parsed = parse_csv(read_member(path, path.with_suffix(".csv").name), entry.file_format)
            assert not parsed.rejected
            assert len(parsed.rows) == len(rows(path))
    assert seen == set(zips(everything, "**/*"))


def test_the_server_lists_every_feed(everything: Path) -> None:
    with ArchiveServer(everything) as server:
        archive = BinanceArchive(server.url, server.listing_url)
        for entry in LIVE:
            symbols = archive.symbols(entry)
            assert symbols
            found = archive.files(entry, symbols, ALL_LIVE - timedelta(days=40), ALL_LIVE + timedelta(days=1))
            assert {file.symbol for file in found} == set(symbols)
            assert partition_key(ALL_LIVE, entry.cadence) in {file.period for file in found}


def test_dead_types_have_no_files_after_their_last_day(tmp_path: Path) -> None:
    tables = ("book_ticker", "liquidations", "option_summaries")
    make_sample(tmp_path, 1, 3, date(2024, 10, 13), tables=tables)
    assert [path.name for path in zips(tmp_path, "**/*")] == [
        "BTCUSD_PERP-bookTicker-2024-10-13.zip",
        "BTCUSD_PERP-bookTicker-2024-10-14.zip",
        "BTCUSD_PERP-liquidationSnapshot-2024-10-13.zip",
        "BTCUSD_PERP-liquidationSnapshot-2024-10-14.zip",
    ]


def test_types_have_no_files_before_their_first_day(tmp_path: Path) -> None:
    tables = ("book_depth", "open_interest", "klines_1d")
    make_sample(tmp_path, 1, 2, date(2022, 12, 31), tables=tables, markets=("um",))
    assert sorted(path.name[8:] for path in zips(tmp_path, "**/*")) == [
        "1d-2022-12-31.zip",
        "1d-2023-01-01.zip",
        "bookDepth-2023-01-01.zip",
        "metrics-2022-12-31.zip",
        "metrics-2023-01-01.zip",
    ]


def test_a_monthly_type_has_the_rows_of_its_days_under_one_header_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (1, 3, date(2024, 12, 30), 7, ("open_interest",), ("um",))
    make_sample(tmp_path / "days", *arguments)
    entry = feed("binance", "um", "open_interest")
    monkeypatch.setitem(FEEDS, ("binance", "um", "open_interest"), replace(entry, cadence=Cadence.MONTHLY))
    make_sample(tmp_path / "months", *arguments)
    days, months = (zips(tmp_path / name, "**/*") for name in ("days", "months"))
    assert [path.name for path in months] == ["BTCUSDT-metrics-2024-12.zip", "BTCUSDT-metrics-2025-01.zip"]
    assert lines(months[0]) == [*lines(days[0]), *rows(days[1])]
    assert lines(months[1]) == lines(days[2])


def test_a_type_that_nothing_writes_is_an_error_that_says_where_to_add_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = replace(feed("binance", "um", "open_interest"), archive_type="unwritten")
    monkeypatch.setitem(FEEDS, ("binance", "um", "open_interest"), entry)
    with pytest.raises(ValueError, match=r"no files of unwritten: add to _KINDS in sample/build\.py"):
        make_sample(tmp_path, tables=("open_interest",))


def test_klines_of_all_intervals_agree_with_the_minutes(everything: Path) -> None:
    lengths = {"3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "8h": 480}
    for folder, symbol in (("spot", "BTCUSDT"), ("futures/um", "BTCUSDT"), ("futures/cm", "BTCUSD_PERP")):
        minutes = np.array(rows(one(everything, f"{folder}/daily/klines/{symbol}/1m/*")), dtype=float)
        for name, length in {**lengths, "12h": 720, "1d": 1440}.items():
            bars = np.array(rows(one(everything, f"{folder}/daily/klines/{symbol}/{name}/*")), dtype=float)
            cut = minutes.reshape(1440 // length, length, 12)
            assert (bars[:, 0] == cut[:, 0, 0]).all()
            assert (bars[:, 1] == cut[:, 0, 1]).all()
            assert (bars[:, 2] == cut[:, :, 2].max(axis=1)).all()
            assert (bars[:, 3] == cut[:, :, 3].min(axis=1)).all()
            assert (bars[:, 4] == cut[:, -1, 4]).all()
            assert (bars[:, 6] == cut[:, -1, 6]).all()
            for column in (5, 7, 8, 9, 10):
                assert bars[:, column] == pytest.approx(cut[:, :, column].sum(axis=1), rel=1e-12)


def test_long_bars_are_monthly_and_open_on_their_grid(tmp_path: Path) -> None:
    # 2024-12-29 is a Sunday, and day 20,086 since the epoch: a 3d bar opened on 12-28 (20,085 = 3 * 6,695).
    tables = ("klines_1d", "klines_3d", "klines_1w", "klines_1mo")
    make_sample(tmp_path, 1, 9, date(2024, 12, 29), tables=tables, markets=("spot",), trades_per_day=TRADES)
    folder, day = "spot/monthly/klines/BTCUSDT", timedelta(days=1)
    opened: dict[str, list[tuple[str, int]]] = {}
    for path in zips(tmp_path, f"{folder}/*/*"):
        unit = 1_000_000 if path.stem.endswith("2025-01") else 1_000
        for row in rows(path):
            begin, end = (datetime.fromtimestamp((int(v) + n) / unit, UTC) for v, n in ((row[0], 0), (row[6], 1)))
            assert f"{begin:%Y-%m}" == path.stem[-7:]
            assert begin.time() == end.time() == datetime.min.time()
            opened.setdefault(path.parent.name, []).append((f"{begin:%m-%d}", (end - begin) // day))
    assert opened == {
        "3d": [("12-28", 3), ("12-31", 3), ("01-03", 3), ("01-06", 3)],
        "1w": [("12-23", 7), ("12-30", 7), ("01-06", 7)],
        "1mo": [("12-01", 31), ("01-01", 31)],
    }
    daily = np.array([rows(p)[0] for p in zips(tmp_path, "spot/daily/klines/BTCUSDT/1d/*")], dtype=float)
    week, part = [float(v) for v in rows(one(tmp_path, f"{folder}/1w/*2024-12"))[1]], daily[1:8]
    assert week[1:5] == [part[0, 1], part[:, 2].max(), part[:, 3].min(), part[-1, 4]]
    sums = [5, 7, 8, 9, 10]
    assert [week[i] for i in sums] == pytest.approx(part[:, sums].sum(axis=0).tolist(), rel=1e-12)


def test_price_klines_have_their_symbols_counts_and_signs(everything: Path) -> None:
    for kind in ("indexPriceKlines", "markPriceKlines", "premiumIndexKlines"):
        for market, symbol in (("um", "BTCUSDT"), ("cm", "BTCUSD" if kind == "indexPriceKlines" else "BTCUSD_PERP")):
            path = one(everything, f"futures/{market}/daily/{kind}/*/1m/*")
            assert path.parent.parent.name == symbol
            found = np.array(rows(path), dtype=float)
            assert len(found) == 1440
            assert (found[:, 3] <= found[:, [1, 4]].min(axis=1)).all()
            assert (found[:, 2] >= found[:, [1, 4]].max(axis=1)).all()
            assert (found[:, [5, 7, 9, 10, 11]] == 0).all()
            assert (found[:, 8] == 60).all()
            assert (found[:, 3].min() < 0) == (kind == "premiumIndexKlines")


def test_a_minute_is_missing_from_the_price_klines_of_one_coin(tmp_path: Path) -> None:
    make_sample(tmp_path, 2, 1, ALL_LIVE, tables=("*_klines_1m",), markets=("um",))
    midnight = int(datetime(2023, 9, 10, tzinfo=UTC).timestamp()) // 60
    for kind in ("indexPriceKlines", "markPriceKlines", "premiumIndexKlines"):
        for symbol, missing in (("BTCUSDT", set()), ("ETHUSDT", {777})):
            found = rows(one(tmp_path, f"**/{kind}/{symbol}/1m/*"))
            assert set(range(1440)) - {int(row[0]) // 60_000 - midnight for row in found} == missing


def test_metrics_show_their_quirks(everything: Path) -> None:
    for market, first in (("um", "2023-09-10 00:05:00"), ("cm", "2023-09-10 00:00:00")):
        head, *found = futures(everything, "metrics", market, ALL_LIVE)
        assert head[:2] == ["create_time", "symbol"]
        assert found[0][0] == first
        assert len(found) == 289
        assert sorted(Counter(map(tuple, found)).values()) == [1] * 287 + [2]
        times = [datetime.fromisoformat(row[0]) for row in found]
        assert len(set(times)) == 288
        assert [a > b for a, b in pairwise(times)].count(True) == 1
        assert Counter(t.second for t in times) == {0: 288, 7: 1}
        with zipfile.ZipFile(one(everything, f"futures/{market}/daily/metrics/*/*")) as archive:
            text = archive.read(archive.namelist()[0]).decode()
        assert [text.count(quirk) for quirk in (",,,", ',"",', ",0E-8\n")] == [1, 1, 1]


def test_metrics_labels_turn_from_end_to_start_on_usd_m(tmp_path: Path) -> None:
    make_sample(tmp_path, 1, 2, date(2026, 6, 24), tables=("open_interest",))
    ends = {}
    for market in ("um", "cm"):
        for day in (24, 25):
            labels = sorted(row[0] for row in futures(tmp_path, "metrics", market, date(2026, 6, day))[1:])
            ends[market, day] = (labels[0], labels[-1])
    assert ends == {
        ("um", 24): ("2026-06-24 00:05:00", "2026-06-25 00:00:00"),
        ("um", 25): ("2026-06-25 00:00:00", "2026-06-25 23:55:00"),
        ("cm", 24): ("2026-06-24 00:00:00", "2026-06-24 23:55:00"),
        ("cm", 25): ("2026-06-25 00:00:00", "2026-06-25 23:55:00"),
    }


def test_metrics_files_of_either_kind_are_there_where_labels_are_ends(tmp_path: Path) -> None:
    make_sample(tmp_path, 2, 2, date(2024, 1, 2), tables=("open_interest",), markets=("um",))
    spans = {}
    for path in zips(tmp_path, "futures/um/daily/metrics/*/*"):
        labels = sorted(row[0] for row in rows(path) if row[0].endswith(":00"))
        spans[path.stem.replace("-metrics", "")] = (labels[0], labels[-1])
    assert spans == {
        "BTCUSDT-2024-01-02": ("2024-01-02 00:05:00", "2024-01-03 00:00:00"),
        "BTCUSDT-2024-01-03": ("2024-01-03 00:05:00", "2024-01-04 00:00:00"),
        "ETHUSDT-2024-01-02": ("2024-01-02 00:00:00", "2024-01-02 23:55:00"),
        "ETHUSDT-2024-01-03": ("2024-01-03 00:00:00", "2024-01-03 23:55:00"),
    }


def test_book_depth_bands_change_at_noon_of_their_first_day(tmp_path: Path) -> None:
    make_sample(tmp_path, 1, 3, date(2026, 1, 14), tables=("book_depth",))
    whole = ["-5", "-4", "-3", "-2", "-1", "1", "2", "3", "4", "5"]
    parts = [f"{float(edge):.2f}" for edge in (*whole[:5], "-0.2", "0.2", *whole[5:])]
    for market in ("um", "cm"):
        for day in (14, 15, 16):
            blocks: dict[str, list[list[str]]] = {}
            for row in futures(tmp_path, "bookDepth", market, date(2026, 1, day))[1:]:
                blocks.setdefault(row[0], []).append(row)
            assert len(blocks) == 2880
            times = [datetime.fromisoformat(time) for time in blocks]
            assert all(25 <= (b - a).total_seconds() <= 35 for a, b in pairwise(times))
            for time, block in zip(times, blocks.values(), strict=True):
                old = day == 14 or (day == 15 and time.hour < 12)
                assert [row[1] for row in block] == (whole if old else parts)
                half = len(block) // 2
                for column in (2, 3):
                    values = [float(row[column]) for row in block]
                    assert values[:half] == sorted(values[:half], reverse=True)
                    assert values[half:] == sorted(values[half:])


def test_inner_ask_band_is_frozen_from_september_2026(tmp_path: Path) -> None:
    make_sample(tmp_path, 1, 2, date(2026, 9, 2), tables=("book_depth",), markets=("um",))
    for day, frozen in ((2, False), (3, True)):
        found = futures(tmp_path, "bookDepth", "um", date(2026, 9, day))[1:]
        assert (len({tuple(row[2:]) for row in found if row[1] == "0.20"}) == 1) == frozen
        assert len({tuple(row[2:]) for row in found if row[1] == "-0.20"}) > 1


def test_book_ticker_rises_with_holes(everything: Path) -> None:
    for market in ("um", "cm"):
        found = np.array(futures(everything, "bookTicker", market, ALL_LIVE)[1:], dtype=float)
        steps = np.diff(found[:, 0])
        assert steps.min() >= 1
        assert steps.max() > 1
        assert (found[:, 1] < found[:, 3]).all()
        assert (np.diff(found[:, 5]) >= 0).all()
        assert (found[:, 6] > found[:, 5]).all()


def test_liquidations_stand_twice(everything: Path) -> None:
    _, *found = futures(everything, "liquidationSnapshot", "cm", ALL_LIVE)
    assert set(Counter(map(tuple, found)).values()) == {2}
    assert {row[1] for row in found} == {"BUY", "SELL"}
    assert all(0 < int(row[8]) <= int(row[9]) == int(row[4]) for row in found)


def test_options_have_an_index_each_second_and_contracts_each_hour(tmp_path: Path) -> None:
    make_sample(tmp_path, 3, 1, ALL_LIVE, tables=("*",), markets=("option",))
    indexes = zips(tmp_path, "option/daily/BVOLIndex/*/*")
    assert [path.parent.name for path in indexes] == ["BTCBVOLUSDT", "ETHBVOLUSDT"]
    _, *seconds = lines(indexes[0])
    midnight = int(datetime(2023, 9, 10, tzinfo=UTC).timestamp()) * 1000
    assert [int(row[0]) for row in seconds] == list(range(midnight, midnight + 86_400_000, 1000))
    assert {tuple(row[1:4]) for row in seconds} == {("BTCBVOLUSDT", "BTCBVOL", "USDT")}
    summaries = zips(tmp_path, "option/daily/EOHSummary/*/*")
    assert [path.parent.name for path in summaries] == ["BTCUSDT", "ETHUSDT"]
    head, *found = lines(summaries[0])
    assert head[2] == "symbol"
    hours = Counter(int(row[1]) for row in found)
    assert sorted(hours) == list(range(24))
    assert len(set(hours.values())) == 1
    assert len({(row[1], row[2]) for row in found}) == len(found)
    for row in found:
        coin, expiry, strike, kind = row[2].split("-")
        assert (coin, row[3], row[4], row[5]) == ("BTC", "BTCUSDT", kind, strike)
        assert expiry > f"{ALL_LIVE:%y%m%d}"
        assert [row[i] == "" for i in range(6, 12)] in ([True] * 6, [False] * 6)
    blank = sum(value == "" for row in found for value in row) / sum(len(row) for row in found)
    assert 0.1 < blank < 0.6


def test_special_symbols_come_and_go(tmp_path: Path) -> None:
    make_sample(tmp_path, 1, 11, tables=("klines_1h", "premium_klines_1d", "funding_rates"), specials=True)

    def days(market: str, symbol: str) -> list[int]:
        found = zips(tmp_path, f"{market}/daily/klines/{symbol}/1h/*")
        return [(date.fromisoformat(path.stem[-10:]) - date(2024, 12, 27)).days for path in found]

    whole = list(range(11))
    assert days("spot", "LUNAUSDT") == [0, 1, 2, 10]
    assert days("spot", "NANOUSDT") == whole[:2]
    assert days("spot", "XNOUSDT") == whole[2:]
    for symbol in ("BTCUPUSDT", "JUPUSDT", "SUPUSDT", "USDCUSDT"):
        assert days("spot", symbol) == whole
    assert days("futures/um", "ICPUSDT_SETTLED") == days("futures/um", "BNXUSDTSETTLED") == [0, 1]
    assert days("futures/um", "币安人生USDT") == whole
    assert days("futures/um", "BTCUSDT_250328") == days("futures/cm", "BTCUSD_250328") == whole
    for kind in ("daily/premiumIndexKlines", "monthly/fundingRate"):
        assert {path.name for path in tmp_path.glob(f"data/futures/cm/{kind}/*")} == {"BTCUSD_PERP"}
    nano = rows(zips(tmp_path, "spot/daily/klines/NANOUSDT/1h/*")[-1])[-1]
    xno = rows(zips(tmp_path, "spot/daily/klines/XNOUSDT/1h/*")[0])[0]
    assert xno[1] == nano[4]
    old, new = (float(rows(path)[0][1]) for path in zips(tmp_path, "spot/daily/klines/LUNAUSDT/1h/*")[2:])
    assert new < old / 5
    pegged = [row[1:5] for path in zips(tmp_path, "spot/daily/klines/USDCUSDT/1h/*") for row in rows(path)]
    assert abs(np.array(pegged, dtype=float) - 1).max() < 0.01


def test_delivery_contracts_end_on_their_last_friday(tmp_path: Path) -> None:
    make_sample(tmp_path, 1, 31, date(2025, 3, 1), tables=("klines_1d",), markets=("um", "cm"), specials=True)
    for market, symbol in (("um", "BTCUSDT_250328"), ("cm", "BTCUSD_250328")):
        found = zips(tmp_path, f"futures/{market}/daily/klines/{symbol}/1d/*")
        assert (len(found), found[-1].stem[-10:]) == (28, "2025-03-28")


def test_more_tables_and_special_symbols_do_not_change_the_default(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    make_sample(small, 1, 1)
    make_sample(large, 1, 1, tables=("klines_1?", "funding_rates", "open_interest"), specials=True)
    for path in zips(small, "**/*"):
        assert (large / path.relative_to(small)).read_bytes() == path.read_bytes()
    assert len(zips(large, "**/*")) > len(zips(small, "**/*"))


@pytest.mark.requirement("F2.7")
def test_trades_do_not_depend_on_the_other_tables(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    make_sample(alone, 1, 1, tables=("trades",), markets=("um",), trades_per_day=TRADES)
    make_sample(together, 2, 2, tables=("*trades", "klines_1m"), trades_per_day=TRADES)
    path = one(alone, "**/*")
    assert (together / path.relative_to(alone)).read_bytes() == path.read_bytes()
    before = path.stat().st_mtime_ns
    make_sample(alone, 1, 1, tables=("trades",), markets=("um",), trades_per_day=TRADES)
    assert path.stat().st_mtime_ns == before
