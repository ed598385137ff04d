"""A contract that is settled while its funding, open interest and prices go on, and whose ticker comes back as another
coin: the sample archive, changed to what the exchange's has of such a contract, through real runs.
"""

from __future__ import annotations

import shutil
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.partitions import read_partition
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.files import ArchiveFolder
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.orchestration.conftest import Platform
from crypto_lakehouse_tests.system.runs import digests, read

pytestmark = pytest.mark.slow

GONE, ALIVE = "ETHUSDT", "BTCUSDT"
SETTLED, BACK = datetime(2025, 1, 31, 9, tzinfo=UTC), datetime(2025, 12, 23, 17, 30, tzinfo=UTC)
DAYS = [f"{date(2025, 1, 30) + timedelta(days=n)}" for n in range(5)]
RETURN = "2025-12-23"
DAILY, MONTHLY = "update_binance_um_daily", "update_binance_um_monthly"
TABLES = ("klines_1m", "funding_rates", "mark_klines_1m", "index_klines_1m", "open_interest")
UM = "data/futures/um"
SETTINGS = {"tables": ",".join(TABLES), "bars": "1h,1d,1w,dollar:100000000"}
HEADER = "calc_time,funding_interval_hours,last_funding_rate\n"


def _between(folder: Path, key: str, first: datetime, end: datetime) -> None:
    """Keep only the rows of an archive file whose time, in ms, is within [first, end)."""
    with zipfile.ZipFile(folder / key) as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines(keepends=True)
    times = (round(first.timestamp() * 1000), round(end.timestamp() * 1000))
    kept = [x for x in lines if not x[:1].isdigit() or times[0] <= int(x.split(",", 1)[0]) < times[1]]
    ArchiveFolder(folder).add(key, ["".join(kept).encode()])


def _funding(folder: Path, month: str, events: Sequence[tuple[datetime, float]]) -> None:
    rows = [f"{round(at.timestamp() * 1000)},8,{rate:.8f}\n" for at, rate in events]
    key = f"{UM}/monthly/fundingRate/{GONE}/{GONE}-fundingRate-{month}.zip"
    ArchiveFolder(folder).add(key, [(HEADER + "".join(rows)).encode()])


def _eight_hourly(first: datetime, end: datetime, rate: float) -> list[tuple[datetime, float]]:
    return [(first + n * timedelta(hours=8), rate) for n in range((end - first) // timedelta(hours=8))]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gone")
    made, later = folder / "archive", folder / "later"
    make_sample(made, symbols=2, days=len(DAYS), start=date(2025, 1, 30), tables=TABLES, markets=("um",))
    make_sample(later, symbols=2, days=1, start=date(2025, 12, 23), seed=9, tables=TABLES[:3], markets=("um",))
    shutil.copytree(later, made, dirs_exist_ok=True)
    klines = f"{UM}/daily/klines/{GONE}/1m/{GONE}-1m-"
    _between(made, f"{klines}2025-01-31.zip", SETTLED - timedelta(days=1), SETTLED)
    _between(made, f"{klines}{RETURN}.zip", BACK, BACK + timedelta(days=1))
    for day in DAYS[2:]:
        (made / f"{klines}{day}.zip").unlink()
        (made / f"{klines}{day}.zip.CHECKSUM").unlink()
    midnight = datetime(2025, 1, 31, tzinfo=UTC)
    real = [(midnight + n * timedelta(hours=4), -0.0002) for n in range(3)]
    _funding(made, "2025-01", [*real, (midnight + timedelta(hours=16), 0.0001)])
    for month in range(2, 7):
        begin, end = (datetime(2025, m, 1, tzinfo=UTC) for m in (month, month + 1))
        _funding(made, f"2025-{month:02d}", _eight_hourly(begin, end, 0.0001))
    _funding(made, "2025-12", _eight_hourly(datetime(2025, 12, 23, tzinfo=UTC), BACK + timedelta(hours=6), 0.0003))
    return made


@pytest.fixture(scope="module")
def made(
    archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Platform, dg.ExecuteInProcessResult]]:
    """The lake of all these days, and the last run of the days around the settlement."""
    with ArchiveServer(archive) as server:
        lake = tmp_path_factory.mktemp("lake") / "lake"
        platform = Platform(lake, archive, server.url, server.listing_url, settings=SETTINGS)
        assert platform.run(MONTHLY, "2025-01", "2025-06").success
        assert platform.run(MONTHLY, "2025-12", "2025-12").success
        run = platform.run(DAILY, DAYS[0], DAYS[-1])
        assert run.success
        yield platform, run


def findings(result: dg.ExecuteInProcessResult, check: str, table: str) -> str:
    """What a check says; empty where it has passed."""
    (one,) = [
        c for c in result.get_asset_check_evaluations() if c.check_name == check and c.asset_key.path[-1] == table
    ]
    return "" if one.passed else str(one.description)


@pytest.mark.requirement("F4.2", "F4.1")
def test_funding_of_a_settled_contract_is_in_no_bar(made: tuple[Platform, dg.ExecuteInProcessResult]) -> None:
    platform, _ = made
    lake = Lakehouse(platform.lake)
    days = read(lake, "gold.bars_1d", market="um", symbols=GONE, start="2025-01-31", end="2025-03-01")
    assert days.select("open_time", "funding_count").rows() == [(datetime(2025, 1, 31, tzinfo=UTC), 3)]
    assert days["funding_sum"][0] == pytest.approx(-0.0006, abs=1e-15)
    week = read(lake, "gold.bars_1h", market="um", symbols=GONE, start="2025-01-31")
    assert week["funding_sum"].sum() == pytest.approx(-0.0006, abs=1e-15)
    # What is stored of the day after is filled, and has no event either.
    stored = read_partition(
        platform.store, TableSlice("gold", "binance", "um", "bars_1d").partition("2025-02-01")
    ).filter(symbol=GONE)
    assert stored.select("funding_sum", "funding_count", "first_minute").rows() == [(0.0, 0, None)]
    # Silver keeps them all.
    silver = read(lake, "silver.funding_rates", market="um", symbols=GONE, start="2025-02-01", end="2025-07-01")
    assert silver.height == 150 * 3


@pytest.mark.requirement("F4.2", "F6.1")
@pytest.mark.parametrize(
    ("table", "time", "market"),
    [
        ("funding_rates", "funding_time", "um"),
        ("mark_klines_1m", "open_time", None),
        ("index_klines_1m", "open_time", "um"),
        ("open_interest", "label_time", ["um", "cm"]),
    ],
)
@pytest.mark.filterwarnings("ignore::crypto_lakehouse.LakeWarning")
def test_silver_rows_of_a_contract_that_is_gone_are_marked(
    made: tuple[Platform, dg.ExecuteInProcessResult], table: str, time: str, market: Any
) -> None:
    lake = Lakehouse(made[0].lake)
    where = {"market": market, "start": "2025-01-30", "end": "2025-07-01"}
    columns = ["symbol", time]
    marked = lake.scan(f"silver.{table}", columns=[*columns, "is_after_end"], **where).collect()
    assert marked.select(columns).equals(lake.scan(f"silver.{table}", columns=columns, **where).collect())
    gone = (pl.col("symbol") == GONE) & (pl.col(time) >= SETTLED)
    assert marked.filter(gone).height > 100
    assert marked["is_after_end"].equals(marked.select(is_after_end=gone).to_series())
    alone = read(lake, f"silver.{table}", symbols=ALIVE, columns=["is_after_end"], **where)
    assert alone["is_after_end"].unique().to_list() == [False]
    with pytest.raises(KeyError, match="is_after_end"):
        lake.scan("silver.klines_1m", columns=["is_after_end"])


@pytest.mark.requirement("F4.6")
def test_checks_name_what_goes_on_after_the_end(made: tuple[Platform, dg.ExecuteInProcessResult]) -> None:
    platform, run = made
    assert f"2025-01-31 {GONE} 1 funding events from 2025-01-31 16:00 to 2025-01-31 16:00 UTC do not count" in findings(
        run, "funding", "continuous_1m"
    )
    gone = "the last trade before was at 2025-01-31 08:59"
    for table in ("mark_klines_1m", "index_klines_1m", "open_interest"):
        text = findings(run, "after_end", table)
        assert text.startswith(f"4 findings: 2025-01-31 {GONE} "), text
        assert "rows from 2025-01-31 09:00 to 2025-01-31 23:5" in text
        assert gone in text
        assert ALIVE not in text
    months = platform.run(MONTHLY, "2025-01", "2025-06")
    text = findings(months, "after_end", "funding_rates")
    assert f"2025-01 {GONE} 1 rows from 2025-01-31 16:00 to 2025-01-31 16:00 UTC" in text
    assert f"2025-02 {GONE} 84 rows from 2025-02-01 00:00 to 2025-02-28 16:00 UTC" in text
    assert text.startswith("6 findings")
    assert gone in text
    for check, table in (("sources", "bars_1d"), ("sources", "bars_1h"), ("missing_days", "gaps")):
        assert findings(run, check, table) == ""


@pytest.mark.requirement("F4.2", "F6.1")
def test_a_symbol_that_ends_has_no_filled_tail_for_readers(made: tuple[Platform, dg.ExecuteInProcessResult]) -> None:
    platform, _ = made
    lake = Lakehouse(platform.lake)
    stored = read_partition(
        platform.store, TableSlice("gold", "binance", "um", "continuous_1m").partition("2025-02-01")
    ).filter(symbol=GONE)
    assert stored.height == 1440
    last = SETTLED - timedelta(minutes=1)
    asked = {"market": "um", "start": "2025-01-30"}
    assert read(lake, "gold.continuous_1m", symbols=GONE, **asked)["open_time"].max() == last
    scanned = lake.scan("gold.continuous_1m", **asked).group_by("symbol").agg(pl.col("open_time").max()).collect()
    assert dict(scanned.rows())[GONE] == last
    assert dict(scanned.rows())[ALIVE] == datetime(2025, 2, 3, 23, 59, tzinfo=UTC)
    query = f"SELECT max(open_time) AS last FROM gold.continuous_1m WHERE symbol = '{GONE}'"
    # What mentions COPY is answered through Arrow.
    for text in (query, f"{query} --copy"):
        assert lake.sql(text, format="polars")["last"].to_list() == [last]
    hours = read(lake, "gold.bars_1h", symbols=GONE, **asked)
    assert hours["open_time"].max() == datetime(2025, 1, 31, 8, tzinfo=UTC)
    for bars, opened in (("1h", 8), ("15m", 8), ("4h", 8), ("1d", 0)):
        rows = lake.bars(GONE, bars, market="um", start="2025-01-31", format="polars")
        assert isinstance(rows, pl.DataFrame)
        assert rows["open_time"].dt.truncate("1h").max() == datetime(2025, 1, 31, opened, tzinfo=UTC), bars
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read(lake, "gold.bars_dollar_100000000", symbols=GONE, start="2025-02-01", market="um").is_empty()
        assert read(lake, "gold.continuous_1m", symbols=GONE, start="2025-02-01", market="um").is_empty()


@pytest.mark.requirement("F4.2", "F4.3", "D9")
def test_a_ticker_that_comes_back_is_another_series_in_any_order_of_days(
    made: tuple[Platform, dg.ExecuteInProcessResult], archive: Path, tmp_path: Path
) -> None:
    platform, _ = made
    assert platform.run(DAILY, RETURN, RETURN).success
    lake = Lakehouse(platform.lake)
    gaps = read(lake, "gold.gaps", market="um", symbols=GONE)
    columns = ("gap_begin", "gap_end", "segment", "reason", "missing_days")
    assert gaps.select(columns).rows() == [(SETTLED - timedelta(minutes=1), BACK, 1, "silence", 322)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = read(lake, "gold.continuous_1m", market="um", symbols=GONE, start="2025-01-31")
        days = read(lake, "gold.bars_1d", market="um", symbols=GONE, start="2025-01-31")
    assert rows.filter(pl.col("open_time") >= SETTLED)["open_time"].min() == BACK
    assert days.select("open_time", "segment", "funding_count").rows() == [
        (datetime(2025, 1, 31, tzinfo=UTC), 0, 3),
        (datetime(2025, 12, 23, tzinfo=UTC), 1, 0),
    ]
    marks = ["open_time", "is_after_end"]
    prices = read(lake, "silver.mark_klines_1m", market="um", symbols=GONE, start=RETURN, columns=marks)
    assert prices.filter("is_after_end")["open_time"].max() == BACK - timedelta(minutes=1)
    assert prices.filter(~pl.col("is_after_end"))["open_time"].min() == BACK
    with ArchiveServer(archive) as server:
        other = Platform(tmp_path / "lake", archive, server.url, server.listing_url, settings=SETTINGS)
        for day in (RETURN, *reversed(DAYS)):
            assert other.run(DAILY, day, day).success
        assert other.run(MONTHLY, "2025-01", "2025-06").success
        assert other.run(MONTHLY, "2025-12", "2025-12").success
        assert other.run(DAILY, DAYS[0], DAYS[-1]).success
        assert other.run(DAILY, RETURN, RETURN).success
    assert digests(other.lake) == digests(platform.lake)


@pytest.mark.requirement("F4.2", "F6.1")
def test_the_end_of_a_delisted_symbol_shows_once_it_is_known(tmp_path: Path) -> None:
    # Of the sample's coins the fifth has files of six days.
    delisted, end = "XRPUSDT", datetime(2024, 12, 16, tzinfo=UTC)
    make_sample(tmp_path / "archive", symbols=5, days=9, start=date(2024, 12, 10), markets=("um",))
    with ArchiveServer(tmp_path / "archive") as server:
        settings = {"tables": "klines_1m", "bars": "1h", "symbols": f"{ALIVE},{delisted}"}
        platform = Platform(tmp_path / "lake", tmp_path / "archive", server.url, server.listing_url, settings=settings)
        assert platform.run(DAILY, "2024-12-10", "2024-12-16").success
        lake = Lakehouse(platform.lake)
        asked = {"market": "um", "symbols": delisted, "start": "2024-12-10"}
        # On the day after it may only be quiet.
        assert read(lake, "gold.continuous_1m", **asked)["open_time"].max() == end + timedelta(days=1, minutes=-1)
        assert platform.run(DAILY, "2024-12-17", "2024-12-17").success
        assert read(lake, "gold.continuous_1m", **asked)["open_time"].max() == end - timedelta(minutes=1)
        assert read(lake, "gold.bars_1h", **asked)["close_time"].max() == end - timedelta(microseconds=1)
        query = "SELECT symbol, max(open_time) AS last FROM gold.bars_1h GROUP BY symbol ORDER BY symbol"
        hour = timedelta(hours=1)
        assert lake.sql(query, format="polars").rows() == [
            (ALIVE, end + timedelta(days=2) - hour),
            (delisted, end - hour),
        ]


@pytest.mark.requirement("F4.2", "F4.1", "D9")
def test_funding_of_a_quiet_contract_counts_once_it_is_traded_again_in_any_order_of_days(tmp_path: Path) -> None:
    """No trade from 15:30 of the first day on, none on the second, and trades from 00:10 of the third day on."""
    days, archive = DAYS[:3], tmp_path / "archive"
    begin = datetime(2025, 1, 30, tzinfo=UTC)
    make_sample(archive, symbols=2, days=3, start=begin.date(), tables=TABLES[:2], markets=("um",))
    for day, first, end in ((0, 0, 15.5), (1, 0, 0), (2, 1 / 6, 24)):
        midnight = begin + timedelta(days=day)
        hours = (midnight + timedelta(hours=hour) for hour in (first, end))
        _between(archive, f"{UM}/daily/klines/{GONE}/1m/{GONE}-1m-{days[day]}.zip", *hours)
    for month, events in (("2025-01", 6), ("2025-02", 3)):
        first = datetime.fromisoformat(f"{month}-01").replace(tzinfo=UTC)
        _funding(
            archive, month, _eight_hourly(max(first, begin), max(first, begin) + events * timedelta(hours=8), 0.01)
        )
    lakes = []
    with ArchiveServer(archive) as server:
        for name, runs in (
            ("range", [(days[0], days[-1])]),
            ("days", [(day, day) for day in days]),
            ("reverse", [(day, day) for day in reversed(days)]),
        ):
            settings = {**SETTINGS, "tables": "klines_1m,funding_rates", "bars": "1h,1d,1w"}
            platform = Platform(tmp_path / name, archive, server.url, server.listing_url, settings=settings)
            assert platform.run(MONTHLY, "2025-01", "2025-02").success
            for first, last in runs:
                run = platform.run(DAILY, first, last)
                assert run.success
            lakes.append(platform)
    rows = read(Lakehouse(lakes[0].lake), "gold.bars_1d", market="um", symbols=GONE, start=days[0])
    assert rows.select("funding_count", "first_minute").rows() == [
        (3, begin),
        (3, None),
        (3, begin + timedelta(days=2, minutes=10)),
    ]
    assert rows["funding_sum"].to_list() == pytest.approx([0.03] * 3)
    assert findings(run, "funding", "continuous_1m") == findings(run, "sources", "bars_1d") == ""
    assert digests(lakes[1].lake) == digests(lakes[0].lake)
    assert digests(lakes[2].lake) == digests(lakes[0].lake)
