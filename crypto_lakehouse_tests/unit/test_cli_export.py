"""``export table`` and ``export freqtrade``: files with the rows that the reader returns."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from typer.testing import CliRunner

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.cli.main import app
from crypto_lakehouse.pipeline.export_bars import finished_bars
from crypto_lakehouse.pipeline.export_freqtrade import find_pair
from crypto_lakehouse_tests.commands import parsed, recommended
from crypto_lakehouse_tests.unit.small_lake import DAYS, day_of_bars, part_path, put

pytestmark = pytest.mark.requirement("F7.9")


@pytest.fixture(autouse=True)
def _lake_of_the_settings(monkeypatch: pytest.MonkeyPatch, sample_lake: Path) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(sample_lake))


def run(*arguments: str, code: int = 0) -> str:
    """The messages of a command. Nothing goes to stdout."""
    result = CliRunner().invoke(app, ["export", *arguments])
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    return result.stderr


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("format", "read"), [("parquet", pl.read_parquet), ("feather", pl.read_ipc), ("csv", pl.read_csv)]
)
def test_each_symbol_has_a_file_with_its_rows(
    tmp_path: Path, sample_lake: Path, format: str, read: Callable[[Path], pl.DataFrame]
) -> None:
    days = ("--from", "2024-12-31", "--to", "2024-12-31")
    text = run(
        "table", "gold.bars_1h", "--market", "um", *days, "--out", str(tmp_path / "new/bars"), "--format", format
    )
    assert text.endswith(f"2 files written to {tmp_path / 'new/bars'}\n")
    assert files(tmp_path / "new/bars") == [f"BTCUSDT.{format}", f"ETHUSDT.{format}"]
    bars: Any = Lakehouse(sample_lake).read(
        "gold.bars_1h", market="um", symbols="ETHUSDT", start="2024-12-31", end="2025-01-01", format="polars"
    )
    rows = read(tmp_path / "new/bars" / f"ETHUSDT.{format}")
    assert rows.columns == bars.columns
    assert rows["close"].to_list() == bars["close"].to_list()
    if format != "csv":
        assert rows.equals(bars)


def test_columns_and_symbols_can_be_chosen(tmp_path: Path) -> None:
    options = ("--symbols", "BTC*", "--columns", "open_time,close", "--format", "csv")
    text = run("table", "gold.bars_1h", "--market", "um", "--out", str(tmp_path), *options)
    assert text.endswith(f"1 file written to {tmp_path}\n")
    assert files(tmp_path) == ["BTCUSDT.csv"]
    assert pl.read_csv(tmp_path / "BTCUSDT.csv").columns == ["open_time", "close"]


def test_freqtrade_finds_the_candles_by_their_names_columns_and_types(tmp_path: Path, sample_lake: Path) -> None:
    text = run("freqtrade", "--market", "um", "--out", str(tmp_path), "--timeframe", "4h")
    assert text.endswith(f"6 files written to {tmp_path}\n")
    assert "warning" not in text
    kinds = ("1h-funding_rate", "1h-mark", "4h-futures")
    assert files(tmp_path) == [f"futures/{coin}_USDT_USDT-{kind}.feather" for coin in ("BTC", "ETH") for kind in kinds]
    candles = pd.read_feather(tmp_path / "futures/BTC_USDT_USDT-4h-futures.feather")
    assert {name: str(kind) for name, kind in candles.dtypes.items()} == {
        "date": "datetime64[ms, UTC]",
        **dict.fromkeys(["open", "high", "low", "close", "volume"], "float64"),
    }
    # As freqtrade converts what it has read.
    dates = pd.to_datetime(candles["date"], unit="ms", utc=True)
    bars: Any = Lakehouse(sample_lake).bars("BTCUSDT", "4h", market="um")
    assert (dates.to_numpy() == bars["open_time"].to_numpy()).all()
    assert candles["volume"].tolist() == bars["base_volume"].tolist()
    assert len(candles) == 18


def test_futures_have_the_funding_rates_and_the_hours_of_the_mark_price(tmp_path: Path, sample_lake: Path) -> None:
    run("freqtrade", "--market", "um", "--out", str(tmp_path), "--from", "2024-12-31", "--to", "2024-12-31")
    lake, days = Lakehouse(sample_lake), {"market": "um", "start": "2024-12-31", "end": "2025-01-01"}
    rates = pl.read_ipc(tmp_path / "futures/BTC_USDT_USDT-1h-funding_rate.feather")
    expected: Any = lake.funding("BTCUSDT", format="polars", **days)
    assert rates["date"].to_list() == expected["funding_hour"].to_list()
    assert rates["funding_rate"].to_list() == rates["open"].to_list() == expected["funding_rate"].to_list()
    assert rates.height == 3
    marks = pl.read_ipc(tmp_path / "futures/BTC_USDT_USDT-1h-mark.feather")
    minutes: Any = lake.read("silver.mark_klines_1m", symbols="BTCUSDT", format="polars", **days)
    hours = minutes.group_by(pl.col("open_time").dt.truncate("1h"), maintain_order=True)
    for name, values in {"open": pl.first("open"), "high": pl.max("high"), "close": pl.last("close")}.items():
        assert marks[name].to_list() == hours.agg(values)[name].to_list()
    assert marks.height == 24


def test_funding_that_is_not_in_the_lake_is_a_warning_with_the_command(
    tmp_path: Path, sample_lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(sample_lake / "gold" / "continuous_1m", lake / "gold" / "continuous_1m")
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(lake))
    text = run("freqtrade", "--market", "um", "--out", str(tmp_path / "out"))
    assert text.endswith(f"2 files written to {tmp_path / 'out'}\n")
    assert "the lake has no funding rates of BTCUSDT, ETHUSDT in this range" in text
    assert "the lake has no mark prices of BTCUSDT, ETHUSDT in this range" in text
    rates, marks = (parsed(command) for command in recommended(text))
    assert (rates["table"], str(rates["first"]), str(rates["last"])) == ("funding_rates", "2024-12-01", "2025-01-31")
    assert (marks["table"], str(marks["first"]), str(marks["last"])) == ("mark_klines_1h", "2024-12-30", "2025-01-01")


def test_a_window_with_two_segments_is_one_candle(tmp_path: Path) -> None:
    day = day_of_bars(DAYS[0], ["BTCUSDT"])
    later = {"segment": 1, "open": 3.0, "high": 4.0, "low": 2.5, "close": 3.5, "base_volume": 1.0}
    second = day[12:13].with_columns(**{name: pl.lit(value, day.schema[name]) for name, value in later.items()})
    rows = pl.concat([day[:13], second, day[13:].with_columns(segment=pl.lit(1, pl.Int64))])
    put(rows, part_path(tmp_path / "lake", "um", f"{DAYS[0]}"))
    candles = finished_bars(Lakehouse(tmp_path / "lake"), "um", "BTCUSDT", "1h", None, None)
    assert candles.height == 24
    assert candles.drop("open_time", "end_time").row(12) == (1.0, 4.0, 0.5, 3.5, 11.0)


def test_minutes_can_be_exported_too(tmp_path: Path) -> None:
    run("freqtrade", "--market", "um", "--out", str(tmp_path), "--timeframe", "1m", "--to", "2024-12-30")
    assert len(pd.read_feather(tmp_path / "futures/BTC_USDT_USDT-1m-futures.feather")) == 1440


def test_an_unfinished_candle_is_left_out(tmp_path: Path, sample_lake: Path) -> None:
    run("freqtrade", "--market", "um", "--out", str(tmp_path), "--timeframe", "1d", "--from", "2024-12-31")
    dates = pd.read_feather(tmp_path / "futures/BTC_USDT_USDT-1d-futures.feather")["date"]
    assert [str(day.date()) for day in dates] == ["2024-12-31", "2025-01-01"]


def test_symbols_without_a_finished_candle_are_named(tmp_path: Path) -> None:
    text = run("freqtrade", "--market", "um", "--out", str(tmp_path / "out"), "--timeframe", "1mo", code=1)
    assert "freqtrade gets no candles for BTCUSDT, ETHUSDT: not written" in text
    assert files(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("market", "symbol", "path"),
    [
        ("spot", "BTCUSDT", "BTC_USDT-1mo.feather"),
        ("um", "1000SHIBUSDT", "futures/1000SHIB_USDT_USDT-1mo-futures.feather"),
        ("um", "BTCUSDC", "futures/BTC_USDC_USDC-1mo-futures.feather"),
        ("um", "BTCUSDT_241227", None),
        ("um", "ICPUSDT_SETTLED", None),
    ],
)
def test_the_pair_of_a_symbol(market: str, symbol: str, path: str | None) -> None:
    pair = find_pair(market, symbol)
    assert (pair and pair.path("1mo").replace("Mo", "mo")) == path


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("table", "gold.bars_7h", "--market", "um"), 2, "did you mean bars_1h"),
        (("table", "gold.bars_1h", "--market", "um", "--symbols", "BTCUSD"), 2, "BTCUSD (did you mean BTCUSDT?)"),
        (("table", "gold.bars_1h", "--market", "spot"), 1, "has no rows in this range, so no file is written"),
        (("freqtrade", "--market", "cm"), 2, "files of freqtrade are written for the markets spot and um, not cm"),
        (("freqtrade", "--market", "um", "--timeframe", "7x"), 2, "7x"),
    ],
)
def test_mistakes_are_explained(tmp_path: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    assert message in run(*arguments, "--out", str(tmp_path / "out"), code=code)
    assert files(tmp_path) == []


@pytest.mark.parametrize("symbols", [(), ("--symbols", "ETHUSDT")])
@pytest.mark.parametrize(
    ("command", "paths"),
    [
        (("table", "gold.bars_1h"), ["ETHUSDT.parquet"]),
        (
            ("freqtrade",),
            [f"futures/ETH_USDT_USDT-{kind}.feather" for kind in ("1h-funding_rate", "1h-futures", "1h-mark")],
        ),
        (
            ("nautilus",),
            ["data/bar/ETHUSDT-PERP.BINANCE-1-HOUR-LAST-EXTERNAL", "data/crypto_perpetual/ETHUSDT-PERP.BINANCE"],
        ),
    ],
)
def test_a_symbol_without_rows_in_the_newest_partition_is_exported(
    tmp_path: Path,
    sample_lake: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    paths: list[str],
    symbols: tuple[str, ...],
) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(sample_lake, lake)
    for path in lake.glob("*/*/exchange=binance/market=um/*=2025-01*/part-0.parquet"):
        rows = pl.read_parquet(path, hive_partitioning=False)
        if "symbol" in rows.columns:
            rows.filter(pl.col("symbol") != "ETHUSDT").write_parquet(path)
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(lake))
    run(*command, "--market", "um", "--out", str(tmp_path / "out"), *symbols)
    for path in paths:
        assert any(name.startswith(path) for name in files(tmp_path / "out")), files(tmp_path / "out")
