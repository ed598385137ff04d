"""Messages of the command line speak of its options, not of the arguments of Python."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crypto_lakehouse import Lakehouse, LakeWarning
from crypto_lakehouse.cli.main import app
from crypto_lakehouse_tests.unit.small_lake import day_of_bars, part_path, put

READ = ("read", "gold.bars_1h", "--market", "um")
PLOT = ("plot", "candles", "BTCUSDT", "--market", "um", "--out", "a.png")
EXPORT = ("export", "table", "gold.bars_1h", "--market", "um", "--out", "x")
FILL = ("backfill", "--market", "um", "--table", "klines_1m")
DAYS = ("--days", "3")
MISTAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "swapped": ((*READ, "--from", "2026-11-30", "--to", "2026-11-20"), "--to 2026-11-20 is before --from 2026-11-30"),
    "swapped months": ((*PLOT, "--from", "2026-11", "--to", "2026-10"), "swap them"),
    "two starts": ((*READ, "--from", "2024-01-01", "--last", "30d"), "--from and --last both say where"),
    "parameter": (("sql", "SELECT $symbol, $day"), "for $day, $symbol: add --param day=VALUE --param symbol=VALUE"),
    "parameter without a name": (("sql", "SELECT ?"), "write $symbol instead, and add --param symbol=BTCUSDT"),
    "several markets": (("read", "gold.bars_1h", "--columns", "open_time"), "choose one market of them"),
    "two starts of a backfill": ((*FILL, *DAYS, "--from", "2026-11-20"), "--from and --days both say where"),
    "no start": (FILL, "choose where the range starts: --from 2024-01-01, or --days 30"),
    "order of a date": ((*READ, "--from", "30-11-2026"), "is not a day such as 2024-01-31 or a month such as 2024-01"),
    "time": ((*READ, "--from", "2026-11-25T06:00"), "a range has whole UTC days"),
    "day": ((*READ, "--from", "2026-11-31"), "2026-11 has 30 days"),
    "markets": (("backfill", "--market", "um,spot", *FILL[3:], *DAYS), "--market um --market spot"),
    "tables": ((*FILL[:3], "--table", "klines_1m, trades", *DAYS), "--table klines_1m --table trades"),
    "markets to read": (("read", "gold.bars_1h", "--market", "um,spot"), "repeat the option for each: --market um"),
    "markets to update": (("update", "--market", "um,spot"), "repeat the option for each: --market um"),
    "start": ((*READ, "--start", "2024-01-01"), "--from"),
    "end": ((*READ, "--end", "2024-01-01"), "--to"),
    "last of a backfill": ((*FILL, "--last", "30d"), "--days"),
    "last of an export": ((*EXPORT, "--last", "3d"), "--from"),
}


@pytest.fixture(autouse=True)
def _lake_of_the_settings(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(root))
    monkeypatch.setenv("COLUMNS", "300")


@pytest.mark.parametrize("name", MISTAKES)
def test_the_message_says_what_to_type(name: str) -> None:
    arguments, says = MISTAKES[name]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    if "No such option" in result.stderr:
        assert f"(Possible options: {says})" in result.stderr


def test_a_warning_comes_before_the_error_that_it_explains(tmp_path: Path) -> None:
    picture = ("plot", "candles", "BTCUST", "--market", "um", "--out", str(tmp_path / "a.png"))
    text = CliRunner().invoke(app, picture).stderr
    assert 0 <= text.index("warning: ") < text.index("error: ")


def test_a_symbol_of_another_market_is_named_with_it(root: Path) -> None:
    put(day_of_bars(date(2024, 1, 1), ["BTCUSD_PERP"]), part_path(root, "cm", "2024-01-01"))
    with pytest.warns(LakeWarning, match=r"BTCUSD_PERP \(it is in market cm\)"):
        Lakehouse(root).read("gold.bars_1h", market="um", symbols="BTCUSD_PERP")


def test_an_update_of_a_misspelt_lake_says_that_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(tmp_path / "typo"))
    result = CliRunner().invoke(app, ["update", "--dry-run"])
    assert result.exit_code == 1
    assert f"there is no lake at {tmp_path / 'typo'}" in result.stderr
    assert "skipped" not in result.stderr
