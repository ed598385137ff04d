"""A backfill in several processes: the same lake and records as in one, and what happens when one of them ends."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from aiohttp import web

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.orchestration.checks import last_evaluation
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse_tests.commands import parsed, recommended
from crypto_lakehouse_tests.system.postgres_server import PostgresServer
from crypto_lakehouse_tests.system.runs import WatchedServer, digests, read
from crypto_lakehouse_tests.system.test_cli import COMMAND, UM, environment, run

pytestmark = pytest.mark.requirement("F7.10")

DAYS = tuple(f"2024-12-{day}" for day in range(26, 32))
SPAN = ("--from", DAYS[0], "--to", DAYS[-1])
TABLES = ("klines_1m", "funding_rates", "open_interest", "agg_trades")
ZIP = f"data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-{DAYS[0]}.zip"
KLINES = (*UM, "klines_1m", *SPAN)
TWO_CHUNKS = {"LAKEHOUSE_PROCESSES": "2", "LAKEHOUSE_MAX_PARTITIONS_PER_RUN": "3"}


@dataclass
class Archive:
    """A served archive of two coins and six days. Files of ``held`` do not come until it is empty."""

    folder: Path
    held: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        wish = {"symbols": 2, "days": len(DAYS), "trades_per_day": 10_080}
        make_sample(self.folder / "archive", **wish, start=date(2024, 12, 26), tables=TABLES)
        self.server = WatchedServer(self.folder / "archive", self._hold)

    async def _hold(self, request: web.Request) -> None:
        while any(day in request.path for day in self.held):
            await asyncio.sleep(0.01)

    def settings(self, home: Path, **more: str) -> dict[str, str]:
        return {
            "LAKEHOUSE_LAKE_URI": str(home / "lake"),
            "LAKEHOUSE_ARCHIVE_URL": self.server.url,
            "LAKEHOUSE_ARCHIVE_LISTING_URL": self.server.listing_url,
            "LAKEHOUSE_TABLES": "klines_1m,funding_rates",
            "LAKEHOUSE_BARS": "1h,1d,dollar:1000000",
            "LAKEHOUSE_RETRIES": "1",
            **more,
        }

    @contextmanager
    def started(self, home: Path, *arguments: str, until_loading: bool = False) -> Iterator[subprocess.Popen[str]]:
        """A command in two processes that wait for files of the second and the last day; or, ``until_loading``, in one
        and another that does not run yet.
        """
        home.mkdir()
        self.held = {DAYS[1], DAYS[-1]}
        settings = environment(**self.settings(home, **TWO_CHUNKS))
        with subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=home,
            env=settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                while process.poll() is None and not self._is_reached(process, until_loading):
                    time.sleep(0.01)
                yield process
            finally:
                self.held = set()
                process.kill()

    def _is_reached(self, process: subprocess.Popen[str], until_loading: bool) -> bool:
        if until_loading:
            return bool(workers(process))
        return all(any(day in path for path in self.server.requests) for day in self.held)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    made = Archive(tmp_path)
    with made.server:
        yield made


def workers(process: subprocess.Popen[str]) -> list[int]:
    """The other processes of a backfill."""
    numbers = []
    for path in Path(f"/proc/{process.pid}/task").glob("*/children"):
        # A thread may have ended meanwhile.
        with suppress(OSError):
            numbers += [int(number) for number in path.read_text().split()]
    return [number for number in numbers if b"spawn_main" in Path(f"/proc/{number}/cmdline").read_bytes()]


def is_alive(number: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False


@contextmanager
def records(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_HOME", str(home / ".dagster"))
    with dg.DagsterInstance.get() as instance:
        yield instance


def facts(instance: dg.DagsterInstance) -> dict[str, dict[str, object]]:
    """What Dagster's records have of each asset: the rows of each partition, by its newest record."""
    found: dict[str, dict[str, object]] = {}
    for key in instance.get_asset_keys():
        events = instance.fetch_materializations(key, limit=1000).records
        rows = found.setdefault(key.to_user_string(), {})
        for event in events:
            made = event.asset_materialization
            assert made is not None
            rows.setdefault(str(made.partition), made.metadata["dagster/partition_row_count"].value)
    return found


def checked(instance: dg.DagsterInstance, assets: list[str]) -> dict[str, tuple[bool, str]]:
    """The newest result of each check: whether it passed, and the failing partitions."""
    found = {}
    for name in assets:
        for check in ("schema", "primary_key", "completeness", "carry", "sources", "missing_days", "funding", "ohlc"):
            evaluation = last_evaluation(instance, dg.AssetCheckKey(dg.AssetKey(name.split("/")), check))
            if evaluation is not None:
                failing = evaluation.metadata.get("failing_partitions")
                found[f"{name} {check}"] = evaluation.passed, str(failing.value) if failing else ""
    return found


def ledger(lake: Path) -> pl.DataFrame:
    return read(Lakehouse(lake), "ledger.files").drop("first_seen", "ingested_at").sort("key", "period")


def damage(archive: Path) -> None:
    """Give the archive a file that is no zip, so that a check of the first chunk fails."""
    (archive / ZIP).write_bytes(b"not a zip")
    checksum = hashlib.sha256(b"not a zip").hexdigest()
    (archive / f"{ZIP}.CHECKSUM").write_text(f"{checksum}  {Path(ZIP).name}\n", encoding="ascii")


def test_rows_files_ledger_and_records_are_those_of_one_process(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(tmp_path / "archive")
    names = [name for table in TABLES for name in ("--table", table)]
    command = ("backfill", "--market", "um", *names, *SPAN)
    homes = {}
    for processes in (1, 2):
        home = homes[processes] = tmp_path / f"processes-{processes}"
        home.mkdir()
        settings = archive.settings(
            home,
            LAKEHOUSE_TABLES=",".join(TABLES),
            LAKEHOUSE_PROCESSES=f"{processes}",
            LAKEHOUSE_MAX_PARTITIONS_PER_RUN="2",
        )
        done = run(home, *command, **settings)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert ("in 2 processes" in done.stdout) == (processes == 2)
    one, two = homes[1], homes[2]
    assert digests(two / "lake") == digests(one / "lake")
    assert len(digests(one / "lake")) > 60
    assert ledger(two / "lake").equals(ledger(one / "lake"))
    with records(one, monkeypatch) as instance:
        expected = facts(instance)
        checks = checked(instance, list(expected))
    assert any(not passed for passed, _ in checks.values())
    assert set(expected["gold/binance/um/bars_1d"]) == set(DAYS)
    with records(two, monkeypatch) as instance:
        assert facts(instance) == expected
        # The damaged file stays in the newest result, although a later chunk was checked at the same time.
        assert checked(instance, list(expected)) == checks
        assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}
    again = run(two, *command, **archive.settings(two, LAKEHOUSE_TABLES=",".join(TABLES), LAKEHOUSE_PROCESSES="2"))
    assert again.returncode == 0, again.stdout + again.stderr
    assert "in 2 processes" not in again.stdout
    assert "binance/um/klines_1m: 6 partitions are up to date" in again.stdout


def test_a_chunk_that_fails_does_not_stop_the_others(archive: Archive, tmp_path: Path) -> None:
    blocked = tmp_path / "lake/silver/klines_1m/exchange=binance/market=um" / f"date={DAYS[0]}"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where the partition's folder should be")
    done = run(tmp_path, *KLINES, **archive.settings(tmp_path, **TWO_CHUNKS))
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"FAILED binance/um/klines_1m {DAYS[0]} to {DAYS[2]}: " in done.stdout
    assert "3 partitions done in 3 runs; 1 run failed" in done.stdout
    bars = sorted(path.parent.name for path in (tmp_path / "lake/gold/bars_1d").rglob("*.parquet"))
    assert bars == [f"date={day}" for day in DAYS[3:]]
    blocked.unlink()
    again = run(tmp_path, *KLINES, **archive.settings(tmp_path, **TWO_CHUNKS))
    assert again.returncode == 0, again.stdout + again.stderr
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    assert run(undisturbed, *KLINES, **archive.settings(undisturbed)).returncode == 0
    assert digests(tmp_path / "lake") == digests(undisturbed / "lake")


def test_the_chunk_of_a_killed_process_fails_and_names_the_command_to_run(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    with archive.started(home, *KLINES) as process:
        (worker,) = workers(process)
        os.kill(worker, signal.SIGKILL)
        archive.held = set()
        out, errors = process.communicate()
    assert process.returncode == 1, out + errors
    assert "Traceback" not in errors
    assert "3 partitions done in 3 runs; 1 run failed" in out
    (text,) = re.findall(r"^FAILED binance/um/klines_1m .*$", out, re.MULTILINE)
    assert f"process {worker} of this run was ended by SIGKILL" in text
    (command,) = recommended(text)
    first, last = re.search(r"klines_1m (\S+) to (\S+): ", text).groups()  # type: ignore[union-attr]
    assert [str(parsed(command)[name]) for name in ("first", "last", "table")] == [first, last, "klines_1m"]
    with records(home, monkeypatch) as instance:
        states = sorted(run.status.value for run in instance.get_runs())
    # One of funding rates, three of the chunk that went on.
    assert states == ["FAILURE", *["SUCCESS"] * 4]
    again = run(home, *command.split()[1:], **archive.settings(home))
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"{DAYS[-1]}" in max(path.parent.name for path in (home / "lake/gold/bars_1d").rglob("*.parquet"))
    assert len(list((home / "lake/gold/bars_1d").rglob("*.parquet"))) == len(DAYS)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_all_processes(
    number: signal.Signals, code: int, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    with archive.started(home, *KLINES) as process:
        others = workers(process)
        # Ctrl-C at a terminal reaches all processes, other signals the one that they are sent to.
        if number is signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        out, errors = process.communicate()
    assert process.returncode == code, out + errors
    assert "Traceback" not in errors
    assert out.count(": repeat the command to continue") == 2
    assert "0 partitions done in 0 runs; 0 runs failed" in out
    assert not any(map(is_alive, others))
    with records(home, monkeypatch) as instance:
        states = [run.status.value for run in instance.get_runs()]
    # The oldest run is that of funding rates.
    assert states == ["FAILURE", "FAILURE", "SUCCESS"]


def test_ctrl_c_while_a_process_loads_stops_it_without_a_traceback(archive: Archive, tmp_path: Path) -> None:
    with archive.started(tmp_path / "home", *KLINES, until_loading=True) as process:
        others = workers(process)
        os.killpg(process.pid, signal.SIGINT)
        out, errors = process.communicate()
    assert process.returncode == 130, out + errors
    assert errors == ""
    assert ": repeat the command to continue" in out
    assert not any(map(is_alive, others))


def test_processes_share_records_in_postgresql(archive: Archive, tmp_path: Path, postgres: PostgresServer) -> None:
    done = run(tmp_path, *KLINES, **archive.settings(tmp_path, **TWO_CHUNKS), **postgres.settings())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 partitions done in 6 runs; 0 runs failed" in done.stdout
    # One of funding rates, and three steps of two chunks.
    assert list(postgres.statuses().values()) == ["SUCCESS"] * 7


def test_no_process_outlives_a_killed_command(archive: Archive, tmp_path: Path) -> None:
    with archive.started(tmp_path / "home", *KLINES) as process:
        others = workers(process)
        assert others
        process.kill()
        process.wait()
        while any(map(is_alive, others)):
            time.sleep(0.01)


def test_a_ban_stops_all_processes(tmp_path: Path) -> None:
    make_sample(tmp_path / "archive", symbols=12, days=len(DAYS), start=date(2024, 12, 26), tables=("klines_1h",))

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=403)

    with WatchedServer(tmp_path / "archive", refuse) as server:
        settings = {
            "LAKEHOUSE_LAKE_URI": str(tmp_path / "lake"),
            "LAKEHOUSE_ARCHIVE_URL": server.url,
            "LAKEHOUSE_ARCHIVE_LISTING_URL": server.listing_url,
            "LAKEHOUSE_TABLES": "klines_1h",
            "LAKEHOUSE_STALL_TIMEOUT": "0.5",
            "LAKEHOUSE_PROCESSES": "2",
            "LAKEHOUSE_MAX_PARTITIONS_PER_RUN": "1",
        }
        done = run(tmp_path, *UM, "klines_1h", *SPAN, **settings)
    assert done.returncode == 1, done.stdout + done.stderr
    # One of each process: the other four chunks do not start.
    assert "0 partitions done in 0 runs; 2 runs failed" in done.stdout
    assert "stopped: the exchange refuses all requests, so no further run starts" in done.stdout
