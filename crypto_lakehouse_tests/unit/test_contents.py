"""Named reads, symbols, coverage and freshness: what a lake holds, and reads of it by the words of the field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from crypto_lakehouse import Lakehouse, LakeWarning, MissingPartition
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.commands import parsed, recommended
from crypto_lakehouse_tests.unit.lake_rows import klines
from crypto_lakehouse_tests.unit.small_lake import DAYS, day_of_bars, part_path, put, store_a_row

pytestmark = pytest.mark.requirement("F6.11")


@pytest.mark.filterwarnings("ignore:.* the range is longer:crypto_lakehouse.LakeWarning")
def test_each_named_read_is_the_read_of_its_table(tmp_path: Path) -> None:
    store = LakeStore.open(str(tmp_path))
    for table in ("klines_1m", "klines_1h", "funding_rates", "trades", "agg_trades", "open_interest"):
        store_a_row(store, "silver", table, "um")
    lake = Lakehouse(tmp_path)
    asked = {"market": "um", "last": "31d", "format": "polars"}
    named = {
        "klines_1m": lake.klines("u*", **asked),
        "klines_1h": lake.klines("u*", "1h", **asked),
        "funding_rates": lake.funding("u*", **asked),
        "trades": lake.trades("u*", **asked),
        "agg_trades": lake.trades("u*", aggregated=True, **asked),
        "open_interest": lake.open_interest("u*", **asked),
    }
    for table, rows in named.items():
        assert rows.height == 1
        assert rows.equals(lake.read(f"silver.{table}", symbols="u*", **asked))


def test_a_wrong_interval_leads_to_bars(lake: Lakehouse) -> None:
    with pytest.raises(ValueError, match=r"no interval '7h'; .*1h.* lake\.bars computes other intervals"):
        lake.klines("BTCUSDT", "7h")
    with pytest.raises(TypeError, match="interval must be text"):
        lake.klines("BTCUSDT", 60)


def put_states(root: Path) -> None:
    """The newest state: one symbol from 2020 until today, one that ended in 2023."""
    empty = pl.DataFrame(schema_of("gold", "symbol_states").arrow.empty_table())
    rows = {
        "symbol": ["BTCUSDT", "GONEUSDT"],
        "first_time": [datetime(2020, 1, 1, tzinfo=UTC)] * 2,
        "last_time": [datetime(2024, 1, 3, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC)],
    }
    states = pl.DataFrame(rows, schema_overrides={name: empty.schema[name] for name in rows})
    put(pl.concat([empty, states], how="diagonal"), part_path(root, "um", f"{DAYS[2]}", "gold/symbol_states"))


def test_symbols_are_those_with_trades_in_the_range(lake: Lakehouse, root: Path) -> None:
    put_states(root)
    assert lake.symbols("um") == ["BTCUSDT", "GONEUSDT"]
    assert lake.symbols("um", last="30d") == ["BTCUSDT"]
    assert lake.symbols("um", end="2019-01") == []
    assert lake.symbols("um", start="2022-06", end="2022-07") == ["BTCUSDT", "GONEUSDT"]


def test_symbols_of_a_table(lake: Lakehouse, root: Path) -> None:
    put(day_of_bars(DAYS[2] + timedelta(days=1), ["ETHUSDT"]), part_path(root, "um", "2024-01-04"))
    assert lake.symbols("um", table="gold.bars_1h") == ["ETHUSDT"]
    assert lake.symbols("um", table="gold.bars_1h", last="48h") == ["BTCUSDT", "ETHUSDT"]
    with pytest.warns(LakeWarning, match=r"silver\.trades of binance/um in .* has no symbols"):
        assert lake.symbols("um", table="silver.trades") == []
    with pytest.raises(MissingPartition, match=r"gold\.symbol_states of binance/um .* has no partitions") as caught:
        lake.symbols("um")
    assert parsed(recommended(str(caught.value))[0])["table"] == "klines_1m"
    with pytest.raises(KeyError, match="no market 'futures'; did you mean"):
        lake.symbols("futures")


def test_coverage_counts_days_with_and_without_rows_of_the_symbol(tmp_path: Path) -> None:
    store = LakeStore.open(str(tmp_path))
    silver = TableSlice("silver", "binance", "um", "klines_1m")
    for day, symbols in ((DAYS[0], ["AAAUSDT", "BBBUSDT"]), (DAYS[1], ["BBBUSDT"]), (DAYS[2], ["AAAUSDT"])):
        write_partition(store, silver.partition(f"{day}"), klines(symbols, day, 3))
    later = DAYS[2] + timedelta(days=2)
    write_partition(store, silver.partition(f"{later}"), klines(["AAAUSDT"], later, 2))
    put_states(tmp_path)
    lake = Lakehouse(tmp_path)
    assert lake.coverage("AAAUSDT").rows() == [("silver", "klines_1m", "um", "2024-01-01", "2024-01-05", 3, 1, 1, 8)]
    # After its last day nothing is missing.
    assert lake.coverage("BBBUSDT", market="um").row(0)[3:] == ("2024-01-01", "2024-01-02", 2, 0, 0, 6)


def test_coverage_of_a_symbol_without_rows_suggests_near_ones(lake: Lakehouse) -> None:
    assert lake.coverage("BTCUSDT")["market"].to_list() == ["spot", "um"]
    with pytest.warns(LakeWarning, match=r"no table of binance in .* has rows of btcusdt \(did you mean BTCUSDT\?\)"):
        assert lake.coverage("btcusdt").is_empty()
    with pytest.raises(ValueError, match="not a symbol"):
        lake.coverage("BTC*")
    with pytest.raises(TypeError, match="symbol must be text"):
        lake.coverage(["BTCUSDT"])


def test_coverage_names_a_damaged_file_and_counts_the_others(lake: Lakehouse, root: Path) -> None:
    part_path(root, "um", f"{DAYS[1]}").write_bytes(b"not parquet")
    with pytest.warns(LakeWarning, match="date=2024-01-02/part-0.parquet is damaged: .* Rebuild it: ") as caught:
        rows = lake.coverage("BTCUSDT", market="um")
    assert len(caught) == 1
    assert rows.rows() == [("gold", "bars_1h", "um", "2024-01-01", "2024-01-03", 2, 0, 0, 48)]


def test_latest_names_the_newest_partition_of_each_market(lake: Lakehouse, root: Path) -> None:
    newest = lake.latest()
    assert newest.drop("written").sort("market").rows() == [
        ("gold", "bars_1h", "binance", "spot", "2024-01-01"),
        ("gold", "bars_1h", "binance", "um", "2024-01-03"),
    ]
    written = datetime.fromtimestamp(part_path(root, "um", "2024-01-03").stat().st_mtime, UTC)
    assert abs(newest.filter(market="um")["written"].item() - written) < timedelta(seconds=1)


@pytest.mark.requirement("F6.4")
def test_listings_show_all_rows_and_texts(lake: Lakehouse, root: Path) -> None:
    for number in range(30):
        put(day_of_bars(DAYS[0], ["BTCUSDT"]), part_path(root, "um", f"{DAYS[0]}", f"gold/bars_tick_{number + 1}"))
    described = lake.describe("gold.bars_1h")
    for listing, names in (
        (lake.tables(), [f"bars_tick_{number + 1} " for number in range(30)]),
        (lake.latest(), [f"bars_tick_{number + 1} " for number in range(30)]),
        (lake.coverage("BTCUSDT"), [f"bars_tick_{number + 1} " for number in range(30)]),
        (described, described["column"].to_list()),
    ):
        for text in (str(listing), repr(listing)):
            assert all(name in text for name in names)
            assert "…" not in text
        html = listing._repr_html_()
        assert all(name.strip() in html for name in names)
        assert "&hellip;" not in html
    assert type(described.filter(pl.col("key"))) is pl.DataFrame


@pytest.mark.requirement("F6.4")
def test_a_notebook_shows_the_tables_of_the_lake(lake: Lakehouse, root: Path) -> None:
    part_path(root, "um", f"{DAYS[1]}").unlink()
    html = lake._repr_html_()
    assert (
        "<td>gold.bars_1h</td><td>binance</td><td>um</td><td>2024-01-01</td><td>2024-01-03</td><td>2</td><td>1</td>"
        in html
    )
    # The folder's name has a quote.
    assert "it&#x27;s" in html
    missing = Lakehouse("nowhere")._repr_html_()
    assert "no silver or gold tables" in missing
