"""The public reader over a small lake of real Parquet files in the layout of the lake."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.reader.status import lake_status
from crypto_lakehouse.lake.storage.partitions import scan
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse_tests.commands import parsed, recommended
from crypto_lakehouse_tests.unit.lake_rows import klines
from crypto_lakehouse_tests.unit.small_lake import (
    DAYS,
    day_of_bars,
    part_path,
    put,
    store_a_row,
)


@pytest.mark.requirement("F6.1")
def test_scan_has_schema_columns_then_exchange_and_market(lake: Lakehouse) -> None:
    frame = lake.scan("gold.bars_1h").collect()
    assert frame.columns == [*schema_of("gold", "bars_1h").column_names, "exchange", "market"]
    assert frame.height == 3 * 48 + 24
    assert frame.schema["open_time"] == pl.Datetime("us", "UTC")


@pytest.mark.requirement("F6.1")
@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        ("2024-01-02", "2024-01-03", 24),
        (date(2024, 1, 2), date(2024, 1, 3), 24),
        (datetime(2024, 1, 2, 6), "2024-01-02T08:00", 2),
        ("2024-01-02T00:00Z", datetime(2024, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), 1),
        ("2024-01-02T23:00:00.000001", None, 24),
        (None, "2024-01-01T00:00:00.000001", 1),
        ("2024-01-02", "2024-01-02T00:00:00.000001", 1),
    ],
)
def test_start_is_inclusive_end_exclusive_and_naive_is_utc(lake: Lakehouse, start: str, end: str, hours: int) -> None:
    frame = lake.scan("gold.bars_1h", market="um", symbols="BTCUSDT", start=start, end=end).collect()
    assert frame.height == hours


@pytest.mark.requirement("F6.1")
@pytest.mark.parametrize("limit", [None, 100])
def test_a_row_beside_the_day_of_its_file_is_read_by_its_time(tmp_path: Path, limit: int | None) -> None:
    rows = klines(["BTCUSDT"], DAYS[0], 1440).with_columns(pl.col("open_time") + timedelta(minutes=30))
    put(rows, part_path(tmp_path, "um", f"{DAYS[0]}", "silver/klines_1m"))
    days = {"market": "um", "start": DAYS[0], "end": DAYS[1]}
    read = Lakehouse(tmp_path).read("silver.klines_1m", **days, limit=limit, format="polars")
    assert read.height == (limit or 1410)
    assert read["open_time"].max() < datetime.combine(DAYS[1], time(), UTC)


@pytest.mark.requirement("F6.1")
def test_partition_column_on_request(lake: Lakehouse) -> None:
    frame = lake.scan("gold.bars_1h", market=["spot", "um"], columns=["date", "market"]).unique().collect()
    assert frame.schema == {"date": pl.Date, "market": pl.String}
    assert set(frame.rows()) == {*((day, "um") for day in DAYS), (DAYS[0], "spot")}


@pytest.mark.requirement("F6.1", "P1")
def test_only_files_of_the_range_and_market_are_opened(lake: Lakehouse, root: Path) -> None:
    for market, day in (("um", DAYS[0]), ("um", DAYS[2]), ("spot", DAYS[0])):
        part_path(root, market, f"{day}").write_bytes(b"not parquet")
    asked = {"market": "um", "start": "2024-01-02", "end": "2024-01-03"}
    assert lake.scan("gold.bars_1h", **asked).collect().height == 48
    assert len(lake.read("gold.bars_1h", **asked)) == 48
    # DuckDB takes the columns from the table's first file, whatever the condition: that one must be whole.
    put(day_of_bars(DAYS[0], ["BTCUSDT"]), part_path(root, "spot", f"{DAYS[0]}"))
    condition = "market = 'um' AND date = DATE '2024-01-02'"
    counted = lake.sql(f"SELECT count(open) AS n FROM gold.bars_1h WHERE {condition}", format="polars")
    assert counted.item() == 48


@pytest.mark.requirement("P1")
def test_plan_reads_asked_columns_and_pushes_filters_down(lake: Lakehouse) -> None:
    plan = lake.scan(
        "gold.bars_1h",
        market="um",
        symbols="BTCUSDT",
        start="2024-01-02",
        end="2024-01-03",
        columns=["symbol", "close"],
    ).explain()
    assert "date=2024-01-02" in plan
    assert "date=2024-01-01" not in plan
    assert "SELECTION" in plan
    assert "FILTER" not in plan
    # Asked: symbol and close; open_time is read for the filter.
    assert "PROJECT 3/" in plan


@pytest.mark.requirement("P1")
def test_only_row_groups_of_the_symbols_are_read(lake: Lakehouse, root: Path) -> None:
    path = part_path(root, "um", "2024-01-05")
    path.parent.mkdir(parents=True)
    day_of_bars(date(2024, 1, 5), ["AAAUSDT", "BTCUSDT"]).write_parquet(path, row_group_size=24)
    first = pq.ParquetFile(path).metadata.row_group(0)
    chunks = [first.column(i) for i in range(first.num_columns)]
    begin = min(chunk.dictionary_page_offset or chunk.data_page_offset for chunk in chunks)
    data = bytearray(path.read_bytes())
    data[begin : begin + 400] = b"x" * 400
    path.write_bytes(data)
    asked = {"market": "um", "start": "2024-01-05", "columns": ["symbol", "open"]}
    assert lake.scan("gold.bars_1h", symbols="BTCUSDT", **asked).collect().height == 24
    with pytest.raises((pl.exceptions.PolarsError, OSError)):
        lake.scan("gold.bars_1h", symbols="AAAUSDT", **asked).collect()


@pytest.mark.requirement("F6.1")
@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"table": "gold.nothing"}, KeyError, r"bars_\*"),
        ({"table": "bars_1h"}, KeyError, "gold.bars_1h"),
        ({"table": "gold.bars_1h", "market": "../um"}, KeyError, "spot"),
        ({"table": "gold.bars_1h", "exchange": "nyse"}, KeyError, "binance"),
        ({"table": "gold.bars_1h", "columns": ["price"]}, KeyError, "close"),
        ({"table": "gold.bars_1h", "columns": "close"}, ValueError, "list"),
        ({"table": "gold.bars_1h", "symbols": "../BTC"}, ValueError, "symbol"),
        ({"table": "gold.bars_1h", "symbols": [1]}, ValueError, "text"),
        ({"table": "gold.bars_1h", "start": "yesterday"}, ValueError, "ISO 8601"),
        ({"table": "gold.bars_1h", "start": 20240101}, ValueError, "datetime"),
        ({"table": "gold.bars_1h", "start": "2024-02-01", "end": "2024-01-01"}, ValueError, "before"),
    ],
)
def test_mistakes_are_explained(
    lake: Lakehouse, arguments: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        lake.scan(**arguments)


@pytest.mark.requirement("F6.1", "F6.2", "F6.6", "F6.7")
@pytest.mark.parametrize(
    ("ask", "error", "says"),
    [
        (lambda lake: lake.bars("A", "1h", market="um", offset=5), TypeError, "offset must be text .* '5m' .* not 5"),
        (lambda lake: lake.bars("A", "1h", market="um", offset=timedelta(minutes=5)), TypeError, "offset must be text"),
        (lambda lake: lake.bars("A", 5, market="um"), TypeError, "bars must be text .* '1h' .* not 5"),
        (
            lambda lake: lake.bars("A", "1h"),
            ValueError,
            "lake.bars reads one market: pass market='um', for example; the markets are spot, um, cm",
        ),
        (lambda lake: lake.bars("A", "1h", market=["um"]), TypeError, "one market, such as 'um', not .'um'"),
        (lambda lake: lake.universe(["um"], on="2024-01-01"), TypeError, "one market, such as 'um'"),
        (lambda lake: lake.universe("um", on=pd.NaT), ValueError, "on is NaT, which is not a time"),
        (lambda lake: lake.bars("A", "1h", market="um", start=pd.NaT), ValueError, "start is NaT, which is not a time"),
        (lambda lake: lake.read("gold.bars_1h", end=pd.NaT), ValueError, "end is NaT, which is not a time"),
        (lambda lake: lake.read("gold.bars_1h", market=5), TypeError, "market must be text or a list of texts, not 5"),
        (
            lambda lake: lake.read("gold.bars_1h", symbols=5),
            TypeError,
            "symbols must be text or a list of texts",
        ),
        (lambda lake: lake.read("gold.bars_1h", columns=5), TypeError, "columns must be a list of names, not 5"),
        (lambda lake: lake.read(5), TypeError, "table must be text .* 'gold.bars_1h', not 5"),
    ],
)
def test_arguments_of_a_wrong_type_are_rejected_with_a_clear_error(
    lake: Lakehouse, ask: Callable[[Lakehouse], object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        ask(lake)


@pytest.mark.requirement("F6.1", "F6.2")
def test_valid_table_without_data_is_an_empty_frame(lake: Lakehouse) -> None:
    with pytest.warns(UserWarning, match="has no partitions"):
        frame = lake.scan("silver.klines_1m", market="um", start="2024-01-01").collect()
    assert frame.is_empty()
    assert frame.columns[-2:] == ["exchange", "market"]
    with pytest.warns(UserWarning, match="has no partition"):
        assert frame.schema == lake.read("silver.klines_1m", market="um", format="polars").schema
    with pytest.warns(UserWarning, match="has no partitions, so the query reads no rows of it"):
        assert lake.sql("SELECT * FROM silver.klines_1m", format="polars").is_empty()


@pytest.mark.requirement("F6.2")
def test_read_is_sorted_in_each_format(lake: Lakehouse) -> None:
    polars = lake.read("gold.bars_1h", format="polars")
    assert polars.equals(polars.sort("market", "symbol", "open_time"))
    pandas = lake.read("gold.bars_1h")
    assert str(pandas["open_time"].dt.tz) == "UTC"
    arrow = lake.read("gold.bars_1h", format="arrow", columns=["close", "market"])
    assert isinstance(arrow, pa.Table)
    assert arrow.column_names == ["close", "market"]
    assert arrow.num_rows == len(pandas) == polars.height
    with pytest.raises(ValueError, match="polars"):
        lake.read("gold.bars_1h", format="csv")


@pytest.mark.requirement("F6.2")
def test_absent_symbols_are_named(lake: Lakehouse) -> None:
    with pytest.warns(UserWarning, match="for: NOSUCHCOIN. Its partitions are from 2024-01-01 to 2024-01-03"):
        frame = lake.read("gold.bars_1h", market="um", symbols=["BTCUSDT", "NOSUCHCOIN"], columns=["close"])
    assert list(frame.columns) == ["close"]
    assert len(frame) == 72


@pytest.mark.requirement("F6.2", "F1.4")
def test_symbols_in_another_spelling_lead_to_the_right_ones(lake: Lakehouse) -> None:
    said = r"for: ETH-USDT \(did you mean ETHUSDT\?\), btcusdt \(did you mean BTCUSDT\?\)"
    with pytest.warns(UserWarning, match=said):
        assert lake.read("gold.bars_1h", market="um", symbols=["btcusdt", "ETH-USDT"]).empty


@pytest.mark.requirement("F6.1", "F1.4")
def test_a_column_in_another_name_leads_to_the_right_ones(lake: Lakehouse) -> None:
    with pytest.raises(KeyError, match=r"no column 'volume'; did you mean (base|quote)_volume .*columns are symbol"):
        lake.read("gold.bars_1h", market="um", columns=["symbol", "volume"])


@pytest.mark.requirement("F6.1")
def test_states_of_a_day_are_all_of_its_partition(lake: Lakehouse, root: Path) -> None:
    empty = pl.DataFrame(schema_of("gold", "symbol_states").arrow.empty_table())
    quiet = {"symbol": ["QUIETUSDT"], "last_time": [datetime(2023, 5, 1, tzinfo=UTC)]}
    for day in DAYS:
        states = pl.DataFrame(quiet, schema_overrides={"last_time": empty.schema["last_time"]})
        put(pl.concat([empty, states], how="diagonal"), part_path(root, "um", f"{day}", "gold/symbol_states"))
    asked = {"market": "um", "start": DAYS[1], "end": DAYS[2], "columns": ["symbol", "date"]}
    expected = [("QUIETUSDT", DAYS[1])]
    assert lake.read("gold.symbol_states", format="polars", **asked).rows() == expected
    assert lake.scan("gold.symbol_states", **asked).collect().rows() == expected


@pytest.mark.requirement("F6.2")
def test_a_missing_table_is_named(lake: Lakehouse) -> None:
    with pytest.warns(UserWarning, match=r"gold\.bars_4h of binance/spot, um, .* no partition") as caught:
        assert lake.read("gold.bars_4h").empty
    assert len(caught) == 1
    assert Path(caught[0].filename) == Path(__file__)
    # A market that was named is missed, not one of all.
    with pytest.warns(UserWarning, match=r"gold\.bars_1h of binance/cm in .* has no partition"):
        assert len(lake.read("gold.bars_1h", market=["spot", "cm"])) == 24
    # With a range, the warning has the whole command.
    with pytest.warns(UserWarning, match="no partitions") as caught:
        lake.read("silver.funding_rates", market="um", start="2024-01-15", end="2024-03-01")
    (command,) = recommended(str(caught[0].message))
    arguments = parsed(command)
    assert (arguments["market"], arguments["table"]) == ("um", "funding_rates")
    assert (arguments["first"], arguments["last"]) == (date(2024, 1, 1), date(2024, 2, 29))
    with pytest.warns(UserWarning, match="backfill --market um --table trades --days 30$"):
        lake.read("silver.trades", market="um")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(lake.read("gold.bars_1h")) == 3 * 48 + 24


@pytest.mark.requirement("F6.2")
def test_missing_days_are_named(lake: Lakehouse, root: Path) -> None:
    for day in range(4, 31):
        put(day_of_bars(date(2024, 1, day), ["BTCUSDT"]), part_path(root, "um", f"2024-01-{day:02}"))
    for day in (2, 12):
        part_path(root, "um", f"2024-01-{day:02}").unlink()
    with pytest.warns(
        UserWarning, match=r"gold\.bars_1h of binance/um in .* has no partition for 2024-01-02, 2024-01-12: "
    ) as caught:
        lake.read("gold.bars_1h", start="2024-01-01")
    assert len(caught) == 1
    assert Path(caught[0].filename) == Path(__file__)
    (command,) = recommended(str(caught[0].message))
    arguments = parsed(command)
    assert (arguments["first"], arguments["last"]) == (date(2024, 1, 2), date(2024, 1, 12))
    # A day at the edge of the range, between days outside of it.
    with pytest.warns(UserWarning, match="no partition for 2024-01-12: "):
        lake.read("gold.bars_1h", market="um", start="2024-01-11", end="2024-01-12T01:00")
    for day in range(4, 30):
        part_path(root, "um", f"2024-01-{day:02}").unlink(missing_ok=True)
    with pytest.warns(UserWarning, match="2024-01-12, 2024-01-13 and 16 more: "):
        lake.read("gold.bars_1h", market="um", start="2024-01-03")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lake.read("gold.bars_1h", market="um", start="2024-01-30")


@pytest.mark.requirement("F6.2", "F5.7")
def test_days_that_a_feed_does_not_cover_do_not_count_as_missing(tmp_path: Path) -> None:
    empty = pl.DataFrame(schema_of("silver", "book_ticker").arrow.empty_table())
    for day in ("2024-03-29", "2024-04-02"):
        put(empty, part_path(tmp_path, "um", day, "silver/book_ticker"))
    with pytest.warns(UserWarning, match="no partition for 2024-03-30: "):
        Lakehouse(tmp_path).read("silver.book_ticker", market="um")


@pytest.mark.requirement("F6.2")
def test_bronze_range_means_partitions_and_monthly_tables_have_month(lake: Lakehouse, root: Path) -> None:
    raw = pl.DataFrame(schema_of("bronze", "klines_1m").arrow.empty_table())
    rows = pl.concat([raw, pl.DataFrame({"symbol": ["BTCUSDT"], "open_time": [1]})], how="diagonal")
    put(rows, part_path(root, "um", "2024-01-02", "bronze/klines_1m"))
    assert len(lake.read("bronze.klines_1m", start="2024-01-02T12:00", end="2024-01-02T13:00")) == 1
    with pytest.warns(UserWarning, match="partitions from 2024-01-02 to 2024-01-02, and no rows from 2024-01-03"):
        assert len(lake.read("bronze.klines_1m", start="2024-01-03")) == 0

    funding = pl.DataFrame(schema_of("silver", "funding_rates").arrow.empty_table())
    event = {"symbol": ["BTCUSDT"], "funding_time": [datetime(2024, 1, 31, 8, tzinfo=UTC)]}
    event_frame = pl.DataFrame(event, schema_overrides={"funding_time": pl.Datetime("us", "UTC")})
    put(
        pl.concat([funding, event_frame], how="diagonal"),
        part_path(root, "um", "2024-01", "silver/funding_rates", "month"),
    )
    frame = lake.read("silver.funding_rates", start="2024-01-31", columns=["month"], format="polars")
    assert frame.rows() == [("2024-01",)]
    assert lake.sql("SELECT month FROM silver.funding_rates", format="polars").rows() == [("2024-01",)]


@pytest.mark.requirement("F6.2", "F6.4")
def test_a_date_in_the_files_gives_way_to_the_date_of_the_partition(lake: Lakehouse, root: Path) -> None:
    # Option summaries say their day in each row, too.
    row = {"symbol": ["BTC-1"], "date": ["2024-01-02"], "hour": [3]}
    empty = pl.DataFrame(schema_of("bronze", "option_summaries").arrow.empty_table())
    rows = pl.concat([empty, pl.DataFrame(row)], how="diagonal")
    put(rows, part_path(root, "option", "2024-01-02", "bronze/option_summaries"))
    frame = lake.read("bronze.option_summaries", format="polars")
    assert frame.columns == [*schema_of("bronze", "option_summaries").column_names, "exchange", "market"]
    assert frame.select("symbol", "date", "hour").rows() == [("BTC-1", DAYS[1], 3)]
    assert lake.describe("bronze.option_summaries").filter(column="date")["type"].to_list() == ["date32[day]"]


@pytest.mark.requirement("F6.2", "F6.3")
def test_logs_of_daily_and_monthly_feeds_are_one_table(lake: Lakehouse, root: Path) -> None:
    empty = pl.DataFrame(schema_of("ledger", "files").arrow.empty_table())
    for feed, column, key in (("klines_1m", "date", "2024-01-02"), ("funding_rates", "month", "2024-01")):
        row = pl.DataFrame({"table": [feed], "key": [f"{feed}.zip"], "period": [key]})
        folder = root / f"ledger/files/exchange=binance/market=um/feed={feed}/{column}={key}"
        put(pl.concat([empty, row], how="diagonal"), folder / "abc.parquet")
    frame = lake.read("ledger.files", start="2024-01-03", columns=["table", "market"], format="polars")
    assert frame.rows() == [("funding_rates", "um")]
    assert len(lake.read("ledger.files")) == 2
    query = 'SELECT "table", market FROM ledger.files ORDER BY ALL'
    assert lake.sql(query, format="polars").rows() == [("funding_rates", "um"), ("klines_1m", "um")]


@pytest.mark.requirement("F6.4")
def test_tables_and_describe(lake: Lakehouse) -> None:
    tables = lake.tables()
    assert tables.drop("bytes").sort("market").rows() == [
        ("gold", "bars_1h", "binance", "spot", 1, "2024-01-01", "2024-01-01"),
        ("gold", "bars_1h", "binance", "um", 3, "2024-01-01", "2024-01-03"),
    ]
    assert tables["bytes"].min() > 0
    described = lake.describe("gold.bars_1h")
    assert described.columns == ["column", "type", "unit", "key", "nullable", "doc"]
    assert described["column"].to_list()[-3:] == ["exchange", "market", "date"]
    assert described.filter(column="open_time").row(0)[1:5] == ("timestamp[us, tz=UTC]", "UTC", True, False)
    assert described.filter(pl.col("key"))["column"].to_list() == ["symbol", "segment", "offset", "open_time"]


@pytest.mark.requirement("F7.4")
def test_status_lists_stored_tables_and_bronze_known_only_to_the_ledger(root: Path) -> None:
    put(day_of_bars(DAYS[0], ["BTCUSDT"]), part_path(root, "um", f"{DAYS[0]}", "gold/bars_1h_by_5m"))
    put(day_of_bars(DAYS[2], ["BTCUSDT"]), part_path(root, "um", f"{DAYS[2]}", "gold/bars_1h_by_5m"))
    empty = pl.DataFrame(schema_of("ledger", "files").arrow.empty_table())
    put(empty, root / "ledger/files/exchange=binance/market=um/feed=klines_1m/date=2024-01-01/abc.parquet")
    store = LakeStore.open(str(root))
    found = [(one.layer, one.table, one.market, one.partitions, one.holes) for one in lake_status(store)]
    assert found == [
        ("bronze", "klines_1m", "um", 0, []),
        ("gold", "bars_1h", "spot", 1, []),
        ("gold", "bars_1h", "um", 3, []),
        ("gold", "bars_1h_by_5m", "um", 2, ["2024-01-02"]),
    ]
    for name in ("bars_1h_by_5m", "gold.bars_1h_by_5m"):
        assert [one.table for one in lake_status(store, name)] == ["bars_1h_by_5m"]
    for unknown, there in (
        ("nothing", r"klines_\*"),
        ("silver.bars_1h", "gold.bars_1h"),
        ("ledger.files", r"klines_\*"),
    ):
        with pytest.raises(KeyError, match=there):
            lake_status(store, unknown)


@pytest.mark.requirement("F7.4", "F5.7")
def test_dates_that_a_feed_does_not_cover_are_not_holes(tmp_path: Path) -> None:
    empty = pl.DataFrame(schema_of("silver", "book_ticker").arrow.empty_table())
    for market in ("um", "cm"):
        for day in ("2024-03-29", "2024-04-02"):
            put(empty, tmp_path / f"silver/book_ticker/exchange=binance/market={market}/date={day}/part-0.parquet")
    holes = {one.market: one.holes for one in lake_status(LakeStore.open(str(tmp_path)))}
    # On USD-M it ended with 2024-03-30, on COIN-M half a year later.
    assert holes == {"um": ["2024-03-30"], "cm": ["2024-03-30", "2024-03-31", "2024-04-01"]}


@pytest.mark.requirement("F6.4")
def test_place_is_from_the_environment_and_shown(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(root))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    lake = Lakehouse()
    assert "lake" in repr(lake)
    assert "hush" not in repr(lake)
    assert lake.tables().height == 2


@pytest.mark.requirement("F6.4")
@pytest.mark.parametrize(("variable", "region"), [("eu-west-1", "eu-west-1"), ("", "us-east-1")])
def test_region_is_from_the_environment(monkeypatch: pytest.MonkeyPatch, variable: str, region: str) -> None:
    monkeypatch.setenv("LAKEHOUSE_S3_REGION", variable)
    assert Lakehouse("s3://bucket/lake")._store.s3_region == region


@pytest.mark.requirement("F1.2", "T5")
def test_scans_of_s3_take_credentials_and_session_tokens_when_they_read(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.headers["authorization"], self.headers["x-amz-security-token"]))
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = LakeStore.open("s3://bucket/lake", f"http://127.0.0.1:{server.server_port}", "eu-west-1")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.setenv(name, "outdated")
        pickled = pickle.dumps(scan(store, schema_of("silver", "klines_1m"), ["silver/a.parquet"]))
        assert b"outdated" not in pickled
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fresh-id")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "fresh-token")
        with pytest.raises(OSError):
            pickle.loads(pickled).collect()
        server.shutdown()
    authorization, token = seen[-1]
    assert "Credential=fresh-id/" in authorization
    assert "/eu-west-1/s3/" in authorization
    assert token == "fresh-token"


@pytest.mark.requirement("T6")
def test_import_is_light(root: Path) -> None:
    code = (
        f"import sys, crypto_lakehouse; crypto_lakehouse.Lakehouse({str(root)!r}).tables();"
        "print([m for m in ('dagster', 'pandas', 'duckdb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.requirement("F4.2", "F6.1")
def test_it_is_unknown_whether_a_row_is_after_the_end_where_no_states_say_it(tmp_path: Path) -> None:
    store = LakeStore.open(str(tmp_path))
    store_a_row(store, "silver", "funding_rates", "um")
    rows = Lakehouse(tmp_path).scan("silver.funding_rates", market="um", columns=["symbol", "is_after_end"]).collect()
    assert rows.rows() == [("um", None)]
