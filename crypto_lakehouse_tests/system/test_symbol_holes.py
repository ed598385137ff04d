"""Days that were made for some symbols only: for the others they are missing, and no silence of the market."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import feed
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.bronze.partitions import BronzeIngest
from crypto_lakehouse.pipeline.gold.continuous import ContinuousMinutes, MinutesPartition
from crypto_lakehouse.pipeline.silver import silver_partition
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.continuous import GapRule
from crypto_lakehouse_tests.binance_archive import BinanceArchive
from crypto_lakehouse_tests.system.runs import digests, read
from crypto_lakehouse_tests.system.test_cli import UM, run

MINUTES = feed("binance", "um", "klines_1m")
PLACE = ("binance", "um")
NOW = datetime(2025, 2, 1, tzinfo=UTC)
DAYS = [f"2024-03-0{day}" for day in range(1, 7)]
BOTH = "BTCUSDT,ETHUSDT"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveServer]:
    archive = tmp_path_factory.mktemp("archive")
    make_sample(archive, symbols=3, days=12, start=date(2024, 3, 1), tables=("klines_1m",), markets=("um",))
    with ArchiveServer(archive) as running:
        yield running


def backfill(folder: Path, server: ArchiveServer, first: int, last: int, symbols: str) -> str:
    folder.mkdir(exist_ok=True)
    days = ("--from", f"2024-03-{first:02}", "--to", f"2024-03-{last:02}")
    places = {"LAKEHOUSE_ARCHIVE_URL": server.url, "LAKEHOUSE_ARCHIVE_LISTING_URL": server.listing_url}
    done = run(folder, *UM, "klines_1m", *days, "--symbols", symbols, LAKEHOUSE_BARS="1h", **places)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.requirement("F4.3", "F7.3", "D9")
def test_a_hole_of_one_symbol_is_no_gap_of_the_market(tmp_path: Path, server: ArchiveServer) -> None:
    folder = tmp_path / "holes"
    backfill(folder, server, 1, 12, "BTCUSDT")
    backfill(folder, server, 1, 2, "ETHUSDT")
    said = backfill(folder, server, 11, 12, "ETHUSDT")
    command = "crypto-lakehouse backfill --market um --table klines_1m --from 2024-03-03 --to 2024-03-10"
    assert (
        "missing_days of gold/binance/um/gaps: 1 findings: 2024-03-11 ETHUSDT 8 days from 2024-03-03 to 2024-03-10 are"
        f" not in the lake, so this may not be a real gap; it starts no segment. Build them with: {command} --symbols"
        " ETHUSDT"
    ) in said
    lake = Lakehouse(folder / "lake")
    gaps = read(lake, "gold.gaps", market="um")
    assert gaps.select("symbol", "reason", "missing_days", "segment").rows() == [("ETHUSDT", "missing_days", 8, 0)]
    minutes = read(lake, "gold.continuous_1m", market="um", symbols="ETHUSDT")
    assert minutes["segment"].unique().to_list() == [0]
    # As on a day without a partition, nothing is filled.
    assert sorted({time.day for time in minutes["open_time"]}) == [1, 2, 11, 12]
    stored = digests(folder / "lake")
    backfill(folder, server, 1, 12, "BTCUSDT")
    assert digests(folder / "lake") == stored

    (named,) = re.findall(rf"{command} --symbols \S+", said)
    _, *arguments = shlex.split(named)
    places = {"LAKEHOUSE_ARCHIVE_URL": server.url, "LAKEHOUSE_ARCHIVE_LISTING_URL": server.listing_url}
    done = run(folder, *arguments, LAKEHOUSE_BARS="1h", **places)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "missing_days" not in done.stdout
    assert read(lake, "gold.gaps", market="um").is_empty()
    whole = tmp_path / "whole"
    backfill(whole, server, 1, 12, BOTH)
    assert digests(folder / "lake") == digests(whole / "lake")


@pytest.mark.requirement("F4.3")
def test_a_day_that_was_chosen_and_has_no_file_is_silence(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    make_sample(archive, symbols=2, days=9, start=date(2024, 3, 1), tables=("klines_1m",), markets=("um",))
    for day in range(3, 9):
        for path in archive.rglob(f"ETHUSDT-1m-2024-03-{day:02}.zip*"):
            path.unlink()
    with ArchiveServer(archive) as server:
        backfill(tmp_path, server, 1, 9, "BTCUSDT")
        backfill(tmp_path, server, 1, 9, "ETH*")
        lake = Lakehouse(tmp_path / "lake")
        gaps = read(lake, "gold.gaps", market="um")
        assert gaps.select("symbol", "reason", "missing_days", "segment").rows() == [("ETHUSDT", "silence", 0, 1)]


def gold(store: LakeStore, keys: list[str]) -> None:
    maker = ContinuousMinutes(store, MINUTES.market, GapRule())

    def write(part: MinutesPartition) -> None:
        for table, rows in (("continuous_1m", part.rows), ("gaps", part.gaps), ("symbol_states", part.states)):
            if table not in part.unchanged:
                write_partition(
                    store, TableSlice("gold", *PLACE, table).partition(part.key), rows, part.provenances[table]
                )

    last = None
    for part in maker.days(keys):
        write(part)
        last = part
    assert last is not None
    for part in maker.stale_successors(last):
        write(part)


def update(server: ArchiveServer, lake: Path, keys: list[str], symbols: str) -> None:
    """What an update does, in the same order, without Dagster."""
    store = LakeStore.open(str(lake))
    source = BinanceArchive(server.url, server.listing_url)
    raw = RawStore(store, "binance", keep=True)
    bronze = BronzeIngest(MINUTES, source, store, raw, SymbolFilter.parse(symbols), lambda: NOW)
    for part in bronze.partitions(keys):
        if part.unchanged is None:
            write_partition(
                store, TableSlice("bronze", *PLACE, MINUTES.table).partition(part.key), part.rows, part.provenance
            )
    for key in keys:
        minutes = silver_partition(MINUTES, key, store, NOW)
        if minutes.unchanged is None:
            write_partition(
                store, TableSlice("silver", *PLACE, MINUTES.table).partition(key), minutes.rows, minutes.provenance
            )
    gold(store, keys)


@pytest.mark.requirement("F4.3", "D9")
@hypothesis_settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_symbols_with_days_of_their_own_in_any_order(server: ArchiveServer, data: st.DataObject) -> None:
    spans = st.tuples(st.integers(0, len(DAYS) - 1), st.integers(1, 3)).map(lambda s: DAYS[s[0] : s[0] + s[1]])
    updates = st.tuples(st.sampled_from(["BTCUSDT", "ETHUSDT", "ETH*", BOTH, "*,!BTC*"]), spans)
    runs = data.draw(st.lists(updates, min_size=2, max_size=4))
    by_day: dict[str, set[str]] = {}
    for symbols, keys in runs:
        for key in keys:
            by_day.setdefault(key, set()).add(symbols)
    with tempfile.TemporaryDirectory() as folder:
        mixed, plain = Path(folder) / "mixed", Path(folder) / "plain"
        for symbols, keys in [*runs, data.draw(st.sampled_from(runs))]:
            update(server, mixed, keys, symbols)
        for key, some in sorted(by_day.items()):
            for symbols in sorted(some):
                update(server, plain, [key], symbols)
        assert digests(mixed) == digests(plain)
        # All sample symbols trade on every day.
        states = pl.read_parquet(plain / f"gold/symbol_states/exchange=binance/market=um/date={max(by_day)}/*.parquet")
        for name in ("BTCUSDT", "ETHUSDT"):
            traded = [key for key, some in by_day.items() if any(SymbolFilter.parse(s).select([name]) for s in some)]
            missing = (date.fromisoformat(max(by_day)) - date.fromisoformat(max(traded))).days if traded else None
            counted = states.filter(pl.col("symbol") == name)["missing_days"].to_list()
            assert counted == ([] if missing is None else [missing])
