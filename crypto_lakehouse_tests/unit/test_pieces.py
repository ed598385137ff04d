"""Partitions written from frames and read in pieces: the same bytes and rows for any cut."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crypto_lakehouse.catalog import feed
from crypto_lakehouse.lake.storage.partitions import MissingPartition, write_partition
from crypto_lakehouse.lake.storage.pieces import read_pieces
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import bronze_schema
from crypto_lakehouse.schemas.model import EVENT_ROWS
from crypto_lakehouse.schemas.slices import TableSlice

KEY = "2024-01-01"
SLICE = TableSlice("bronze", "binance", "um", "trades")
MINUTES = TableSlice("bronze", "binance", "um", "klines_1m")


def trades(symbol: str, ids: list[int]) -> pl.DataFrame:
    """Bronze trades of one symbol with these ids, in this order."""
    n = len(ids)
    columns = {
        "id": pl.Series(ids, dtype=pl.Int64),
        **dict.fromkeys(("price", "qty", "quote_qty"), pl.repeat(1.0, n, eager=True)),
        "time": pl.repeat(1_704_067_200_000, n, dtype=pl.Int64, eager=True),
        "is_buyer_maker": pl.repeat("true", n, eager=True),
        "source_line": pl.int_range(1, n + 1, dtype=pl.Int64, eager=True),
        **{name: pl.repeat(text, n, eager=True) for name, text in (("symbol", symbol), ("source_key", "k"))},
        "source_sha256": pl.repeat("s", n, eager=True),
    }
    return pl.DataFrame(columns).select(bronze_schema(feed("binance", "um", "trades")).column_names)


def cut(frame: pl.DataFrame, cuts: list[int]) -> list[pl.DataFrame]:
    ends = [0, *sorted(min(at, frame.height) for at in cuts), frame.height]
    return [frame.slice(a, b - a) for a, b in pairwise(ends)]


@pytest.mark.requirement("D7")
@hypothesis_settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 7, 1000, EVENT_ROWS, EVENT_ROWS + 1, 2 * EVENT_ROWS]), max_size=4),
    cuts=st.lists(st.integers(0, 5 * EVENT_ROWS), max_size=6),
)
def test_the_bytes_do_not_depend_on_how_the_frames_were_cut(sizes: list[int], cuts: list[int]) -> None:
    frames = [trades(f"S{i}USDT", list(range(size))) for i, size in enumerate(sizes)]
    whole = pl.concat([trades("A", []), *frames])
    with tempfile.TemporaryDirectory() as folder:
        store = LakeStore.open(folder)
        at_once = write_partition(store, SLICE.partition(KEY), whole)
        expected = Path(at_once.uri).read_bytes()
        in_parts = write_partition(store, SLICE.partition(KEY), iter(cut(whole, cuts)))
        assert in_parts == at_once
        assert Path(in_parts.uri).read_bytes() == expected
        assert [path.name for path in Path(in_parts.uri).parent.iterdir()] == ["part-0.parquet"]
        metadata = pq.ParquetFile(in_parts.uri).metadata
        assert all(metadata.row_group(i).num_rows <= EVENT_ROWS for i in range(metadata.num_row_groups))


@pytest.mark.requirement("D7")
def test_frames_out_of_order_are_refused_and_the_old_partition_stays(tmp_path: Path) -> None:
    store = LakeStore.open(str(tmp_path))
    info = write_partition(store, SLICE.partition(KEY), trades("A", [1]))
    before = Path(info.uri).read_bytes()
    with pytest.raises(ValueError, match=r"cannot write bronze/trades.*'A'.*come after those of.*'B'"):
        write_partition(store, SLICE.partition(KEY), iter([trades("B", [1]), trades("A", [1])]))

    def failing() -> object:
        yield trades("A", [5])
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write_partition(store, SLICE.partition(KEY), failing())  # type: ignore[arg-type]
    assert Path(info.uri).read_bytes() == before
    assert [path.name for path in Path(info.uri).parent.iterdir()] == ["part-0.parquet"]


@pytest.mark.requirement("D14")
@hypothesis_settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_pieces_hold_every_row_once_and_never_split_an_id(data: st.DataObject) -> None:
    """Row groups of ten rows replace the real size, so that few rows behave like millions."""
    ids = st.lists(st.one_of(st.integers(0, 60), st.just(2**62)), min_size=0, max_size=80)
    kinds = {"ascending": sorted, "as drawn": list}
    frames = []
    for symbol in ("A", "B", "C"):
        order = kinds[data.draw(st.sampled_from(sorted(kinds)))]
        frames.append(trades(symbol, order(data.draw(ids))))
    rows = data.draw(st.integers(5, 40))
    whole = pl.concat(frames)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("crypto_lakehouse.schemas.EVENT_ROWS", 10)
        store = LakeStore.open(folder)
        write_partition(store, SLICE.partition(KEY), whole)
        pieces = list(read_pieces(store, SLICE.partition(KEY), order="id", rows=rows))
    read = pl.concat([whole.clear(), *pieces])
    keys = ["symbol", "source_line"]
    assert read.sort(keys).equals(whole.sort(keys))
    assert all(piece.height for piece in pieces)
    ends = [(piece["symbol"].max(), piece.filter(symbol=piece["symbol"].max())["id"].max()) for piece in pieces]
    begins = [(piece["symbol"].min(), piece.filter(symbol=piece["symbol"].min())["id"].min()) for piece in pieces]
    assert all(end < begin for end, begin in zip(ends[:-1], begins[1:], strict=True))
    for piece in pieces:
        most = piece.group_by("symbol", "id").len()["len"].max()
        assert piece.height <= max(2 * rows, 10, most)  # type: ignore[type-var]


@pytest.mark.requirement("D14")
def test_without_an_order_symbols_stay_whole(tmp_path: Path) -> None:
    store = LakeStore.open(str(tmp_path))
    frames = [trades(symbol, list(range(EVENT_ROWS + 10))) for symbol in "AB"]
    write_partition(store, SLICE.partition(KEY), iter(frames))
    pieces = list(read_pieces(store, SLICE.partition(KEY), rows=1000))
    assert [piece.equals(frame) for piece, frame in zip(pieces, frames, strict=True)] == [True, True]
    (only_b,) = read_pieces(store, SLICE.partition(KEY), rows=1000, symbol="B", columns=["id", "symbol"])
    assert only_b.equals(frames[1].select("id", "symbol"))


@pytest.mark.requirement("D14")
def test_a_missing_partition_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingPartition, match=KEY):
        list(read_pieces(LakeStore.open(str(tmp_path)), MINUTES.partition(KEY)))
