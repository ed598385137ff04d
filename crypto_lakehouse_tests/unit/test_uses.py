"""Which partitions used a file, in tables that are made from listings and other files."""

from __future__ import annotations

from pathlib import Path

import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.ledger import record_files
from crypto_lakehouse.lake.storage.partitions import read_partition, write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.unit.lake_rows import KEY, NOW, UM_1M, ledger_row
from crypto_lakehouse_tests.unit.small_lake import store_a_row

LATER = "2024-01-02"


@pytest.mark.requirement("F6.20")
def test_verdicts_of_later_days_did_not_use_a_file_and_later_listings_did(tmp_path: Path) -> None:
    store = LakeStore.open(str(tmp_path / "lake"))
    store_a_row(store, "bronze", "klines_1m", "um")
    for table in ("witnesses", "instruments"):
        store_a_row(store, "gold", table, "um")
        table_slice = TableSlice("gold", "binance", "um", table)
        write_partition(store, table_slice.partition(LATER), read_partition(store, table_slice.partition(KEY)))
    # The text columns of the stored rows are all the name of the market.
    record_files(store, UM_1M, KEY, [ledger_row("um", key="um", sha256="um")], NOW)
    rows = Lakehouse(store.uri).uses("um").filter(layer="gold")
    used = {row["table"]: row for row in rows.iter_rows(named=True)}
    assert {table: (row["first"], row["last"]) for table, row in used.items()} == {
        "witnesses": (KEY, KEY),
        "instruments": (KEY, LATER),
    }
    assert used["witnesses"]["use"] == "compared with the other file of the day"
    assert used["instruments"]["use"] == "the listing up to the day has the file"
