"""``Lakehouse.panel``: the cells of a matrix are the rows of the bars, and filling stays within a series."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_lakehouse import Lakehouse, LakeWarning
from crypto_lakehouse.lake.reader.panel import matrix
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.continuous import continuous_minutes, has_ended, no_state
from crypto_lakehouse_tests.unit.test_lake_bars import DAY, DAYS, END, RULE, UM, klines

pytestmark = pytest.mark.requirement("F6.12")

T0, HOUR = datetime(2024, 1, 1, tzinfo=UTC), timedelta(hours=1)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lakehouse:
    """Two symbols of a week; BBBUSDT pauses for two days, which cuts its series into segments."""
    store, state, everything = LakeStore.open(str(tmp_path_factory.mktemp("panel"))), no_state(), klines()
    minutes, states = (TableSlice("gold", *UM, name) for name in ("continuous_1m", "symbol_states"))
    for day in DAYS:
        rows = everything.filter(pl.col("open_time").dt.date() == day.date())
        done = continuous_minutes(rows, None, state, (day, day + DAY), RULE)
        state = done.state
        write_partition(store, minutes.partition(f"{day.date()}"), done.rows)
    ended = state.with_columns(has_ended=has_ended(state, END, RULE), prior=pl.lit(""))
    write_partition(store, states.partition(f"{DAYS[-1].date()}"), ended)
    return Lakehouse(store.uri)


@pytest.mark.parametrize("interval", ["1h", "4h", "1d", "1m"])
def test_cells_are_the_rows_of_traded_bars(lake: Lakehouse, interval: str) -> None:
    if interval == "1m":
        rows = lake.read("gold.continuous_1m", market="um", format="polars").filter(~pl.col("is_filled"))
    else:
        rows = lake.bars(None, interval, market="um", format="polars").filter(pl.col("first_minute").is_not_null())
    latest = {(symbol, at): close for symbol, at, close in rows.select("symbol", "open_time", "close").iter_rows()}
    panel = lake.panel("close", None, interval, market="um")
    assert list(panel.columns) == ["AAAUSDT", "BBBUSDT"]
    cells = {(symbol, at): value for symbol in panel for at, value in panel[symbol].dropna().items()}
    assert {(symbol, pd.Timestamp(at)): close for (symbol, at), close in latest.items()} == cells
    assert panel.index.is_monotonic_increasing
    assert len(set(panel.index.diff()[1:])) == 1


def test_panels_of_all_fields_have_the_same_index_and_columns(lake: Lakehouse) -> None:
    close, volume, segment = (
        lake.panel(field, None, "3m", market="um", start=DAYS[1], end=DAYS[5])
        for field in ("close", "quote_volume", "segment")
    )
    assert close.index.equals(volume.index)
    assert close.index.equals(segment.index)
    assert list(close.columns) == list(volume.columns) == list(segment.columns)
    across = segment["BBBUSDT"].ffill().diff() == 1
    assert across.sum() == 1


def test_sums_are_not_empty_where_nothing_was_traded(lake: Lakehouse) -> None:
    volume, close = (lake.panel(field, None, "3m", market="um") for field in ("trade_count", "close"))
    quiet = close["AAAUSDT"].isna()
    assert quiet.any()
    assert (volume["AAAUSDT"][quiet] == 0).all()


def test_filling_is_asked_for_and_stays_within_a_segment(lake: Lakehouse) -> None:
    plain = lake.panel("close", None, "1h", market="um")["BBBUSDT"]
    filled = lake.panel("close", None, "1h", market="um", fill="forward")["BBBUSDT"]
    assert filled[plain.notna()].equals(plain.dropna())
    gap = filled[f"{DAYS[2]:%Y-%m-%d}" : f"{DAYS[3]:%Y-%m-%d}"]
    assert gap.isna().all()
    vwap = lake.panel("vwap", "AAAUSDT", "3m", market="um", fill="forward")["AAAUSDT"]
    assert vwap.notna().all()


@pytest.mark.parametrize("format", ["pandas", "polars", "numpy"])
def test_formats_hold_the_same_cells(lake: Lakehouse, format: str) -> None:
    frame = lake.panel("close", "B*,AAAUSDT", "1d", market="um", time_unit="ns")
    assert frame.index.name == "open_time"
    assert frame.columns.name == "symbol"
    assert frame.index.dtype == "datetime64[ns, UTC]"
    given = lake.panel("close", ["BBBUSDT", "AAAUSDT"], "1d", market="um", format=format)
    if format == "numpy":
        assert given.symbols == ["BBBUSDT", "AAAUSDT"]
        assert given.times.dtype == "datetime64[us]"
        values = given.values
    elif format == "polars":
        assert given.columns == ["open_time", "BBBUSDT", "AAAUSDT"]
        values = given.drop("open_time").to_numpy()
    else:
        values = given.to_numpy()
    assert np.array_equal(values, frame[["BBBUSDT", "AAAUSDT"]].to_numpy(), equal_nan=True)


def test_a_named_symbol_without_bars_is_an_empty_column(lake: Lakehouse) -> None:
    with pytest.warns(LakeWarning, match=r"no 1d bars in this range for: AAAUSD \(did you mean AAAUSDT\?\)") as caught:
        panel = lake.panel("close", ["AAAUSD", "AAAUSDT"], market="um")
    assert Path(caught[0].filename) == Path(__file__)
    assert list(panel.columns) == ["AAAUSD", "AAAUSDT"]
    assert panel["AAAUSD"].isna().all()
    with pytest.warns(LakeWarning, match="no rows from 2030-01-01"):
        assert lake.panel("close", market="um", start="2030-01", format="numpy").values.shape == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"field": "price"}, KeyError, "lake.panel has no column 'price'; .*close"),
        ({"field": "open_time"}, ValueError, "open_time is none: choose one of .*close"),
        ({"field": "base_volume", "fill": "forward"}, ValueError, "base_volume cannot be filled forward"),
        ({"field": "close", "fill": "backward"}, ValueError, "fill must be None or 'forward'"),
        ({"field": "close", "interval": "dollar:1000"}, ValueError, "takes an interval such as '1d'"),
        ({"field": "close", "interval": "7h"}, ValueError, "no bars '7h'; there are"),
        ({"field": "close", "market": None}, ValueError, "lake.panel reads one market: pass market='um'"),
        ({"field": "close", "market": None, "interval": "1m"}, ValueError, "lake.panel reads one market"),
        ({"field": "close", "format": "arrow"}, ValueError, "format 'arrow' is not one of pandas, polars, numpy"),
        ({"field": 5}, TypeError, "field must be text"),
    ],
)
def test_mistakes_are_explained(
    lake: Lakehouse, arguments: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        lake.panel(**{"market": "um", **arguments})


CELLS = st.dictionaries(
    st.tuples(st.sampled_from("AB"), st.integers(0, 8)),
    st.tuples(st.integers(0, 2), st.one_of(st.none(), st.floats(1, 9))),
    max_size=12,
)


@settings(max_examples=60)
@given(cells=CELLS, forward=st.booleans())
def test_the_matrix_is_as_by_hand(cells: dict[tuple[str, int], tuple[int, float | None]], forward: bool) -> None:
    # Segments of a symbol rise with time.
    segments = {
        key: max(n for (symbol, hour), (n, _) in cells.items() if symbol == key[0] and hour <= key[1]) for key in cells
    }
    rows = [(symbol, T0 + hour * HOUR, segments[symbol, hour], value) for (symbol, hour), (_, value) in cells.items()]
    schema = {"symbol": pl.String, "open_time": pl.Datetime("us", "UTC"), "segment": pl.Int64, "value": pl.Float64}
    wide = matrix(pl.DataFrame(rows, schema=schema, orient="row"), "1h", ["A", "B"], forward)
    hours = sorted(hour for _, hour in cells)
    span = range(hours[0], hours[-1] + 1) if hours else []
    assert wide["open_time"].to_list() == [T0 + n * HOUR for n in span]
    for symbol in "AB":
        for at, value in wide.select("open_time", symbol).iter_rows():
            hour = (at - T0) // HOUR
            expected = cells.get((symbol, hour), (0, None))[1]
            if forward and expected is None:
                before = [h for s, h in cells if s == symbol and h <= hour]
                after = [h for s, h in cells if s == symbol and h >= hour]
                if before and after and segments[symbol, max(before)] == segments[symbol, min(after)]:
                    known = [h for h in before if cells[symbol, h][1] is not None]
                    if known and segments[symbol, max(known)] == segments[symbol, max(before)]:
                        expected = cells[symbol, max(known)][1]
            assert value == expected
