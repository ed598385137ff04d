"""Rows day by day and as Arrow batches: the same rows as a read, without all of them in memory."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from crypto_lakehouse import DamagedFile, Lakehouse, LakeWarning, MissingLakeError
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse_tests.unit.small_lake import DAYS, day_of_bars, part_path, put

pytestmark = pytest.mark.requirement("F6.13")

TABLE = "gold.bars_1h"


@pytest.mark.filterwarnings("ignore:.*binance/spot .* the range is longer:crypto_lakehouse.LakeWarning")
@pytest.mark.parametrize(
    "arguments",
    [
        {"market": "um"},
        {"market": ["spot", "um"]},
        {"market": "um", "symbols": "ETH*", "columns": ["close", "symbol"]},
        {"market": "um", "start": "2024-01-01T05:00", "end": "2024-01-03T02:00"},
        {"market": "um", "last": "30h", "time_unit": "ns"},
    ],
)
def test_days_and_batches_are_the_rows_of_a_read(lake: Lakehouse, arguments: dict[str, object]) -> None:
    expected = lake.read(TABLE, format="polars", **arguments)
    days = list(lake.iter_days(TABLE, format="polars", **arguments))
    assert [day for day, _ in days] == sorted({day for day, _ in days})
    for day, rows in days:
        assert (
            rows.equals(
                lake.read(
                    TABLE, format="polars", **{**arguments, "start": day, "end": day + timedelta(days=1), "last": None}
                )
            )
            or "start" in arguments
            or "last" in arguments
        )
    rows = pl.concat(rows for _, rows in days)
    assert rows.schema == expected.schema
    assert rows.sort(rows.columns).equals(expected.sort(expected.columns))
    reader = lake.record_batches(TABLE, batch_rows=7, **arguments)
    assert isinstance(reader, pa.RecordBatchReader)
    batches = list(reader)
    assert max(batch.num_rows for batch in batches) <= 7
    table = pl.DataFrame(pa.Table.from_batches(batches, reader.schema))
    assert table.schema == expected.schema
    assert table.sort(table.columns).equals(expected.sort(expected.columns))


def test_a_day_is_read_when_it_is_reached(lake: Lakehouse, root: Path) -> None:
    part_path(root, "um", f"{DAYS[2]}").write_bytes(b"not parquet")
    days = lake.iter_days(TABLE, market="um", index="open_time")
    day, rows = next(days)
    assert day == DAYS[0]
    assert isinstance(rows.index, pd.DatetimeIndex)
    assert next(days)[0] == DAYS[1]
    with pytest.raises(DamagedFile, match="2024-01-03"):
        next(days)
    reader = lake.record_batches(TABLE, market="um")
    assert reader.read_next_batch().num_rows == 48
    with pytest.raises(DamagedFile, match="2024-01-03"):
        reader.read_all()


def test_a_day_that_a_run_replaces_is_listed_again(lake: Lakehouse, root: Path) -> None:
    days = lake.iter_days(TABLE, market="um", format="polars")
    next(days)
    # The new file is larger than the one that was listed.
    put(day_of_bars(DAYS[1], ["AAAUSDT", "BTCUSDT", "ETHUSDT"]), part_path(root, "um", f"{DAYS[1]}"))
    assert next(days)[1]["symbol"].n_unique() == 3
    part_path(root, "um", f"{DAYS[2]}").unlink()
    assert [len(rows) for _, rows in days] in ([], [0])


def test_the_limit_counts_over_days(lake: Lakehouse) -> None:
    days = list(lake.iter_days(TABLE, market="um", limit=60))
    assert [(day, len(rows)) for day, rows in days] == [(DAYS[0], 48), (DAYS[1], 12)]
    assert lake.record_batches(TABLE, market="um", limit=60).read_all().num_rows == 60


def test_months_of_a_monthly_table(lake: Lakehouse, root: Path) -> None:
    empty = pl.DataFrame(schema_of("silver", "funding_rates").arrow.empty_table())
    for month in ("2024-01", "2024-02"):
        put(empty, part_path(root, "um", month, "silver/funding_rates", "month"))
    days = [day for day, _ in lake.iter_days("silver.funding_rates", market="um")]
    assert days == [date(2024, 1, 1), date(2024, 2, 1)]


def test_what_is_missing_is_warned_about_before_the_first_day(lake: Lakehouse, root: Path) -> None:
    part_path(root, "um", f"{DAYS[1]}").unlink()
    for ask in (lake.iter_days, lake.record_batches):
        with pytest.warns(LakeWarning, match="no partition for 2024-01-02") as caught:
            ask(TABLE, market="um")
        assert Path(caught[0].filename) == Path(__file__)
        with pytest.warns(LakeWarning, match="no rows from 2025-01-01"):
            ask(TABLE, market="um", start="2025-01")
        with pytest.raises(ValueError, match=r"rows of several markets \(spot, um\): pass one to lake\."):
            ask(TABLE)
        with pytest.raises(MissingLakeError):
            getattr(Lakehouse("nowhere"), ask.__name__)(TABLE, market="um")
    with pytest.raises(ValueError, match="batch_rows must be a number of rows"):
        lake.record_batches(TABLE, market="um", batch_rows=-5)
