"""The export in the legacy tool's shape: which files it writes, keeps and removes, and what it reports."""

from __future__ import annotations

import ast
import re
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from crypto_lakehouse.lake.storage.store import LakeError
from crypto_lakehouse.transforms.gold.legacy import Profile
from crypto_lakehouse_tests.commands import parsed, recommended
from crypto_lakehouse_tests.unit.legacy_lake import (
    DAY,
    HOLO,
    MINUTE,
    START,
    export,
    flat,
    minutes,
    names,
    out,
    run,
    store,
)

PAGE = Path(__file__).parents[2] / "docs" / "workflows" / "legacy-equivalents.md"


@pytest.mark.requirement("F4.5")
def test_a_later_export_start_starts_the_series_later(tmp_path: Path) -> None:
    rows = [flat(START, 100), flat(START + DAY + 5 * MINUTE, 101)]
    store(tmp_path / "lake", "um", "klines_1m", minutes("um", "AUSDT", rows))
    export(tmp_path, first=(START + DAY).date())
    holo = out(tmp_path, f"{HOLO}/AUSDT.parquet")
    assert holo["candle_begin_time"].to_list() == [START + DAY + 5 * MINUTE]
    export(tmp_path, end=(START + DAY).date())
    assert out(tmp_path, f"{HOLO}/AUSDT.parquet")["candle_begin_time"].to_list() == [START]


@pytest.mark.requirement("F4.5")
def test_candles_off_the_minute_are_snapped_in_both_profiles(tmp_path: Path) -> None:
    """The legacy tool shifts the calendar or drops them; silver has them on the minute already."""
    rows = [flat(START + i * MINUTE + timedelta(seconds=17), 100 + i) for i in range(3)]
    store(tmp_path / "lake", "um", "klines_1m", minutes("um", "AUSDT", rows))
    for profile in Profile:
        export(tmp_path, profile=profile)
        holo = out(tmp_path, f"{HOLO}/AUSDT.parquet")
        assert holo.select("candle_begin_time", "close").rows() == [(START + i * MINUTE, 100 + i) for i in range(3)]


@pytest.mark.requirement("F4.5")
def test_a_symbol_without_a_trade_is_reported_and_stops_nothing(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    rows = pl.concat([minutes("um", "AUSDT", [flat(START, 1, 0)]), minutes("um", "BUSDT", [flat(START, 1)])])
    store(lake, "um", "klines_1m", rows)
    earlier = tmp_path / "out" / HOLO / "AUSDT.parquet"
    earlier.parent.mkdir(parents=True)
    earlier.write_bytes(b"of an earlier export")
    result = run(tmp_path, "--bars", "5m")
    assert result.exit_code == 0
    assert "warning um AUSDT: no minute was traded, so no file is written" in result.output
    assert earlier.read_bytes() == b"of an earlier export"
    assert names(tmp_path) == ["AUSDT", "BUSDT"]
    assert run(tmp_path, "--symbols", "AUSDT").exit_code == 1
    assert run(tmp_path, "--symbols", "AUSDT,BUSDT").exit_code == 1


@pytest.mark.requirement("F4.5")
def test_unknown_symbols_are_named(tmp_path: Path) -> None:
    store(tmp_path / "lake", "um", "klines_1m", minutes("um", "AUSDT", [flat(START, 1)]))
    result = run(tmp_path, "--symbols", "AUSDT,NOUSDT,*EUR")
    assert result.exit_code == 1
    for name in ("NOUSDT", "*EUR"):
        assert f"ERROR no symbol of silver.klines_1m matches {name}" in result.output
    assert names(tmp_path) == ["AUSDT"]
    assert run(tmp_path, "--symbols", "AUSDT").exit_code == 0  # in one market of three is enough
    assert run(tmp_path, "--from", "2024-05-07").exit_code == 1  # nothing at all


@pytest.mark.requirement("F4.5")
def test_segments_of_an_earlier_export_do_not_stay(tmp_path: Path) -> None:
    rows = [flat(START + k * 3 * DAY, 100.0 * 2**k) for k in range(3)]
    both = [minutes("um", name, rows) for name in ("AUSDT", "BAUSDT")]
    store(tmp_path / "lake", "um", "klines_1m", pl.concat(both))
    assert run(tmp_path, "--bars", "5m,15m").exit_code == 0
    split = ["AUSDT", "SP0_AUSDT", "SP1_AUSDT"]
    foreign = ["BAUSDT", "SP0_BAUSDT", "SP1_BAUSDT", "SPX_AUSDT"]
    folders = {kind: f"resampled_klines/futures_um/{kind}/0m" for kind in ("5m", "15m")}
    for folder in (HOLO, *folders.values()):
        (tmp_path / "out" / folder / "SPX_AUSDT.parquet").write_bytes(b"of somebody else")
    result = run(tmp_path, "--bars", "5m", "--symbols", "AUSDT", "--to", "2024-05-11")
    assert result.exit_code == 0
    assert f"removed {HOLO}/SP1_AUSDT.parquet: AUSDT no longer has this segment" in result.output
    # Two segments are left; folders that were not written, and other symbols, are as they were.
    for folder in (HOLO, folders["5m"]):
        assert names(tmp_path, folder) == sorted([*split[:2], *foreign])
    assert names(tmp_path, folders["15m"]) == sorted([*split, *foreign])


@pytest.mark.requirement("F4.5")
def test_a_write_that_fails_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path / "lake", "um", "klines_1m", minutes("um", "AUSDT", [flat(START, 1)]))
    export(tmp_path)
    before = (tmp_path / "out" / HOLO / "AUSDT.parquet").read_bytes()
    store(tmp_path / "lake", "um", "klines_1m", minutes("um", "AUSDT", [flat(START, 2)]))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(LakeError, match="disk is full"):
            export(tmp_path)
    assert [path.name for path in (tmp_path / "out" / HOLO).iterdir()] == ["AUSDT.parquet"]
    assert (tmp_path / "out" / HOLO / "AUSDT.parquet").read_bytes() == before


@pytest.mark.requirement("F4.5")
def test_days_missing_from_the_lake_are_named(tmp_path: Path) -> None:
    rows = minutes("um", "AUSDT", [flat(START, 1), flat(START + 2 * DAY, 1)])
    store(tmp_path / "lake", "um", "klines_1m", rows, [START.date(), (START + 2 * DAY).date()])
    result = run(tmp_path, "--market", "um", "--market", "cm", "--bars", "")
    assert result.exit_code == 0
    assert "warning um: silver.klines_1m has no 2024-05-07; their minutes" in result.output
    assert "--market um --table klines_1m --from 2024-05-07 --to 2024-05-07" in result.output
    assert "cm: no day of this range is in silver.klines_1m" in result.output
    *_, command = recommended(result.output)
    assert parsed(command)["market"] == "cm"
    assert "spot" not in result.output


@pytest.mark.requirement("F4.5")
def test_a_grid_that_is_asked_for_twice_is_written_once(tmp_path: Path) -> None:
    rows = [flat(START + i * MINUTE, 100) for i in range(120)]
    store(tmp_path / "lake", "spot", "klines_1m", minutes("spot", "AUSDT", rows))
    (one,) = export(tmp_path, "spot", bars="1h,1h:30m")
    assert one.written == (
        "holo_1m_klines/spot/AUSDT.parquet",
        "resampled_klines/spot/1h/0m/AUSDT.parquet",
        "resampled_klines/spot/1h/30m/AUSDT.parquet",
    )


@pytest.mark.requirement("F4.5")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "2024-04-30"], "no day to export"),
        (["--market", "options"], "no market 'options'; there are spot, um, cm"),
        (["--profile", "bhds"], "no profile 'bhds'; there are legacy, default"),
        (["--bars", "1mo"], "the legacy tool has no bars 1mo"),
        (["--bars", "dollar:1000000"], "the legacy tool has no bars dollar:1000000"),
        (["--bars", "7m"], "no bars '7m'"),
        (["--gap-days", "0"], "--gap-days must be above 0"),
        (["--gap-days", "nan"], "--gap-days must be above 0"),
        (["--gap-change", "-0.1"], "--gap-days must be above 0"),
        (["--symbols", "../AUSDT"], "is not a symbol"),
        (["--from", "2024-5-1"], "2024-5-1"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(tmp_path: Path, arguments: list[str], words: str) -> None:
    result = run(tmp_path, *arguments)
    assert result.exit_code == 2
    assert words in " ".join(re.sub(r"[│╭╮╰╯─]", " ", result.output).split())
    assert not (tmp_path / "out").exists()


def functions_of(path: Path) -> set[str]:
    """Names of the tests in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.requirement("F4.5")
def test_every_test_that_the_migration_page_names_exists() -> None:
    root = PAGE.parents[2]
    ids = re.findall(r"(crypto_lakehouse_tests/[\w/]+\.py)::(\w+)", PAGE.read_text(encoding="utf-8"))
    assert len(set(ids)) >= 15
    wrong = [f"{path}::{name}" for path, name in ids if name not in functions_of(root / path)]
    assert not wrong


@pytest.mark.requirement("F4.5")
def test_the_legacy_profile_has_only_whole_days_between_files_from_the_api(tmp_path: Path) -> None:
    days = [flat(START + number * DAY, 100 + number) for number in range(5)]
    hours = [flat(START + DAY + number * MINUTE, 200) for number in (1, 2)]
    rows = minutes("um", "AUSDT", [*days, *hours]).sort("open_time")
    day = (pl.col("open_time") - START).dt.total_days()
    # Files of the second and the fourth day; the second one misses a minute.
    is_rest = ~day.is_in([1, 3]) | (pl.col("open_time") == START + DAY + MINUTE)
    completed = rows.with_columns(pl.when(is_rest).then(pl.lit("rest")).otherwise("source").alias("source"))
    store(tmp_path / "lake", "um", "klines_1m", completed)
    traded = {}
    for profile in Profile:
        export(tmp_path, profile=profile)
        holo = out(tmp_path, f"{HOLO}/AUSDT.parquet")
        traded[profile] = holo.filter(pl.col("volume") > 0)["candle_begin_time"].to_list()
    assert traded[Profile.DEFAULT] == rows["open_time"].to_list()
    assert traded[Profile.LEGACY] == [START + DAY, START + DAY + 2 * MINUTE, START + 2 * DAY, START + 3 * DAY]
