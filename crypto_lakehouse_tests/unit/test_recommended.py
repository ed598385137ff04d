"""Commands in warnings and errors of the reader work when they are typed, or the message says why there is none."""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from crypto_lakehouse import Lakehouse, LakeWarning, MissingPartition
from crypto_lakehouse.catalog.enabling import enabling_variables
from crypto_lakehouse_tests.commands import parsed, partitions, recommended, split
from crypto_lakehouse_tests.unit.small_lake import day_of_bars, part_path, put

MINUTES = "silver/klines_1m"
TODAY = datetime.now(UTC).date()
YESTERDAY = TODAY - timedelta(days=1)


@pytest.fixture
def lake(tmp_path: Path) -> Lakehouse:
    """A lake with one day of bars of um, which is not the lake of the settings."""
    put(day_of_bars(date(2024, 1, 1), ["BTCUSDT"]), part_path(tmp_path / "my lake", "um", "2024-01-01"))
    return Lakehouse(tmp_path / "my lake")


def message(call: Callable[[], object]) -> str:
    """The text of the one warning or error of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call()
        except MissingPartition as error:
            return str(error)
    (warning,) = caught
    assert warning.category is LakeWarning
    return str(warning.message)


@pytest.mark.parametrize(
    ("table", "settings"),
    [
        ("silver.open_interest", {"tables": "klines_1m,funding_rates,open_interest"}),
        ("silver.trades", {"tables": "klines_1m,funding_rates,trades"}),
        ("silver.mark_klines_1h", {"tables": "klines_1m,funding_rates,mark_klines_1h"}),
        ("gold.bars_4h", {"bars": "1h,1d,4h"}),
        ("gold.bars_dollar_1000000", {"bars": "1h,1d,dollar:1000000"}),
        ("gold.trades_continuity", {"tables": "klines_1m,funding_rates,trades"}),
        ("gold.continuous_1m", {}),
        ("silver.funding_rates", {}),
        ("gold.instruments", {}),
    ],
)
@pytest.mark.parametrize("start", [None, "2024-02-10"])
@pytest.mark.parametrize("end", [None, "2024-02-12", TODAY + timedelta(days=3)])
def test_the_command_builds_the_table(
    lake: Lakehouse, table: str, settings: dict[str, str], start: str | None, end: str | date | None
) -> None:
    (command,) = recommended(message(lambda: lake.read(table, market="um", start=start, end=end)))
    assert split(command)[0] == {"lake_uri": lake.uri, **settings}
    keys = partitions(command)
    if start is not None:
        assert keys[0] in ("2024-02-10", "2024-02")
    if end == "2024-02-12":
        assert keys[-1] in ("2024-02-11", "2024-02")


def test_a_gold_table_is_built_from_what_is_stored_or_from_the_archive(lake: Lakehouse) -> None:
    def table() -> str:
        text = message(lambda: lake.read("gold.continuous_1m", market="um", start="2024-01-01", end="2024-01-02"))
        return str(parsed(recommended(text)[0])["table"])

    assert table() == "klines_1m"
    put(day_of_bars(date(2024, 1, 1), ["BTCUSDT"]), part_path(Path(lake.uri), "um", "2024-01-01", MINUTES))
    assert table() == "continuous_1m"


def test_a_day_that_is_not_over_is_not_recommended(lake: Lakehouse) -> None:
    text = message(lambda: lake.read("gold.continuous_1m", market="um", start=YESTERDAY, end=TODAY + timedelta(days=1)))
    (command,) = recommended(text)
    assert partitions(command) == [str(YESTERDAY)]
    text = message(lambda: lake.read("gold.continuous_1m", market="um", start=TODAY))
    assert f"{TODAY} is not over (UTC), so it cannot be built yet" in text
    assert recommended(text) == []


def test_the_instruments_of_today_are_asked_for_yesterday(lake: Lakehouse) -> None:
    text = message(lambda: lake.universe("um", on=TODAY))
    assert f"{TODAY} is not over (UTC): ask for {YESTERDAY} or earlier" in text
    (command,) = recommended(text)
    assert partitions(command) == [str(YESTERDAY)]


def test_a_market_without_the_table_gets_no_command(lake: Lakehouse) -> None:
    text = message(lambda: lake.funding("BTCUSDT", market="spot"))
    assert "Table funding_rates does not exist in spot, only in um, cm" in text
    assert recommended(text) == []
    text = message(lambda: lake.bars("BTC-240101-1-C", "1h", market="option"))
    assert "Table continuous_1m does not exist in option, only in spot, um, cm" in text
    # Without a named market, only those that have the table are missing.
    text = message(lambda: lake.read("silver.funding_rates"))
    assert "binance/um, cm in" in text
    assert len([partitions(command) for command in recommended(text)]) == 2


@pytest.mark.parametrize(
    ("table", "call"),
    [
        ("gold.bars_4h", "lake.bars(symbols, '4h', market='um')"),
        ("gold.bars_1d_by_60m", "lake.bars(symbols, '1d', market='um', offset='60m')"),
        ("silver.klines_5m", "lake.bars(symbols, '5m', market='um')"),
    ],
)
def test_bars_that_can_be_computed_are_named_first(lake: Lakehouse, table: str, call: str) -> None:
    assert "lake.bars" not in message(lambda: lake.read(table, market="um"))
    put(day_of_bars(date(2024, 1, 1), ["BTCUSDT"]), part_path(Path(lake.uri), "um", "2024-01-01", "gold/continuous_1m"))
    for text in (
        message(lambda: lake.read(table, market="um")),
        message(lambda: lake.sql(f"FROM {table} WHERE market = 'um'")),
    ):
        assert f"Compute them with {call}" in text
        (command,) = recommended(text)
        assert partitions(command)


def test_sql_takes_the_market_that_has_rows(lake: Lakehouse, tmp_path: Path) -> None:
    assert parsed(recommended(message(lambda: lake.sql("FROM gold.bars_4h")))[0])["market"] == "um"
    put(
        day_of_bars(date(2024, 1, 1), ["BTCUSDT"]),
        part_path(tmp_path / "my lake", "cm", "2024-01-01", MINUTES),
    )
    assert parsed(recommended(message(lambda: lake.sql("FROM gold.bars_4h")))[0])["market"] == "cm"
    named = message(lambda: lake.sql("FROM gold.bars_4h WHERE market IN ('um')"))
    assert parsed(recommended(named)[0])["market"] == "um"


def test_the_lake_of_the_settings_needs_no_variable(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", lake.uri)
    (command,) = recommended(message(lambda: lake.read("gold.continuous_1m", market="um")))
    assert split(command)[0] == {}
    monkeypatch.chdir(lake.uri)
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", ".")
    assert split(recommended(message(lambda: lake.read("gold.continuous_1m", market="um")))[0])[0] == {}


def test_the_variables_of_the_user_are_kept(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", lake.uri)
    monkeypatch.setenv("LAKEHOUSE_TABLES", "klines_1m,*trades")
    monkeypatch.setenv("LAKEHOUSE_MARKETS", "spot")
    monkeypatch.setenv("LAKEHOUSE_START", "2024-03-01")
    text = message(lambda: lake.read("silver.open_interest", market="um", start="2024-02-10", end="2024-02-12"))
    (command,) = recommended(text)
    assert split(command)[0] == {
        "markets": "spot,um",
        "tables": "klines_1m,*trades,open_interest",
        "start": "2024-02-10",
    }
    assert partitions(command) == ["2024-02-10", "2024-02-11"]


def test_an_excluded_table_is_enabled_alone() -> None:
    variables = enabling_variables("binance", "um", ["trades"], None, "2024-01-01", {"LAKEHOUSE_TABLES": "!trades"})
    assert variables == {"LAKEHOUSE_TABLES": "trades"}


def test_a_demo_is_not_filled_with_real_prices(tmp_path: Path) -> None:
    (tmp_path / "archive" / "data").mkdir(parents=True)
    put(day_of_bars(date(2024, 1, 1), ["BTCUSDT"]), part_path(tmp_path / "lake", "um", "2024-01-01"))
    text = message(lambda: Lakehouse(tmp_path / "lake").read("gold.bars_4h", market="um"))
    assert "This is the lake of a demo: to keep real prices out of it, serve its archive first" in text


def test_the_path_of_the_lake_is_quoted(lake: Lakehouse) -> None:
    text = message(lambda: lake.read("gold.continuous_1m", market="um"))
    assert re.search(rf"LAKEHOUSE_LAKE_URI={re.escape(shlex.quote(lake.uri))} crypto-lakehouse", text)
