"""``Lakehouse.sql`` ends at its limits of memory and time, and at an interrupt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog.sizes import parse_size
from crypto_lakehouse.lake.reader.sql_limits import QueryLimit
from crypto_lakehouse.settings import Settings, SettingsError

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F6.3")]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("LAKEHOUSE_"):
            monkeypatch.delenv(name)


# Queries that would run for days, with and without a table; a query with COPY is read through Arrow.
ENDLESS = {
    "alone": "SELECT count(*) FROM range(1000000000000) r WHERE hash(r.range) % 7 = 3",
    "of files": "SELECT count(*) FROM gold.bars_1h b, range(1000000000000) r WHERE hash(b.close, r.range) = 3",
    "of Arrow": "SELECT count(*) FROM gold.bars_1h b, range(1000000000000) r WHERE hash(b.close, r.range) = 3 --copy",
    "many rows": "SELECT b.symbol, r.range FROM gold.bars_1h b, range(1000000000000) r WHERE hash(r.range) % 99999 = 3",
}


@pytest.mark.parametrize("query", ENDLESS)
def test_a_query_ends_at_its_limit_of_time(lake: Lakehouse, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_SQL_TIMEOUT", "0.5")
    with pytest.raises(QueryLimit, match=r"0\.5 s.*LAKEHOUSE_SQL_TIMEOUT"):
        lake.sql(ENDLESS[query])
    monkeypatch.delenv("LAKEHOUSE_SQL_TIMEOUT")
    assert lake.sql("SELECT 1 AS one", format="polars")["one"].to_list() == [1]


BIG = {
    "a hash table": "SELECT count(*) FROM (SELECT range AS a, list(range) FROM range(100000000) GROUP BY a)",
    "the rows of the answer": "SELECT range AS a, hash(range) AS b FROM range(100000000)",
    "the rows of the answer, through Arrow": "SELECT b.*, r.range FROM gold.bars_1h b, range(1000000) r --copy",
}


@pytest.mark.parametrize("query", BIG)
def test_a_query_ends_at_its_limit_of_memory(lake: Lakehouse, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_SQL_MEMORY", "64MB")
    with pytest.raises(QueryLimit, match=r"64MB.*LAKEHOUSE_SQL_MEMORY"):
        lake.sql(BIG[query])
    assert lake.sql("SELECT count(*) AS n FROM gold.bars_1h", format="polars")["n"].item() == 3 * 48 + 24


def test_a_large_sort_uses_disk_and_leaves_no_files(
    lake: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spilled = tmp_path / "spilled"
    spilled.mkdir()
    monkeypatch.setenv("LAKEHOUSE_SQL_MEMORY", "128MB")
    monkeypatch.setattr("tempfile.tempdir", str(spilled))
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    query = "SELECT last(a) AS a FROM (SELECT range AS a, hash(range) AS b FROM range(20000000) ORDER BY b)"
    assert lake.sql(query, format="polars").height == 1
    assert list(spilled.iterdir()) == []
    assert sorted(tmp_path.iterdir()) == before


_ASK = """
import sys
from crypto_lakehouse import Lakehouse
lake = Lakehouse(sys.argv[1])
# Python drops a signal that arrives in a callback while modules are imported.
lake.sql("SELECT 1 AS one")
print("begins", flush=True)
try:
    lake.sql(sys.argv[2])
except KeyboardInterrupt:
    assert lake.sql("SELECT 1 AS one")["one"][0] == 1
    print("interrupted", flush=True)
"""


# The query is short, but making the view of its table takes days.
_PREPARE = f"""
from crypto_lakehouse.lake.reader import sql
sql.create_view = lambda connection, *_: connection.execute("{ENDLESS["alone"]}").fetchall()
"""


@pytest.mark.parametrize("query", ENDLESS)
def test_an_interrupt_stops_a_query(root: Path, query: str) -> None:
    _interrupt(_ASK, root, ENDLESS[query])


def test_an_interrupt_stops_what_prepares_a_query(root: Path) -> None:
    _interrupt(_ASK.replace("print(", f"{_PREPARE}print(", 1), root, "SELECT count(*) FROM gold.bars_1h")


def _interrupt(program: str, root: Path, query: str) -> None:
    command = [sys.executable, "-c", program, str(root), query]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        # The query runs once it has used the processor for longer than its preparation takes.
        started = _processor_seconds(process.pid)
        while _processor_seconds(process.pid) < started + 1.5:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "interrupted\n"
    assert process.returncode == 0


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GB", 4 * 10**9),
        ("512 MB", 512 * 10**6),
        ("1.5GiB", 3 * 2**29),
        ("18.8 GiB", 20_186_346_291),
        ("64mib", 2**26),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LAKEHOUSE_SQL_MEMORY", "much"),
        ("LAKEHOUSE_SQL_MEMORY", "0GB"),
        ("LAKEHOUSE_SQL_MEMORY", "1e3MB"),
        ("LAKEHOUSE_SQL_MEMORY", "4"),
        ("LAKEHOUSE_SQL_MEMORY", "４GB"),
        ("LAKEHOUSE_SQL_TIMEOUT", "0"),
        ("LAKEHOUSE_SQL_TIMEOUT", "soon"),
        ("LAKEHOUSE_SQL_TIMEOUT", "nan"),
        ("LAKEHOUSE_SQL_TIMEOUT", "inf"),
    ],
)
def test_bad_limits_are_refused_by_the_settings_and_by_the_reader(
    tmp_path: Path, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        Settings.load()
    with pytest.raises(ValueError, match=name):
        Lakehouse(tmp_path).sql("SELECT 1")


def test_empty_limits_are_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LAKEHOUSE_SQL_MEMORY", "LAKEHOUSE_SQL_TIMEOUT"):
        monkeypatch.setenv(name, "")
    assert Settings.load().sql_memory is None
    assert Lakehouse(tmp_path).sql("SELECT 1 AS one")["one"][0] == 1
