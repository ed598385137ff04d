"""The commands on versions: reads at a time, the list of replaced versions, and their purge."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.cli.main import app
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse_tests.unit.test_as_of import TABLE, closes, write

pytestmark = pytest.mark.requirement("F6.19")


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def times(store: LakeStore, monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """A lake that held three versions of a day, and a time of each."""
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", store.uri)
    monkeypatch.setenv("COLUMNS", "200")
    return [write(store, version) for version in (1, 2, 3)]


def test_commands_read_the_lake_as_it_was(store: LakeStore, times: list[datetime]) -> None:
    snapshot = Lakehouse(store.uri).at(times[1]).snapshot()
    for asked, close in ((times[0].isoformat(), 101.0), (snapshot, 102.0)):
        code, out, error = run("read", TABLE, "--limit", "1", "--format", "jsonl", "--as-of", asked)
        assert (code, json.loads(out)["close"]) == (0, close), error
        query = f"SELECT max(close) AS close FROM {TABLE}"
        code, out, error = run("sql", query, "--format", "jsonl", "--as-of", asked)
        assert (code, json.loads(out)["close"]) == (0, close), error
        assert "klines_1m" in run("tables", "--as-of", asked)[1]
        assert "klines_1m" in run("coverage", "BTCUSDT", "--as-of", asked)[1]
    code, _, error = run("read", TABLE, "--as-of", "2001-01-01")
    assert code == 1
    assert "its first version is of" in error
    code, _, error = run("read", TABLE, "--as-of", "yesterday")
    assert code == 2
    assert "--as-of 'yesterday' is not an ISO 8601 time" in error


def test_versions_are_listed_and_purged(store: LakeStore, times: list[datetime]) -> None:
    code, out, _ = run("revisions", "list", "--format", "jsonl")
    listed = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(one["layer"], one["table"], one["partition"]) for one in listed] == [
        ("silver", "klines_1m", "2024-01-01")
    ] * 2
    assert listed[0]["until"] == listed[1]["from"]
    assert run("revisions", "list", "--market", "spot", "--format", "csv")[1].count("\n") == 1
    assert run("revisions", "list", "--table", "klines_2m")[0] == 2

    tomorrow = f"{datetime.now(UTC).date() + timedelta(days=1)}"
    before = set(Path(store.root).rglob("*"))
    code, _, error = run("revisions", "purge", "--before", tomorrow)
    assert (code, "2 versions" in error, "nothing was deleted: add --delete" in error) == (0, True, True)
    assert set(Path(store.root).rglob("*")) == before
    assert "0 versions" in run("revisions", "purge", "--before", f"{date(2024, 1, 1)}", "--delete")[2]
    assert "2 versions" in run("revisions", "purge", "--before", tomorrow, "--table", "klines_1m", "--delete")[2]
    out = run("revisions", "list", "--format", "jsonl")[1]
    assert [json.loads(line)["is_purged"] for line in out.splitlines()] == [True, True]
    assert "0 versions" in run("revisions", "purge", "--before", tomorrow, "--delete")[2]
    code, _, error = run("read", TABLE, "--as-of", times[1].isoformat())
    assert code == 1
    assert "were purged: 2024-01-01 (held from" in " ".join(error.split())
    assert closes(Lakehouse(store.uri)) == [103.0]
