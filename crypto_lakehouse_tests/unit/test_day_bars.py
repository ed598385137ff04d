"""Days of bars from the lake: each day of minutes is read once, and bars do not depend on what else is built."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from pyarrow import NativeFile

from crypto_lakehouse.catalog import FEEDS
from crypto_lakehouse.catalog.bars import parse_bars
from crypto_lakehouse.concurrency.map_ordered import map_ordered
from crypto_lakehouse.lake.storage.parquet import frame_of
from crypto_lakehouse.lake.storage.partitions import MissingPartition, write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.gold.bars import DayBars
from crypto_lakehouse.schemas.bars import BARS
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.bars import time_bars
from crypto_lakehouse.transforms.gold.continuous import GapRule, continuous_minutes, no_state
from crypto_lakehouse_tests.unit.test_obvious_gold import silver

MARKET = FEEDS["binance", "um", "klines_1m"].market
PLACE = (MARKET.exchange, MARKET.name)
FIRST = datetime(2024, 2, 26, tzinfo=UTC)
DAY = timedelta(days=1)
KEYS = [(FIRST + n * DAY).date().isoformat() for n in range(9)]


@dataclass(frozen=True, slots=True)
class CountingStore(LakeStore):
    """A lake that counts how often each partition is opened."""

    opened: Counter[str] = field(default_factory=Counter)

    def open_file(self, path: str) -> NativeFile:
        self.opened[path.split("date=")[1][:10]] += 1
        return LakeStore.open_file(self, path)


@pytest.fixture(scope="module")
def minutes() -> pl.DataFrame:
    rows = silver(3, (0.01, 0.05, 1), len(KEYS) * 1440, False)
    return continuous_minutes(rows, None, no_state(), (FIRST, FIRST + len(KEYS) * DAY), GapRule()).rows


@pytest.fixture
def lake(tmp_path: Path, minutes: pl.DataFrame) -> CountingStore:
    store = CountingStore(str(tmp_path), str(tmp_path), LakeStore.open(str(tmp_path)).filesystem)
    for key in KEYS:
        day = minutes.filter(pl.col("open_time").dt.date().cast(pl.String) == key)
        write_partition(store, TableSlice("gold", *PLACE, "continuous_1m").partition(key), day)
    return store


@pytest.mark.requirement("F4.1")
@pytest.mark.parametrize("names", [["1h"], ["5m", "1h", "1d"], ["1h:5m"], ["1d:6h"], ["1w"], ["1h:5m", "8h", "3d:12h"]])
def test_a_range_reads_each_day_of_minutes_once(lake: CountingStore, minutes: pl.DataFrame, names: list[str]) -> None:
    kinds = [parse_bars(name) for name in names]
    with closing(DayBars(lake, MARKET, kinds, KEYS)) as maker:
        made = [maker.make(key) for key in KEYS]
    # Only weeks that closed are read, and the week that began before the lake's first day is closed by none.
    assert lake.opened == Counter(KEYS[:7] if names == ["1w"] else KEYS)
    for bars in kinds:
        together = pl.concat(frame_of(day[bars.table]) for day in made)
        whole = time_bars(minutes, bars.interval, bars.offsets, FIRST, FIRST + len(KEYS) * DAY)  # type: ignore[union-attr]
        assert together.sort(BARS.primary_key).equals(whole)


@pytest.mark.requirement("F4.1", "D9")
def test_days_do_not_depend_on_order_or_on_other_days(lake: CountingStore) -> None:
    kinds = [parse_bars(name) for name in ("1h:5m", "1d", "dollar:100000")]
    with closing(DayBars(lake, MARKET, kinds, KEYS)) as maker:
        in_order = {key: maker.make(key) for key in KEYS}
    with closing(DayBars(lake, MARKET, kinds, KEYS)) as maker:
        for key in [KEYS[n] for n in (5, 2, 3, 7, 0)]:
            for table, rows in maker.make(key).items():
                assert rows.equals(in_order[key][table])
    for bars in kinds:
        with closing(DayBars(lake, MARKET, [bars], [KEYS[4]])) as maker:
            assert maker.make(KEYS[4])[bars.table].equals(in_order[KEYS[4]][bars.table])


@pytest.mark.requirement("F4.1")
def test_a_day_that_was_never_built_is_named(lake: CountingStore) -> None:
    with (
        closing(DayBars(lake, MARKET, [parse_bars("1h")], ["2024-04-01"])) as maker,
        pytest.raises(MissingPartition, match=r"klines_1m .* has no partition 2024-04-01"),
    ):
        maker.make("2024-04-01")


def test_side_by_side_keeps_the_order_and_stops_at_an_error() -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            asked.append(number)
            yield number

    def halve(number: int) -> int:
        if number == 5:
            raise ValueError("five")
        return number // 2

    done: list[int] = []
    with pytest.raises(ValueError, match="five"):
        done.extend(map_ordered(halve, items(), 3))
    assert max(asked) < 9
    assert list(map_ordered(halve, iter([4, 9, 2]), 3)) == [2, 4, 1]


def test_side_by_side_yields_started_results_before_an_error_of_the_items() -> None:
    def items() -> Iterator[int]:
        yield from (2, 4)
        raise ValueError("no third one")

    done: list[int] = []
    with pytest.raises(ValueError, match="no third one"):
        done.extend(map_ordered(abs, items(), 3))
    assert done == [2, 4]
