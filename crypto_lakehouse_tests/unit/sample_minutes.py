"""Small days of minutes, written as the lake writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice

DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]
_VALUES = {"int64": 7, "double": 1.5, "string": "archive", "bool": True}


def put_minutes(store: LakeStore, table: str, days: list[str] = DAYS, market: str = "um", count: int = 120) -> None:
    """Write days of AUSDT and BUSDT to a table with one row per minute."""
    layer, name = table.split(".")
    schema = TableSlice(layer, "binance", market, name).schema
    for day in days:
        begin = datetime.fromisoformat(day).replace(tzinfo=UTC)
        times = [begin + timedelta(minutes=at) for at in range(count)]
        columns = {c.name: [_VALUES.get(str(c.type), begin)] * (2 * count) for c in schema.columns}
        columns |= {"symbol": ["AUSDT"] * count + ["BUSDT"] * count, "open_time": times * 2}
        if "close_time" in columns:
            columns["close_time"] = [at + timedelta(minutes=1, microseconds=-1) for at in times] * 2
        for name_ in ("open", "high", "low", "close"):
            columns[name_] = [100.0 + at % 7 for at in range(2 * count)]
        write_partition(
            store, TableSlice(layer, "binance", market, name).partition(day), pa.table(columns, schema.arrow)
        )
