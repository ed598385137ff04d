"""The command line as users run it: a real process, a served archive, a real lake."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.commands import parsed, recommended

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from crypto_lakehouse.cli import app; app()"]
ZIP = "data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-12-28.zip"


def environment(**settings: str) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("LAKEHOUSE_", "DAGSTER_", "AWS_"))
    }
    # Tests count runs, and more processes make more of them.
    own = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", "LAKEHOUSE_PROCESSES": "1"}
    return {**kept, **own, **settings}


def run(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=environment(**settings), capture_output=True, text=True
    )


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """(folder of an archive, settings that point to it): two coins, three days, one file damaged."""
    archive = tmp_path / "archive"
    make_sample(archive, symbols=2, days=3)
    (archive / ZIP).write_bytes(b"not a zip")
    checksum = hashlib.sha256(b"not a zip").hexdigest()
    (archive / f"{ZIP}.CHECKSUM").write_text(f"{checksum}  {Path(ZIP).name}\n", encoding="ascii")
    with ArchiveServer(archive) as server:
        yield (
            archive,
            {
                "LAKEHOUSE_LAKE_URI": str(tmp_path / "lake"),
                "LAKEHOUSE_ARCHIVE_URL": server.url,
                "LAKEHOUSE_ARCHIVE_LISTING_URL": server.listing_url,
                "LAKEHOUSE_MAX_PARTITIONS_PER_RUN": "2",
                "LAKEHOUSE_RETRIES": "1",
            },
        )


UM = ("backfill", "--market", "um", "--table")


@pytest.mark.requirement("F7.3", "F7.4")
def test_backfill_runs_chunks_and_status_names_missing_days(
    tmp_path: Path, served: tuple[Path, dict[str, str]]
) -> None:
    _, settings = served
    done = run(tmp_path, *UM, "klines_1m", "--from", "2024-12-27", "--to", "2024-12-29", **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 partitions of binance/um/klines_1m in 2 runs" in done.stdout
    assert "3 partitions done in 2 runs; 0 runs failed" in done.stdout
    quarantined = "quarantined binance/um/klines_1m 2024-12-27 to 2024-12-28: 1 file, 0 rows (not_a_zip 1)"
    assert quarantined in done.stdout
    warning = "check warning binance/um/klines_1m 2024-12-27 to 2024-12-28: completeness of silver/binance/um/klines_1m"
    assert f"{warning}: 1 findings: 2024-12-28 BTCUSDT quarantined: not_a_zip: " in done.stdout
    # The first run does not warn of the day that the second one makes.
    assert "freshness" not in done.stdout
    assert "reconciliation" not in done.stdout
    assert "Traceback" not in done.stderr
    assert "STEP_START" not in done.stderr
    assert (tmp_path / ".dagster" / "dagster.yaml").exists()

    hole = next(tmp_path.glob("lake/silver/klines_1m/*/market=um/date=2024-12-28"))
    shutil.rmtree(hole)
    answer = run(tmp_path, "status", "--json", **settings)
    assert answer.returncode == 0, answer.stderr
    by_layer = {(one["layer"], one["table"]): one for one in json.loads(answer.stdout)}
    bronze, silver = by_layer["bronze", "klines_1m"], by_layer["silver", "klines_1m"]
    assert (silver["first"], silver["last"], silver["holes"]) == ("2024-12-27", "2024-12-29", ["2024-12-28"])
    assert silver["partitions"] == 2
    assert silver["bytes"] == sum(f.stat().st_size for f in tmp_path.glob("lake/silver/klines_1m/**/*.parquet"))
    assert bronze["holes"] == bronze["failed"] == []
    assert [text.split(":")[0] for text in bronze["quarantined"]] == ["2024-12-28 BTCUSDT"]
    assert by_layer["gold", "bars_1h"]["partitions"] == 3

    text = run(tmp_path, "status", "--table", "klines_1m", **settings).stdout
    assert "hole silver.klines_1m binance/um: 2024-12-28" in text
    (command,) = recommended(text)
    assert str(parsed(command)["first"]) == str(parsed(command)["last"]) == "2024-12-28"
    assert "quarantined bronze.klines_1m binance/um: 2024-12-28 BTCUSDT" in text
    assert "bars_1h" not in text

    # Gold alone needs silver: the day with the hole fails and is named, the others are as they were.
    gold = run(tmp_path, *UM, "continuous_1m", "--from", "2024-12-27", "--to", "2024-12-29", **settings)
    assert gold.returncode == 1
    assert "binance/um/continuous_1m: 2 partitions are up to date" in gold.stdout
    assert "0 partitions done in 0 runs; 1 run failed" in gold.stdout
    assert "FAILED binance/um/continuous_1m 2024-12-28: " in gold.stdout
    assert "--from 2024-12-28 --to 2024-12-28" in gold.stdout


@pytest.mark.requirement("F7.3")
def test_backfill_fails_and_names_the_files_when_the_archive_gives_none(
    tmp_path: Path, served: tuple[Path, dict[str, str]]
) -> None:
    _, settings = served
    away = {**settings, "LAKEHOUSE_ARCHIVE_URL": "http://127.0.0.1:1", "LAKEHOUSE_RETRIES": "1"}
    done = run(tmp_path, *UM, "klines_1m", "--from", "2024-12-27", "--to", "2024-12-27", **away)
    assert done.returncode == 1
    assert "FAILED file of binance/um/klines_1m: 2024-12-27 BTCUSDT: connection_error" in done.stdout


@pytest.mark.requirement("F7.3")
def test_backfill_reports_that_the_archive_has_no_files(tmp_path: Path, served: tuple[Path, dict[str, str]]) -> None:
    _, settings = served
    day, empty = ("--from", "2024-12-27", "--to", "2024-12-27"), ("--from", "2024-06-01", "--to", "2024-06-01")
    warning = "warning: every bronze partition of binance/um/klines_1m is empty: the archive has no file"

    # What the settings name is meant for all markets, and a pattern may match nothing yet.
    some = {**settings, "LAKEHOUSE_SYMBOLS": "ETHUSDT,BTCUSD_PERP,XRP*"}
    made = run(tmp_path, *UM, "klines_1m", *day, **some)
    assert made.returncode == 0, made.stdout
    for name in ("BTCUSD_PERP", "XRP*"):
        assert f"warning: no symbol of binance/um/klines_1m matches {name}" in made.stdout
    assert "rows of binance/um/klines_1m: bronze.klines_1m 1,440, silver.klines_1m 1,440, gold" in made.stdout
    assert warning not in made.stdout

    early = run(tmp_path, *UM, "klines_1m", *empty, **settings)
    assert early.returncode == 0, early.stdout
    assert "1 partition done in 1 run; 0 runs failed" in early.stdout
    assert warning in early.stdout


@pytest.mark.requirement("F7.3")
def test_backfill_of_months_for_some_symbols(tmp_path: Path, served: tuple[Path, dict[str, str]]) -> None:
    _, settings = served
    done = run(
        tmp_path,
        *UM,
        "funding_rates",
        "--from",
        "2024-12-31",
        "--to",
        "2024-12-31",
        "--symbols",
        "BTC*",
        **settings,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [file] = tmp_path.glob("lake/silver/funding_rates/**/*.parquet")
    assert "month=2024-12" in str(file)
    import polars as pl

    assert pl.read_parquet(file, hive_partitioning=False)["symbol"].unique().to_list() == ["BTCUSDT"]


@pytest.mark.requirement("F7.3")
def test_backfill_continues_after_a_failed_run_and_names_it(tmp_path: Path) -> None:
    settings = {
        "LAKEHOUSE_LAKE_URI": str(tmp_path / "lake"),
        "LAKEHOUSE_ARCHIVE_URL": "http://127.0.0.1:9",
        "LAKEHOUSE_ARCHIVE_LISTING_URL": "http://127.0.0.1:9/listing",
        "LAKEHOUSE_MAX_PARTITIONS_PER_RUN": "1",
        "LAKEHOUSE_RETRIES": "1",
    }
    done = run(tmp_path, *UM, "klines_1m", "--from", "2024-12-27", "--to", "2024-12-28", **settings)
    assert done.returncode == 1
    assert "0 partitions done in 0 runs; 2 runs failed" in done.stdout
    for day in ("2024-12-27", "2024-12-28"):
        assert re.search(rf"FAILED binance/um/klines_1m {day}: .*127\.0\.0\.1:9", done.stdout)
    assert re.search(rf"open Dagster's UI \(DAGSTER_HOME={tmp_path / '.dagster'}\), run [\da-f-]{{36}}", done.stdout)
    # The stacks of both runs are there, and not before the two lines that say it all.
    assert done.stderr == ""


@pytest.mark.requirement("F7.3")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--market": "options"}, "options"),
        ({"--table": "trades"}, "trades"),
        ({"--table": "klines_5m"}, "LAKEHOUSE_TABLES"),
        ({"--table": "silver.klines_1m"}, "use klines_1m, without its layer"),
        ({"--table": "bars_4h"}, "add 4h to LAKEHOUSE_BARS (now: 1h,1d)"),
        ({"--table": "bars_4h_by_5m"}, "add 4h:5m to LAKEHOUSE_BARS"),
        ({"--exchange": "nowhere"}, "nowhere"),
        ({"--from": "2024-02-30"}, "2024-02-30"),
        ({"--from": "27.12.2024"}, "is not a day such as"),
        ({"--from": "2024-12-31"}, "is before --from 2024-12-31: swap them"),
        ({"--from": "2010-01-01"}, "has data from 2019-09-08 to now: choose --from and --to in this range"),
        ({"--to": "2999-01-01"}, f"is not over (UTC): choose --to {datetime.now(UTC).date() - timedelta(days=1)} or"),
        ({"--symbols": "../etc"}, "not a symbol"),
        ({"--table": "bars_1h", "--symbols": "BTCUSDT"}, "--symbols"),
    ],
)
def test_backfill_refuses_wrong_usage_before_a_run(tmp_path: Path, change: dict[str, str], message: str) -> None:
    options = {"--market": "um", "--table": "klines_1m", "--from": "2024-12-27", "--to": "2024-12-28", **change}
    done = run(tmp_path, "backfill", *(word for pair in options.items() for word in pair))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.requirement("F7.3")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run(tmp_path, "demo", "--folder", "file/demo")
    assert done.returncode == 1
    assert re.search(r"cannot use file/demo\S*: Not a directory\. Check that its folder exists", done.stderr)
    home = run(
        tmp_path, *UM, "bars_1h", "--from", "2024-12-27", "--to", "2024-12-27", DAGSTER_HOME=str(tmp_path / "file")
    )
    assert home.returncode == 1
    assert home.stderr == (
        f"error: DAGSTER_HOME={tmp_path / 'file'} is a file or lies below a file: set DAGSTER_HOME to a folder\n"
    )


@pytest.mark.requirement("F7.5")
def test_serving_says_which_port_is_in_use_and_which_folder_is_missing(tmp_path: Path) -> None:
    with ArchiveServer(tmp_path) as server:
        busy = run(tmp_path, "archive", "serve", ".", "--port", str(server.port))
    assert busy.returncode == 1
    refusal = f"cannot serve on 127.0.0.1:{server.port}: Address already in use. Choose another port, or 0 for a free"
    assert refusal in busy.stderr
    missing = run(tmp_path, "archive", "serve", "nowhere", "--port", "0")
    assert missing.returncode == 1
    assert "there is no folder nowhere: " in missing.stderr
    (command,) = recommended(missing.stderr)
    assert parsed(command)["directory"] == Path("nowhere")


@pytest.mark.requirement("F1.2", "F7.2")
def test_config_prints_settings_and_masks_secrets(tmp_path: Path) -> None:
    settings = {
        "LAKEHOUSE_ARCHIVE_URL": "https://user:hunter2@host/x",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "DAGSTER_POSTGRES_PASSWORD": "very-secret",
        "LAKEHOUSE_LAKE_URI": "s3://bucket/prefix",
        "LAKEHOUSE_ENV": "prod",
    }
    done = run(tmp_path, "config", **settings)
    assert done.returncode == 0
    assert "LAKEHOUSE_LAKE_URI=s3://bucket/prefix\n" in done.stdout
    assert "AWS_SECRET_ACCESS_KEY=****" in done.stdout
    assert "DAGSTER_POSTGRES_PASSWORD=****" in done.stdout
    assert "# running unless changed in the UI: schedules: " in done.stdout
    assert "# stopped unless changed in the UI: feeds: " in done.stdout
    assert "AWS_ACCESS_KEY_ID=(not set)" in done.stdout
    assert "LAKEHOUSE_ARCHIVE_URL=https://****@host/x" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
    assert "very-secret" not in done.stdout + done.stderr


@pytest.mark.requirement("F1.2", "F7.2")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LAKEHOUSE_CONCURENCY", "3"),
        ("LAKEHOUSE_CONCURRENCY", "many"),
        ("LAKEHOUSE_S3_ENDPOINT_URL", "ftp://user:hunter2@host"),
    ],
)
@pytest.mark.parametrize("command", ["config", "status", "demo"])
def test_bad_settings_are_explained_with_exit_code_2(tmp_path: Path, command: str, name: str, value: str) -> None:
    done = run(tmp_path, command, **{name: value})
    assert done.returncode == 2
    assert name in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.requirement("F7.4")
def test_status_of_a_missing_and_of_an_unknown_table(tmp_path: Path) -> None:
    (tmp_path / "lake" / "silver").mkdir(parents=True)
    empty = run(tmp_path, "status", "--table", "trades")
    assert empty.returncode == 0
    assert f"the lake {tmp_path / 'lake'} has no partition of trades" in empty.stdout
    assert json.loads(run(tmp_path, "status", "--json").stdout) == []
    unknown = run(tmp_path, "status", "--table", "tades")
    assert unknown.returncode == 2
    assert "'tades'" in unknown.stderr


@pytest.mark.requirement("F7.4")
def test_status_is_complete_at_80_columns_and_plain_in_a_pipe(tmp_path: Path) -> None:
    place = "exchange=binance/market=um"
    for table in ("continuous_1m", "trades_missing_ids"):
        for day in ("2024-12-27", "2024-12-29"):
            partition = tmp_path / "lake/gold" / table / place / f"date={day}"
            partition.mkdir(parents=True)
            (partition / "part-0.parquet").touch()
            os.truncate(partition / "part-0.parquet", 308_500_000)
    lake = {"LAKEHOUSE_LAKE_URI": str(tmp_path / "lake"), "COLUMNS": "80"}
    row = ["2024-12-27", "2024-12-29", "2", "1", "0", "0", "617.0", "MB"]
    piped = run(tmp_path, "status", **lake).stdout.splitlines()
    assert piped[1].split() == ["table", "market", "first", "last", "parts", "holes", "failed", "bad", "size"]
    assert piped[2].split() == ["gold.continuous_1m", "binance/um", *row]
    assert piped[3].split() == ["gold.trades_missing_ids", "binance/um", *row]
    terminal = run(tmp_path, "status", **lake, TERM="xterm", FORCE_COLOR="1").stdout
    grid = [line for line in re.sub(r"\x1b\[[\d;]*m", "", terminal).splitlines()[1:] if not line.startswith("hole")]
    assert max(map(len, grid)) <= 80
    assert [line.split()[-8:] for line in grid if "MB" in line] == [row, row]


@pytest.mark.requirement("F7.5")
def test_a_sample_is_written_and_served_until_an_interrupt(tmp_path: Path) -> None:
    options = ("--symbols", "1", "--days", "1", "--start", "2024-12-28", "--seed", "3")
    made = run(tmp_path, "archive", "sample", "here", *options)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "here" / ZIP).exists()
    command = [*COMMAND, "archive", "serve", "here"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        server.stdout.readline()
        address = re.search(r"^export LAKEHOUSE_ARCHIVE_URL=(\S+)", server.stdout.readline())
        assert address is not None
        with urllib.request.urlopen(f"{address[1]}/{ZIP}") as answer:
            assert answer.read() == (tmp_path / "here" / ZIP).read_bytes()
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
        assert server.stderr.read() == ""
    other = run(tmp_path, "archive", "serve", "here", "--exchange", "binanc")
    assert other.returncode == 2
    assert "no exchange 'binanc'; did you mean binance" in other.stderr
    missing = run(tmp_path, "archive", "serve", "nowhere", "--port", "0")
    assert missing.returncode == 1
    assert "nowhere" in missing.stderr
    assert "Traceback" not in missing.stderr


@pytest.mark.requirement("F7.5")
def test_a_sample_can_end_on_a_day(tmp_path: Path) -> None:
    few = ("--symbols", "1", "--markets", "spot", "--tables", "klines_1h")
    ends = run(tmp_path, "archive", "sample", "a", *few, "--days", "2", "--end", "2024-12-29")
    starts = run(tmp_path, "archive", "sample", "b", *few, "--days", "2", "--start", "2024-12-28")
    assert (ends.returncode, starts.returncode) == (0, 0), ends.stderr
    files = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.zip")}
        for name in "ab"
    ]
    assert files[0] == files[1]
    assert [path.stem[-10:] for path in sorted(files[0])] == ["2024-12-28", "2024-12-29"]
    both = run(tmp_path, "archive", "sample", "c", "--start", "2024-12-28", "--end", "2024-12-29")
    assert both.returncode == 2
    assert "give one of them" in both.stderr


@pytest.mark.requirement("F7.5")
def test_a_sample_of_chosen_tables_and_markets(tmp_path: Path) -> None:
    options = ("--symbols", "1", "--days", "1", "--tables", "trades,mark_klines_1d", "--markets", "um", "--specials")
    made = run(tmp_path, "archive", "sample", "here", *options, "--trades-per-day", "10080")
    assert made.returncode == 0, made.stderr
    kinds = {path.relative_to(tmp_path / "here/data").parts[:4] for path in (tmp_path / "here").rglob("*.zip")}
    assert kinds == {("futures", "um", "daily", kind) for kind in ("trades", "markPriceKlines")}
    assert (tmp_path / "here/data/futures/um/daily/trades/ICPUSDT_SETTLED").is_dir()
    for wrong, word in ((("--tables", "ticks"), "'ticks'"), (("--trades-per-day", "5"), "10080")):
        refused = run(tmp_path, "archive", "sample", "there", *wrong)
        assert refused.returncode == 2
        assert word in refused.stderr
        assert "Traceback" not in refused.stderr


@pytest.mark.requirement("F7.5")
@pytest.mark.parametrize(
    ("command", "options"),
    [
        ((), ("demo", "config", "archive", "backfill", "status")),
        (("demo",), ("--folder",)),
        (("config",), ()),
        (("status",), ("--table", "--json")),
        (("backfill",), ("--market", "--table", "--from", "--to", "inclusive", "--symbols", "--exchange")),
        (("archive", "sample"), ("DIR", "--symbols", "--days", "--start", "--end", "--seed", "--tables")),
        (("archive", "sample"), ("--markets", "--specials", "--trades-per-day")),
        (("archive", "serve"), ("DIR", "--port")),
        (("archive", "serve-api"), ("DIR", "--port", "--now")),
    ],
)
def test_help_names_every_option(tmp_path: Path, command: tuple[str, ...], options: tuple[str, ...]) -> None:
    done = run(tmp_path, *command, "--help")
    assert done.returncode == 0
    assert [option for option in options if option not in done.stdout] == []


@pytest.mark.requirement("F7.2")
def test_config_and_help_do_not_import_dagster(tmp_path: Path) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from crypto_lakehouse.cli import app;"
        "[CliRunner().invoke(app, [word]) for word in ('config', '--help')];"
        "print(sorted({name for name in sys.modules} & {'dagster', 'plotly'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.requirement("F7.3")
def test_the_dagster_yaml_of_the_repository_keeps_records_next_to_it(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    shutil.copy(REPOSITORY / "dagster.yaml", home)
    code = (
        "import dagster as dg\n"
        "@dg.job\ndef nothing(): pass\n"
        "with dg.DagsterInstance.get() as i:\n"
        "    nothing.execute_in_process(instance=i); print(i.get_runs_count(), i.storage_directory())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=elsewhere,
        env=environment(DAGSTER_HOME=str(home)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", str(home / ".dagster" / "storage")]
    assert list(elsewhere.iterdir()) == []
    assert {path.name for path in home.iterdir()} == {"dagster.yaml", ".dagster"}
