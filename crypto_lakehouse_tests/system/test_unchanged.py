"""Unchanged partitions are skipped, and for a changed partition only the changed files are downloaded."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import feed
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.definitions import build_defs
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.assets.common import FORCE_TAG, REMAKE_TAG
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG
from crypto_lakehouse.pipeline.bronze.partitions import BronzeIngest
from crypto_lakehouse.pipeline.silver import silver_partition
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.schemas.versions import CODE_VERSIONS
from crypto_lakehouse.settings import Settings
from crypto_lakehouse_tests.binance_archive import BinanceArchive
from crypto_lakehouse_tests.system.runs import WatchedServer, digests, read, settings
from crypto_lakehouse_tests.system.test_bad_input import GOOD, put

DAYS = ("2024-12-30", "2024-12-31")
TABLES = {"tables": "klines_1m,funding_rates,trades", "bars": "1h,1d,dollar:1000000"}
KLINES = "data/futures/um/daily/klines"


def make_archive(folder: Path, seed: int = 7) -> None:
    tables = ("klines_1m", "funding_rates", "trades")
    make_sample(folder, 3, 2, date(2024, 12, 30), seed, tables, markets=("um",), trades_per_day=10_080)


def replace(archive: Path, key: str) -> None:
    """Replace the content of a file, with its checksum."""
    with tempfile.TemporaryDirectory() as other:
        make_archive(Path(other), seed=8)
        for name in (key, f"{key}.CHECKSUM"):
            assert (Path(other) / name).read_bytes() != (archive / name).read_bytes()
            shutil.copyfile(Path(other) / name, archive / name)


@dataclass
class Recorded:
    """What Dagster records of one materialized partition."""

    layer: str
    table: str
    key: str
    facts: dict[str, Any]


def update(environment: Settings, cadence: str = "daily", **tags: str) -> list[Recorded]:
    """Run the update job of ``um`` once; return the record of every partition."""
    first, last = DAYS if cadence == "daily" else ("2024-12", "2024-12")
    tags = {RANGE_START_TAG: first, RANGE_END_TAG: last, **tags}
    job = build_defs(environment).resolve_job_def(f"update_binance_um_{cadence}")
    with dg.DagsterInstance.ephemeral() as instance:
        events = job.execute_in_process(instance=instance, tags=tags).get_asset_materialization_events()
    made = [event.step_materialization_data.materialization for event in events]
    return [
        Recorded(
            one.asset_key.path[0],
            one.asset_key.path[3],
            one.partition or "",
            {name: value.value for name, value in one.metadata.items()},
        )
        for one in made
    ]


def files(lake: Path) -> dict[Path, tuple[int, int]]:
    """Every file of the lake, with its time of change."""
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in sorted(lake.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive and the lake built from it."""
    folder = tmp_path_factory.mktemp("seed")
    make_archive(folder / "archive")
    with WatchedServer(folder / "archive") as server:
        update(settings(server, folder / "lake", **TABLES))
    return folder


@pytest.fixture
def server(seed: Path, tmp_path: Path) -> Iterator[WatchedServer]:
    """A served copy of the archive, next to a copy of the lake."""
    shutil.copytree(seed / "archive", tmp_path / "archive")
    shutil.copytree(seed / "lake", tmp_path / "lake")
    with WatchedServer(tmp_path / "archive") as running:
        yield running


@pytest.mark.requirement("P2")
def test_a_second_run_with_nothing_new_reads_listings_and_writes_nothing(tmp_path: Path) -> None:
    make_archive(tmp_path / "archive")
    put(tmp_path / "archive", "BADUSDT", DAYS[0], GOOD.encode())
    put(tmp_path / "archive", "HALFUSDT", DAYS[0], GOOD + "1,2,3\n")
    with WatchedServer(tmp_path / "archive") as server:
        environment = settings(server, tmp_path / "lake", **TABLES)
        made = {cadence: update(environment, cadence) for cadence in ("monthly", "daily")}
        before = files(tmp_path / "lake")
        server.requests.clear()
        for cadence, first in made.items():
            again = update(environment, cadence)
            for one in first:
                one.facts["unchanged"] = True
                # A preview is made of rows; those of instruments are at hand. Only the newest partition has one.
                if one.table != "instruments":
                    one.facts.pop("preview", None)
                    one.facts.pop("picture", None)
            assert again == first
        assert server.requests == []
        assert server.listings
        assert files(tmp_path / "lake") == before
    bronze = next(one for one in again if (one.layer, one.table, one.key) == ("bronze", "klines_1m", DAYS[0]))
    assert (bronze.facts["quarantined_files"], bronze.facts["quarantined_rows"]) == (1, 1)
    assert bronze.facts["quarantine_reasons"] == {"column_count": 1, "not_a_zip": 1}


@pytest.mark.requirement("P2", "D6")
def test_only_the_replaced_file_of_a_day_is_downloaded_again(server: WatchedServer, tmp_path: Path) -> None:
    key = f"{KLINES}/ETHUSDT/1m/ETHUSDT-1m-{DAYS[0]}.zip"
    replace(tmp_path / "archive", key)
    server.requests.clear()
    # Without raw files, whatever is parsed has to be asked for.
    records = update(settings(server, tmp_path / "lake", raw_retention="drop", **TABLES))
    assert set(server.requests) == {f"/{key}", f"/{key}.CHECKSUM"}
    still = {(one.layer, one.table, one.key) for one in records if one.facts.get("unchanged")}
    assert still >= {(layer, "klines_1m", DAYS[1]) for layer in ("bronze", "silver")}
    assert still >= {(layer, "trades", day) for layer in ("bronze", "silver") for day in DAYS}
    assert not still & {(layer, "klines_1m", DAYS[0]) for layer in ("bronze", "silver")}
    update(settings(server, tmp_path / "fresh", **TABLES))
    assert digests(tmp_path / "lake") == digests(tmp_path / "fresh")


@pytest.mark.requirement("P2", "T4")
def test_a_deleted_or_truncated_partition_is_rebuilt(server: WatchedServer, tmp_path: Path) -> None:
    sound = digests(tmp_path / "lake")
    for number, layer in enumerate(("bronze", "silver", "gold")):
        gone, cut, *_ = sorted((tmp_path / "lake" / layer).rglob(f"date={DAYS[number % 2]}/*.parquet"))
        gone.unlink()
        cut.write_bytes(cut.read_bytes()[:-100])
    update(settings(server, tmp_path / "lake", **TABLES))
    assert digests(tmp_path / "lake") == sound


@pytest.mark.requirement("P2")
def test_the_tag_other_settings_and_another_code_version_rebuild_partitions(
    server: WatchedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, tables = tmp_path / "lake", {"tables": "klines_1m", "bars": "1h"}

    def written(**tags: str) -> set[str]:
        before = files(lake)
        update(environment, **tags)
        layers = {path.relative_to(lake).parts[0] for path, stamp in files(lake).items() if before.get(path) != stamp}
        # The times from which the same rows are known.
        return layers - {"_revisions"}

    environment, sound = settings(server, lake, **tables), digests(lake)
    for tag in (FORCE_TAG, REMAKE_TAG):
        assert written(**{tag: "true"}) == {"bronze", "silver", "gold"}
    assert digests(lake) == sound
    environment = settings(server, lake, **tables, gap_days=2.0)
    assert written() == {"gold"}
    assert written() == set()
    monkeypatch.setitem(CODE_VERSIONS, "silver", "next")
    assert written() == {"silver", "gold"}


@pytest.mark.requirement("P2", "D6")
def test_a_wider_choice_of_symbols_downloads_only_the_new_symbols(server: WatchedServer, tmp_path: Path) -> None:
    for symbols in ("BTCUSDT,ETHUSDT", ""):
        server.requests.clear()
        update(settings(server, tmp_path / "new", symbols=symbols, raw_retention="drop", tables="klines_1m"))
    assert server.zips()
    assert not [path for path in server.zips() if "/BTCUSDT/" in path or "/ETHUSDT/" in path]
    update(settings(server, tmp_path / "at_once", tables="klines_1m"))
    assert digests(tmp_path / "new") == digests(tmp_path / "at_once")


UM = feed("binance", "um", "klines_1m")
SYMBOLS = ("AUSDT", "BUSDT", "CUSDT", "DUSDT")
LATER = "".join([*GOOD.splitlines(keepends=True)[:3]])
CONTENTS: dict[str, str | bytes] = {"good": GOOD, "other": LATER, "half": f"{GOOD}1,2,3\n", "broken": b"no zip"}


@pytest.mark.requirement("P2", "D6")
@hypothesis_settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SYMBOLS), st.sampled_from([*CONTENTS, "gone"])), min_size=2, max_size=12))
def test_after_any_change_of_the_archive_the_lake_equals_a_full_rebuild(changes: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "archive").mkdir()
        put(folder / "archive", "ZUSDT", "2024-03-06", GOOD)
        with WatchedServer(folder / "archive") as server:
            for begin in range(0, len(changes), 3):
                for symbol, content in changes[begin : begin + 3]:
                    path = put(folder / "archive", symbol, "2024-03-05", CONTENTS.get(content, b""))
                    if content == "gone":
                        path.unlink()
                ingest(server, folder / "quick", force=False)
                ingest(server, folder / "whole", force=True)
                assert digests(folder / "quick") == digests(folder / "whole")
                ledgers = [
                    read(Lakehouse(folder / lake), "ledger.files").sort("key", "etag", "status")
                    for lake in ("quick", "whole")
                ]
                assert ledgers[0].equals(ledgers[1])


def ingest(server: WatchedServer, lake: Path, force: bool) -> None:
    store = LakeStore.open(str(lake))
    source = BinanceArchive(server.url, server.listing_url, attempts=1)
    now = datetime(2025, 2, 1, tzinfo=UTC)
    raw = RawStore(store, "binance", keep=False)
    bronze = BronzeIngest(UM, source, store, raw, SymbolFilter(), lambda: now, force)
    place = ("binance", "um", UM.table)
    for part in bronze.partitions(["2024-03-05", "2024-03-06"]):
        write_partition(store, TableSlice("bronze", *place).partition(part.key), part.rows, part.provenance)
        silver = silver_partition(UM, part.key, store, now, force)
        write_partition(store, TableSlice("silver", *place).partition(part.key), silver.rows, silver.provenance)


def test_only_damaged_raw_files_are_written_again(tmp_path: Path) -> None:
    raw = RawStore(LakeStore.open(str(tmp_path / "lake")), "binance", keep=True)
    source = tmp_path / "some.zip"
    source.write_bytes(b"some bytes")
    sha256 = hashlib.sha256(b"some bytes").hexdigest()
    raw.put("data/some.zip", sha256, source)
    before = files(tmp_path / "lake")
    (kept,) = before
    raw.put("data/some.zip", sha256, source)
    assert files(tmp_path / "lake") == before
    kept.write_bytes(b"same bytes")
    raw.put("data/some.zip", sha256, source)
    assert kept.read_bytes() == b"some bytes"
