"""Where rows come from: the chain to the lines of files, checked against the zips themselves."""

from __future__ import annotations

import hashlib
import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.cli.main import app
from crypto_lakehouse.lake.lineage.model import Explanation
from crypto_lakehouse.lake.storage.partitions import MissingPartition
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.runs import run, settings
from crypto_lakehouse_tests.system.test_bad_input import DAY, NEXT, line, put

pytestmark = pytest.mark.requirement("F6.20")

KLINES = f"data/futures/um/daily/klines/GAPUSDT/1m/GAPUSDT-1m-{DAY}.zip"


def minutes(*numbers: int, day: str = DAY, **changes: str) -> str:
    return "".join(line(number, day, high="20.0", **changes) for number in numbers)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive ``archive`` and the lake ``lake``: minutes without trades, a repeated line, a file replaced later."""
    folder = tmp_path_factory.mktemp("explain")
    first = minutes(0, 1, 2, 5, 6) + minutes(5) + minutes(*range(7, 60))
    put(folder / "archive", "GAPUSDT", DAY, first)
    put(folder / "archive", "GAPUSDT", NEXT, minutes(3, 4, 5, day=NEXT))
    tables = ("klines_1m", "funding_rates", "open_interest", "agg_trades")
    start = datetime.fromisoformat(DAY).date()
    make_sample(
        folder / "archive", symbols=1, days=3, start=start, tables=tables, markets=("um",), trades_per_day=10_080
    )
    with ArchiveServer(folder / "archive") as server:
        environment = settings(server, folder / "lake", tables=",".join(tables), bars="1h,1d")
        assert run(environment, "um", "2024-03", "2024-03", cadence="monthly").success
        assert run(environment, "um", DAY, NEXT).success
        put(folder / "archive", "GAPUSDT", DAY, first.replace(minutes(1), minutes(1, close="11.5")))
        assert run(environment, "um", DAY, NEXT).success
    return folder


@pytest.fixture(scope="module")
def lake(folder: Path) -> Lakehouse:
    return Lakehouse(folder / "lake")


def lines_of(archive: Path, key: str) -> list[str]:
    """The lines of the CSV in a zip of the archive."""
    with zipfile.ZipFile(io.BytesIO((archive / key).read_bytes())) as file:
        return file.read(file.namelist()[0]).decode().splitlines()


def steps(explanation: Explanation) -> dict[str, pl.DataFrame]:
    return {step.table: step.rows for step in explanation.steps()}


def check_files(archive: Path, explanation: Explanation) -> int:
    """Compare each bronze row of a chain with its line in the zip, and each sha256 with the zip; count the rows."""
    rows = next(step.rows for step in explanation.steps() if step.table.startswith("bronze."))
    for row in rows.iter_rows(named=True):
        data = (archive / row["source_key"]).read_bytes()
        assert row["source_sha256"] == hashlib.sha256(data).hexdigest()
        text = lines_of(archive, row["source_key"])[row["source_line"] - 1].split(",")
        values = list(row.values())[: len(text)]
        assert [float(value) for value in text] == [float(value) for value in values]
    return rows.height


def test_a_bar_of_sixty_minutes_names_the_line_of_each_minute(lake: Lakehouse, folder: Path) -> None:
    chain = lake.explain("gold.bars_1h", "BTCUSDT", f"{DAY}T03:00", market="um")
    rows = steps(chain)
    assert [*rows] == ["gold.bars_1h", "gold.continuous_1m", "silver.klines_1m", "bronze.klines_1m"]
    assert [frame.height for frame in rows.values()] == [1, 60, 60, 60]
    assert check_files(folder / "archive", chain) == 60
    (file,) = chain.files
    assert file.lines == tuple(rows["bronze.klines_1m"]["source_line"])
    assert file.version is not None
    assert (file.version.status, file.version.sha256) == ("ingested", file.sha256)
    assert rows["gold.bars_1h"]["close"][0] == rows["bronze.klines_1m"].sort("open_time")["close"][-1]
    frame = chain.frame()
    assert frame.group_by("table", maintain_order=True).len().rows() == [(name, rows[name].height) for name in rows]
    of_file = frame.filter(table="bronze.klines_1m")
    assert of_file["first_seen"].unique().to_list() == [file.version.first_seen]
    assert set(frame.filter(table="silver.klines_1m")["source"]) == {"archive_daily"}


def test_filled_minutes_name_the_minute_whose_close_they_repeat(lake: Lakehouse) -> None:
    chain = lake.explain("gold.bars_1h", "GAPUSDT", f"{DAY}T00:30", market="um")
    notes = [note for step in chain.steps() for note in step.notes if not note.startswith(f"partition {DAY}")]
    assert notes == [f"filled: 2 minutes ({DAY} 00:03 to 00:04) without trades, prices are the close of {DAY} 00:02"]
    uses = chain.frame().filter(table="gold.continuous_1m")
    assert uses.filter(use="filled")["time"].dt.minute().to_list() == [3, 4]
    assert steps(chain)["silver.klines_1m"].height == 58
    # The first minutes of the next day repeat the last close of the day before.
    (minute,) = lake.explain("gold.continuous_1m", "GAPUSDT", f"{NEXT}T00:01").steps().__next__().inputs
    assert minute.rows["open_time"].to_list() == [datetime(2024, 3, 5, 0, 59, tzinfo=UTC)]


def test_rejected_lines_earlier_versions_and_quarantined_rows_are_named(lake: Lakehouse, folder: Path) -> None:
    chain = lake.explain("silver.klines_1m", "GAPUSDT", f"{DAY}T00:05")
    frame = chain.frame().filter(table="bronze.klines_1m")
    assert dict(frame.select("source_line", "use").iter_rows()) == {4: "rejected: duplicate", 6: "kept"}
    assert check_files(folder / "archive", chain) == 2
    (file,) = chain.files
    assert len(file.earlier) == 1
    assert file.version is not None
    assert file.version.sha256 != file.earlier[0].sha256
    assert file.version.first_seen == file.earlier[0].first_seen
    assert {(row["source_line"], row["reason"]) for row in file.quarantined} == {(4, "duplicate")}
    (replaced,) = (note for step in chain.steps() for note in step.notes)
    assert replaced.startswith(f"partition {DAY} was replaced at ")
    assert "rows of GAPUSDT: 1 changed, a price by 13.58%. The version before: as_of from " in replaced
    for text in (KLINES, "line 4, 6", "earlier: ingested", "quarantined: line 4, duplicate (silver)"):
        assert text.replace("line 4, 6", "lines 4, 6") in str(chain)
    assert str(chain) in chain._repr_html_().replace("&#x27;", "'").replace("&quot;", '"').replace("&gt;", ">")


@pytest.mark.parametrize(
    ("table", "symbol", "time", "tables"),
    [
        ("gold.bars_2h", "BTCUSDT", f"{DAY}T02:00", ["gold.continuous_1m", "silver.klines_1m", "bronze.klines_1m"]),
        (
            "gold.continuous_1m",
            "BTCUSDT",
            f"{DAY}T08:00",
            ["silver.klines_1m", "bronze.klines_1m", "silver.funding_rates", "bronze.funding_rates"],
        ),
        ("silver.funding_rates", "BTCUSDT", f"{DAY}T08:00", ["bronze.funding_rates"]),
        ("silver.open_interest", "BTCUSDT", f"{NEXT}T00:00", ["bronze.open_interest"]),
        ("gold.symbol_states", "GAPUSDT", DAY, ["silver.klines_1m", "bronze.klines_1m"]),
        ("gold.agg_trades_continuity", "BTCUSDT", DAY, ["silver.agg_trades", "bronze.agg_trades"]),
        ("bronze.klines_1m", "GAPUSDT", f"{DAY}T00:02", []),
    ],
)
def test_every_kind_of_table_is_explained(
    lake: Lakehouse, table: str, symbol: str, time: str, tables: list[str]
) -> None:
    chain = lake.explain(table, symbol, time, market="um")
    assert [step.table for step in chain.steps()] == [table, *tables]
    assert chain.row.rows.height
    assert chain.files
    assert all(file.version is not None and file.version.sha256 == file.sha256 for file in chain.files)
    assert not any("rebuild" in note.lower() for step in chain.steps() for note in step.notes)


def test_each_silver_row_of_trades_leads_to_its_line(lake: Lakehouse, folder: Path) -> None:
    trades = lake.trades("BTCUSDT", aggregated=True, market="um", limit=5, format="polars")
    for row in trades.iter_rows(named=True):
        chain = lake.explain("silver.agg_trades", "BTCUSDT", row["time"])
        (ids,) = chain.row.rows.select("trade_id").to_dict(as_series=False).values()
        assert row["trade_id"] in ids
        bronze = steps(chain)["bronze.agg_trades"]
        assert bronze["agg_trade_id"].to_list() == ids
        text = lines_of(folder / "archive", bronze["source_key"][0])[bronze["source_line"][0] - 1]
        assert text.split(",")[0] == str(ids[0])


def test_a_row_that_does_not_exist_is_an_error_that_names_those_around_it(lake: Lakehouse) -> None:
    with pytest.raises(ValueError, match=rf"no row of GAPUSDT at {DAY} 00:03.*row before is at {DAY}T00:02.*00:05"):
        lake.explain("silver.klines_1m", "GAPUSDT", f"{DAY}T00:03")
    with pytest.raises(MissingPartition, match=r"no partition 2024-04-01 .* backfill --market um --table klines_1m"):
        lake.explain("silver.klines_1m", "GAPUSDT", "2024-04-01")
    with pytest.raises(ValueError, match="come from no other rows"):
        lake.explain("ledger.files", "GAPUSDT", DAY)


def test_the_command_prints_the_chain_and_writes_its_rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(folder / "lake"))
    row = ["explain", "gold.bars_1h", "GAPUSDT", f"{DAY}T00:00", "--market", "um"]
    printed = CliRunner().invoke(app, row)
    assert printed.exit_code == 0
    assert KLINES in printed.stdout
    rows = CliRunner().invoke(app, [*row, "--format", "jsonl"])
    assert len(rows.stdout.splitlines()) == 1 + 60 + 58 + 59
    wrong = CliRunner().invoke(app, ["explain", "gold.bars_1h"])
    assert wrong.exit_code == 2
    assert "name the table, the symbol and the time" in wrong.stderr


def test_a_file_leads_to_the_partitions_that_used_it(lake: Lakehouse, folder: Path) -> None:
    used = lake.uses(KLINES)
    rows = {(row["layer"], row["table"], row["use"].split()[0]): row for row in used.iter_rows(named=True)}
    assert rows["bronze", "klines_1m", "59"]["first"] == DAY
    assert rows["silver", "klines_1m", "cleaned"]["last"] == DAY
    assert rows["gold", "bars_1d", "bars"]["partitions"] == 1
    later = rows["gold", "continuous_1m", "only"]
    assert (later["first"], later["last"]) == (NEXT, NEXT)
    assert "only the state" in later["use"]
    assert set(used["symbol"]) == {"GAPUSDT"}
    sha256 = hashlib.sha256((folder / "archive" / KLINES).read_bytes()).hexdigest()
    assert lake.uses(sha256).equals(used)
    # The first version of the file was replaced: its rows are no longer in the lake.
    (file,) = lake.explain("silver.klines_1m", "GAPUSDT", f"{DAY}T00:05").files
    assert file.earlier[0].sha256 is not None
    assert "of another version" in lake.uses(file.earlier[0].sha256)["use"][0]
    with pytest.raises(ValueError, match=f"did you mean {KLINES}"):
        lake.uses(KLINES.replace("GAP", "GAB"))


def test_a_file_whose_rows_cross_midnight_is_used_by_both_days(lake: Lakehouse) -> None:
    (file,) = lake.explain("silver.open_interest", "BTCUSDT", f"{NEXT}T00:00").files
    used = lake.uses(file.key).filter(layer="silver")
    assert used.select("first", "use").rows() == [
        (DAY, "cleaned from the rows"),
        (NEXT, "rows next to midnight that belong to this partition"),
    ]


def test_the_command_lists_the_partitions_that_used_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(folder / "lake"))
    listed = CliRunner().invoke(app, ["explain", "--file", KLINES, "--format", "csv"])
    assert listed.exit_code == 0
    assert f"gold,continuous_1m,binance,um,{DAY},{DAY},1,GAPUSDT,rows of the day" in listed.stdout
    assert CliRunner().invoke(app, ["explain", "--file", "data/none.zip"]).exit_code == 2
    assert CliRunner().invoke(app, ["explain", "gold.bars_1h", "--file", KLINES]).exit_code == 2
