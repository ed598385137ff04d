"""What a backfill finds before its runs: partitions that a run would change, by the rules of the run itself."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from crypto_lakehouse.lake.storage.partitions import read_partition, write_partition
from crypto_lakehouse.orchestration.launch import plan
from crypto_lakehouse.orchestration.runs import run_chunks
from crypto_lakehouse.orchestration.up_to_date import Work, failed_checks, work_of
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.schemas.versions import CODE_VERSIONS
from crypto_lakehouse.settings import Settings
from crypto_lakehouse_tests.orchestration.conftest import DAYS, Platform

pytestmark = [pytest.mark.slow, pytest.mark.requirement("P6")]

BTC = f"data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-{DAYS[1]}.zip"
Change = Callable[["Lake"], object]


class Lake:
    """A lake of um minutes with bars, and the commands on it."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.settings: dict[str, Any] = {"bars": "1h,1d"}

    @property
    def loaded(self) -> Settings:
        urls = {"archive_url": self.platform.url, "archive_listing_url": self.platform.listing_url}
        own = {"env": "test", "lake_uri": str(self.platform.lake), "tables": "klines_1m", "retries": 1}
        return Settings.load(**{**own, **urls, **self.settings})

    def keys(self, table: str = "klines_1m", force: bool = False, symbols: str = "") -> list[str]:
        """The partitions that a backfill would build."""
        return list(self.work(table, force, symbols).keys)

    def work(
        self,
        table: str = "klines_1m",
        force: bool = False,
        symbols: str = "",
        instance: dg.DagsterInstance | None = None,
    ) -> Work:
        """What a backfill would do, by the records of the platform or of another instance."""
        records = instance or self.platform.instance
        return work_of(self._plan(table), self.loaded, symbols, force, records, self.platform.store)

    def run(self, table: str = "klines_1m", keys: Sequence[str] = DAYS, symbols: str = "") -> set[str]:
        """Run the partitions ``keys`` and return those that were not unchanged."""
        defs = self.platform.defs(**self.settings)
        (outcome,) = run_chunks(self._plan(table), [list(keys)], defs, self.platform.instance, symbols)
        assert not outcome.error, outcome.error
        events = self.platform.instance.all_logs(outcome.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        made = [event.asset_materialization for event in events]
        return {str(one.partition) for one in made if one and "unchanged" not in one.metadata}

    def path(self, layer: str, table: str, day: str) -> Path:
        return self.platform.lake / TableSlice(layer, "binance", "um", table).partition(day).path

    def _plan(self, table: str) -> Any:
        days = date.fromisoformat(DAYS[0]), date.fromisoformat(DAYS[-1])
        return plan("binance", "um", table, *days, self.loaded, datetime.now(UTC).date())


@pytest.fixture
def lake(empty: Platform) -> Lake:
    lake = Lake(empty)
    assert lake.keys() == list(DAYS)
    assert lake.run() == set(DAYS)
    return lake


def test_nothing_is_to_be_built_again_and_with_force_everything_is(lake: Lake) -> None:
    assert lake.keys() == lake.keys("bars_1h") == lake.keys("continuous_1m") == []
    assert lake.keys(force=True) == list(DAYS)
    assert lake.run() == set()


def test_what_is_only_missing_in_the_records_is_counted(lake: Lake) -> None:
    with dg.DagsterInstance.ephemeral() as other:
        work = lake.work(instance=other)
        assert work.keys == tuple(DAYS)
        assert work.unrecorded == len(DAYS)
        assert lake.work("bars_1h", instance=other).unrecorded == len(DAYS)
        lake.path("silver", "klines_1m", DAYS[1]).unlink()
        assert 0 < lake.work(instance=other).unrecorded == len(DAYS) - len(lake.keys()) < len(DAYS)
    assert lake.work().unrecorded == 0


def _gone(layer: str, table: str) -> Change:
    return lambda lake: shutil.rmtree(lake.path(layer, table, DAYS[1]).parent)


def _rewritten_without_provenance(lake: Lake) -> None:
    partition = TableSlice("silver", "binance", "um", "klines_1m").partition(DAYS[1])
    write_partition(lake.platform.store, partition, read_partition(lake.platform.store, partition))


def _other_gap_rule(lake: Lake) -> None:
    lake.settings["gap_days"] = 3.0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_gone("bronze", "klines_1m"), {DAYS[1]}),
        (_gone("silver", "klines_1m"), set(DAYS[1:])),
        (_gone("gold", "continuous_1m"), {DAYS[1]}),
        (_gone("gold", "symbol_states"), set(DAYS[1:])),
        (_gone("gold", "bars_1h"), {DAYS[1]}),
        (_rewritten_without_provenance, {DAYS[1]}),
        (_other_gap_rule, set(DAYS)),
    ],
    ids=["bronze", "silver", "minutes", "states", "bars", "provenance", "gap-rule"],
)
def test_what_a_run_would_change_is_found_and_a_run_of_it_leaves_nothing(
    lake: Lake, change: Change, expected: set[str]
) -> None:
    change(lake)
    found = lake.keys()
    assert set(found) == expected
    lake.run(keys=found)
    assert lake.keys() == []
    # A run of everything agrees that nothing was left out.
    assert lake.run() == set()


def test_a_replaced_file_is_found(lake: Lake, replace_file: Callable[[Path, str], None]) -> None:
    replace_file(lake.platform.archive, BTC)
    assert lake.keys() == [DAYS[1]]
    # Gold alone does not look at the archive.
    assert lake.keys("bars_1h") == []
    assert DAYS[1] in lake.run(keys=[DAYS[1]])
    assert lake.keys() == []
    assert lake.run() == set()


def test_a_raised_code_version_is_found(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CODE_VERSIONS, "silver", "99")
    assert lake.keys() == list(DAYS)


def test_symbols_that_no_run_has_chosen_are_found(empty: Platform) -> None:
    lake = Lake(empty)
    lake.run(symbols="BTCUSDT")
    assert lake.keys(symbols="BTCUSDT") == []
    assert lake.keys(symbols="ETHUSDT") == lake.keys() == list(DAYS)


def test_partitions_without_a_record_in_dagster_are_found(lake: Lake) -> None:
    lake.platform.instance = dg.DagsterInstance.ephemeral()
    assert lake.keys() == list(DAYS)
    assert lake.run() == set()
    assert lake.keys() == []


def test_what_a_check_found_in_an_earlier_run_is_reported_again(empty: Platform) -> None:
    lake = Lake(empty)
    path = lake.platform.archive / BTC
    path.write_bytes(b"no zip")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(f"{path.name}.CHECKSUM").write_text(f"{digest}  {path.name}\n")
    lake.run()
    defs = lake.platform.defs(**lake.settings)
    assert lake.keys() == []
    [(is_error, text)] = failed_checks(defs, lake._plan("klines_1m"), lake.platform.instance)
    assert not is_error
    assert text.startswith("completeness of silver/binance/um/klines_1m: ")
