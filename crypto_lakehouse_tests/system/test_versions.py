"""An archive file that is replaced twice, built by real runs: three reads at three times, on disk and on S3."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from benchmarks.latency import LatencyProxy
from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.as_of import PurgedVersion
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.revisions import kept_versions, purge
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.runs import read, run, settings
from crypto_lakehouse_tests.unit.lake_rows import KEY, SLICE
from crypto_lakehouse_tests.unit.test_as_of import rows

DAYS = ("2024-12-29", "2024-12-31")
FILE = "data/futures/um/daily/klines/ETHUSDT/1m/ETHUSDT-1m-2024-12-30.zip"
TABLES = ("silver.klines_1m", "gold.continuous_1m", "gold.bars_1h")
SILVER = "silver/klines_1m/exchange=binance/market=um"
ASKED: dict[str, Any] = {"market": "um", "symbols": "ETHUSDT"}


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str | None]:
    """Location and endpoint of an empty lake."""
    if request.param == "local":
        return str(tmp_path / "lake"), None
    uri, endpoint, env = request.getfixturevalue("s3_lake")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    return f"{uri}/versions", endpoint


@pytest.mark.requirement("F6.19", "T5")
def test_three_versions_of_a_file_are_three_reads_at_three_times(place: tuple[str, str | None], tmp_path: Path) -> None:
    uri, endpoint = place
    more = {"s3_endpoint_url": endpoint} if endpoint else {}
    lake, store = Lakehouse(uri, s3_endpoint_url=endpoint), LakeStore.open(uri, endpoint)
    seeds = (7, 8, 9)
    for seed in seeds:
        make_sample(tmp_path / f"{seed}", 2, 3, date(2024, 12, 29), seed, ("klines_1m",), markets=("um",))
    served = tmp_path / f"{seeds[0]}"
    expected: list[dict[str, pl.DataFrame]] = []
    times, snapshots, recorded, before = [], [], [], []
    with ArchiveServer(served) as server:
        environment = settings(server, uri, tables="klines_1m", bars="1h", **more)
        for seed in seeds:
            if seed != seeds[0]:
                for name in (FILE, f"{FILE}.CHECKSUM"):
                    shutil.copyfile(tmp_path / f"{seed}" / name, served / name)
            done = run(environment, "um", *DAYS)
            assert done.success
            recorded.append(revisions_of(done))
            before.append(times_of(store, "2024-12-29"))
            expected.append({table: read(lake, table, **ASKED) for table in TABLES})
            # Times of S3 are whole seconds.
            time.sleep(1)
            times.append(datetime.now(UTC))
            snapshots.append(lake.snapshot())
            # A second run of the same files changes nothing that a time could see.
            assert run(environment, "um", *DAYS).success
    for table in TABLES:
        assert not expected[0][table].equals(expected[1][table])
        for number, moment in enumerate(times):
            for asked in (moment, snapshots[number]):
                assert read(lake, table, as_of=asked, **ASKED).equals(expected[number][table])
            query = f"SELECT symbol, close FROM {table} WHERE symbol = 'ETHUSDT' ORDER BY open_time"
            answer = lake.sql(query, format="polars", as_of=moment)
            assert answer["close"].to_list() == expected[number][table].sort("open_time")["close"].to_list()
    panels = [lake.panel("close", "ETHUSDT", "1h", market="um", as_of=moment) for moment in times]
    assert not panels[0].equals(panels[1])
    assert not panels[1].equals(panels[2])

    # Only what the file feeds was built again and kept: its day, and what gold carries over to the next one.
    assert before[0] == before[1] == before[2]
    kept = {file.path.removeprefix("_revisions/").rpartition("/")[0] for file in store.list("_revisions")}
    assert {path for path in kept if path.startswith(("bronze", "silver"))} == {
        f"{layer}/klines_1m/exchange=binance/market=um/date=2024-12-30" for layer in ("bronze", "silver")
    }
    log = read(lake, "ledger.revisions", market="um").sort("known_to")
    assert log.select("table", "symbol", "period").unique().rows() == [("klines_1m", "ETHUSDT", "2024-12-30")]
    assert log["changed"].min() > 0
    assert log["largest_price_move"].min() > 0
    assert log["new_sha256"][0] == log["old_sha256"][1] != log["old_sha256"][0]
    assert all(log["known_from"][1:] == log["known_to"][:-1])
    changed = lake.diff(times[0], times[1], table="silver.klines_1m")
    assert changed.select("partition", "added", "removed", "changed").rows() == [
        ("2024-12-30", *log.select("added", "removed", "changed").row(0))
    ]
    assert lake.diff(times[1], times[1]).is_empty()
    assert recorded[0] == {}
    for number in (1, 2):
        row = log.row(number - 1, named=True)
        sums = {name: row[name] for name in ("added", "removed", "changed", "largest_price_move")}
        assert recorded[number] == {"silver 2024-12-30": {f"revision/{name}": value for name, value in sums.items()}}

    chain, then = (
        str(each.explain("gold.bars_1h", "ETHUSDT", "2024-12-30T03", market="um")) for each in (lake, lake.at(times[0]))
    )
    assert chain.count("partition 2024-12-30 was replaced at") == 2
    assert "was replaced" not in then
    assert log["new_sha256"][1] in chain
    assert log["old_sha256"][0] in then

    for version in kept_versions(store, "silver")[f"{SILVER}/date=2024-12-30/part-0.parquet"][:1]:
        purge(store, version)
    for asked in (times[0], snapshots[0]):
        with pytest.raises(PurgedVersion, match="2024-12-30"):
            read(lake, "silver.klines_1m", as_of=asked, **ASKED)
        assert read(lake, "gold.bars_1h", as_of=asked, **ASKED).equals(expected[0]["gold.bars_1h"])
    chain = str(lake.explain("gold.bars_1h", "ETHUSDT", "2024-12-30T03", market="um"))
    assert (chain.count("before was purged"), chain.count("before: as_of from")) == (1, 1)


def revisions_of(done: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """What Dagster's events of a run say of replaced partitions, by layer and partition."""
    events = [event.step_materialization_data.materialization for event in done.get_asset_materialization_events()]
    return {
        f"{event.asset_key.path[0]} {event.partition}": facts
        for event in events
        if (facts := {name: value.value for name, value in event.metadata.items() if name.startswith("revision/")})
    }


def times_of(store: LakeStore, key: str) -> dict[str, datetime]:
    """When the partitions of a day were written."""
    return {file.path: file.modified for file in store.list() if f"/date={key}/part-0" in file.path}


@pytest.mark.requirement("P2", "F6.19")
def test_a_first_publication_costs_one_request_more_on_s3(
    s3_lake: tuple[str, str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, endpoint, env = s3_lake
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    with LatencyProxy(endpoint, 0) as counted:
        store = LakeStore.open(f"{uri}/{tmp_path.name}", counted.url)
        store.write_bytes_atomic("ready", b"")
        counted.reset()
        store.write_bytes_atomic("plain", b"")
        upload = counted.requests
        counted.reset()
        write_partition(store, SLICE.partition(KEY), rows(1))
        assert counted.requests == upload + 1
        assert store.list("_revisions") == []
