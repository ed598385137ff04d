"""A small lake of real Parquet files for tests of readers, and rows for any of its tables."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import Cadence
from crypto_lakehouse.lake.storage.describe import path_columns
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import cadence_of, schema_of
from crypto_lakehouse.schemas.slices import TableSlice

DAYS = [date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3)]


def day_of_bars(day: date, symbols: list[str]) -> pl.DataFrame:
    schema = schema_of("gold", "bars_1h")
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    values = {"open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "base_volume": 10.0, "quote_volume": 15.0}
    values |= {"taker_buy_base_volume": 5.0, "taker_buy_quote_volume": 7.5}
    counts = {"segment": 0, "offset": 0, "trade_count": 3, "n_minutes": 60, "n_filled": 2, "complete": True}
    rows = [
        {**values, **counts, "symbol": symbol, "open_time": at, "close_time": at + timedelta(hours=1, microseconds=-1)}
        for symbol in symbols
        for at in (midnight + timedelta(hours=hour) for hour in range(24))
    ]
    empty = pl.DataFrame(schema.arrow.empty_table())
    return pl.DataFrame(rows, schema={n: t for n, t in empty.schema.items() if n in rows[0]}).pipe(
        lambda frame: pl.concat([empty, frame], how="diagonal")
    )


def part_path(root: Path, market: str, key: str, table: str = "gold/bars_1h", column: str = "date") -> Path:
    return root / table / "exchange=binance" / f"market={market}" / f"{column}={key}" / "part-0.parquet"


def put(frame: pl.DataFrame, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path)
    return path


def store_a_row(store: LakeStore, layer: str, table: str, market: str) -> None:
    """A partition with a value in each column that the files of the market have."""
    values = {"int64": 7, "double": 1.5, "string": market, "bool": True, "date32[day]": DAYS[0]}
    row = {
        column.name: [values.get(str(column.type), datetime(2024, 1, 1, 12, tzinfo=UTC))]
        for column in TableSlice(layer, "binance", market, table).schema.columns
    }
    key = "2024-01" if cadence_of(layer, table) is Cadence.MONTHLY else "2024-01-01"
    write_partition(
        store,
        TableSlice(layer, "binance", market, table).partition(key),
        pa.table(row, TableSlice(layer, "binance", market, table).schema.arrow),
    )


def has_one_row_per_market(lake: Lakehouse, layer: str, table: str, markets: list[str]) -> bool:
    """Whether SQL gives the rows, columns and types that the reader gives, one row of each market."""
    from_path = path_columns(layer, table)
    columns = [*(name for name in schema_of(layer, table).column_names if name not in from_path), *from_path]
    expected = lake.read(f"{layer}.{table}", columns=columns, format="polars")
    # What mentions COPY is answered without access to files.
    found = [
        lake.sql(f"SELECT * FROM {layer}.{table} ORDER BY market {end}", format="polars") for end in ("", "--copy")
    ]
    return expected["market"].to_list() == sorted(markets) and all(one.equals(expected) for one in found)
