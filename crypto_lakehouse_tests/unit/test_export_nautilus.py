"""``export nautilus`` without nautilus_trader: names, columns, metadata and numbers of its files.

That the package itself reads them is a test in ``clients/``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.cli.main import app
from crypto_lakehouse.pipeline.export_nautilus import Digits, bars_file, find_digits, find_instrument

pytestmark = pytest.mark.requirement("F7.9")

BARS = "data/bar/BTCUSDT-PERP.BINANCE-1-HOUR-LAST-EXTERNAL"
DEFINITION = "data/crypto_perpetual/BTCUSDT-PERP.BINANCE/" + "_".join(2 * ["1970-01-01T00-00-00-000000000Z"])


@pytest.fixture(autouse=True)
def _lake_of_the_settings(monkeypatch: pytest.MonkeyPatch, sample_lake: Path) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(sample_lake))


def export(out: Path, *arguments: str, market: str = "um", code: int = 0) -> str:
    """The messages of the command."""
    words = ["export", "nautilus", "--market", market, "--out", str(out), *arguments]
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    return result.stderr


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def numbers(column: pa.ChunkedArray) -> list[Decimal]:
    """The numbers that a column stores as whole numbers of 10**-16."""
    return [Decimal(int.from_bytes(value, "little", signed=True)).scaleb(-16) for value in column.to_pylist()]


def test_a_catalog_has_the_files_that_nautilus_trader_writes(tmp_path: Path) -> None:
    text = export(tmp_path, "--symbols", "BTCUSDT")
    assert text.endswith(f"2 files written to {tmp_path}\n")
    times = "2024-12-30T01-00-00-000000000Z_2025-01-02T00-00-00-000000000Z"
    assert files(tmp_path) == [f"{BARS}/{times}.parquet", f"{DEFINITION}.parquet"]
    schema = pq.read_schema(tmp_path / f"{BARS}/{times}.parquet")
    number, time = pa.binary(16), pa.uint64()
    assert [(field.name, field.type, field.nullable) for field in schema] == [
        *((name, number, False) for name in ("open", "high", "low", "close", "volume")),
        ("ts_event", time, False),
        ("ts_init", time, False),
    ]
    assert {key: value for key, value in schema.metadata.items() if key != b"exported_by"} == {
        b"bar_type": b"BTCUSDT-PERP.BINANCE-1-HOUR-LAST-EXTERNAL",
        b"instrument_id": b"BTCUSDT-PERP.BINANCE",
        b"price_precision": b"1",
        b"size_precision": b"3",
    }
    assert pq.read_schema(tmp_path / f"{DEFINITION}.parquet").metadata[b"class"] == b"CryptoPerpetual"


def test_the_numbers_are_those_of_the_bars_and_the_time_is_the_end_of_the_window(
    tmp_path: Path, sample_lake: Path
) -> None:
    export(tmp_path, "--symbols", "BTCUSDT")
    table = pq.read_table(next((tmp_path / BARS).iterdir()))
    bars: Any = Lakehouse(sample_lake).bars("BTCUSDT", "1h", market="um", format="polars")
    assert table.num_rows == bars.height == 72
    for name in ("open", "high", "low", "close"):
        assert numbers(table[name]) == [Decimal(repr(value)) for value in bars[name]]
    assert numbers(table["volume"]) == [round(Decimal(value), 3) for value in bars["base_volume"]]
    ends = (bars["open_time"] + timedelta(hours=1)).dt.epoch("ns").to_list()
    assert table["ts_event"].to_pylist() == table["ts_init"].to_pylist() == ends


@pytest.mark.parametrize("timeframe", ["1m", "15m", "1d"])
def test_the_digits_of_a_symbol_are_the_same_for_every_timeframe_and_range(
    tmp_path: Path, sample_lake: Path, timeframe: str
) -> None:
    export(tmp_path, "--symbols", "ETHUSDT", "--timeframe", timeframe, "--from", "2024-12-31", "--to", "2024-12-31")
    (path,) = (tmp_path / "data/bar").rglob("*.parquet")
    expected = find_digits(Lakehouse(sample_lake), "um", "ETHUSDT")
    metadata = pq.read_schema(path).metadata
    assert Digits(int(metadata[b"price_precision"]), int(metadata[b"size_precision"])) == expected
    assert pq.read_table(path).num_rows == {"1m": 1440, "15m": 96, "1d": 1}[timeframe]


def test_fees_are_those_that_the_user_named_last(tmp_path: Path) -> None:
    def definition() -> tuple[str, str, str]:
        (row,) = pq.read_table(tmp_path / f"{DEFINITION}.parquet").to_pylist()
        return row["maker_fee"], row["taker_fee"], row["price_increment"]

    export(tmp_path, "--symbols", "BTCUSDT")
    assert definition() == ("0", "0", "0.1")
    export(tmp_path, "--symbols", "BTCUSDT", "--maker-fee", "0.0002", "--taker-fee", "0.0005")
    assert definition() == ("0.0002", "0.0005", "0.1")
    export(tmp_path, "--symbols", "BTCUSDT", "--timeframe", "1d", "--taker-fee", "0.0004")
    assert definition() == ("0.0002", "0.0004", "0.1")


def test_another_export_replaces_the_bars_of_an_earlier_one(tmp_path: Path) -> None:
    export(tmp_path, "--symbols", "BTCUSDT", "--to", "2024-12-30")
    (earlier,) = (tmp_path / BARS).iterdir()
    export(tmp_path, "--symbols", "BTCUSDT")
    (later,) = (tmp_path / BARS).iterdir()
    assert earlier.name != later.name
    assert pq.read_table(later).num_rows == 72


def rewrite(path: Path, name: str, change: Callable[[pa.Table], pa.Table] = lambda table: table) -> Path:
    """Store a file as another program does: without the mark of this one."""
    table = change(pq.read_table(path))
    metadata = {key: value for key, value in table.schema.metadata.items() if key != b"exported_by"}
    path.unlink()
    pq.write_table(table.replace_schema_metadata(metadata), path.with_name(name))
    return path.with_name(name)


def test_bars_of_another_program_stay_and_are_not_doubled(tmp_path: Path) -> None:
    export(tmp_path, "--symbols", "BTCUSDT", "--to", "2024-12-30")
    (written,) = (tmp_path / BARS).iterdir()
    foreign = rewrite(written, written.name)
    text = export(tmp_path, "--symbols", "BTCUSDT", code=2)
    assert f"{foreign} of another program has bars of these days: move it, or choose another --out" in text
    export(tmp_path, "--symbols", "BTCUSDT", "--from", "2024-12-31")
    assert foreign in list((tmp_path / BARS).iterdir())
    assert sum(pq.read_table(path).num_rows for path in (tmp_path / BARS).iterdir()) == 72


def set_digits(price: int) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(
        table.column_names.index("price_precision"), "price_precision", pa.array([price], pa.uint8())
    )


def test_a_definition_of_another_program_stays_and_bars_have_its_digits(tmp_path: Path) -> None:
    export(tmp_path, "--symbols", "BTCUSDT")
    rewrite(tmp_path / f"{DEFINITION}.parquet", "2024_2024.parquet", set_digits(2))
    export(tmp_path, "--symbols", "BTCUSDT")
    assert [path.name for path in (tmp_path / DEFINITION).parent.iterdir()] == ["2024_2024.parquet"]
    (bars,) = (tmp_path / BARS).iterdir()
    assert pq.read_schema(bars).metadata[b"price_precision"] == b"2"


def test_a_definition_of_another_program_with_too_few_digits_is_an_error(tmp_path: Path) -> None:
    export(tmp_path, "--symbols", "BTCUSDT")
    rewrite(tmp_path / f"{DEFINITION}.parquet", "2024_2024.parquet", set_digits(0))
    text = export(tmp_path, "--symbols", "BTCUSDT", code=2)
    assert "has 0 decimals of prices and 3 of sizes, but the bars need 1 and 3: define the instrument" in text


def test_a_broken_file_in_the_catalog_is_named(tmp_path: Path) -> None:
    (tmp_path / BARS).mkdir(parents=True)
    (tmp_path / BARS / "broken.parquet").write_bytes(b"PAR1")
    text = export(tmp_path, "--symbols", "BTCUSDT", code=2)
    assert f"{tmp_path / BARS / 'broken.parquet'} is not a Parquet file" in text
    assert files(tmp_path) == [f"{BARS}/broken.parquet"]


@pytest.mark.parametrize(
    ("market", "symbol", "id"),
    [
        ("spot", "BTCUSDT", "BTCUSDT.BINANCE"),
        ("um", "1000SHIBUSDT", "1000SHIBUSDT-PERP.BINANCE"),
        ("um", "BTCUSDT_241227", None),
        ("um", "ICPUSDT_SETTLED", None),
    ],
)
def test_the_instrument_of_a_symbol(market: str, symbol: str, id: str | None) -> None:
    instrument = find_instrument(market, symbol)
    assert (instrument and instrument.id) == id


def test_small_and_large_numbers_keep_their_digits() -> None:
    instrument = find_instrument("spot", "PEPEUSDT")
    assert instrument is not None
    prices, volumes = [0.00000123, 1234567.12345678, 9999999.99999999], [1e12, 0.0, 0.1 + 0.2]
    end = datetime(2024, 1, 1, tzinfo=UTC)
    rows = pl.DataFrame(
        {"end_time": [end, end, end], "base_volume": volumes, **dict.fromkeys(("open", "high"), prices)}
    )
    rows = rows.with_columns(low="open", close="open", end_time=pl.col("end_time").cast(pl.Datetime("us", "UTC")))
    _, content = bars_file(instrument, "1d", Digits(8, 1), rows)
    table = pq.read_table(pa.BufferReader(content))
    assert numbers(table["close"]) == [Decimal(text) for text in ("0.00000123", "1234567.12345678", "9999999.99999999")]
    assert numbers(table["volume"]) == [Decimal(10**12), Decimal(0), Decimal("0.3")]


@pytest.mark.parametrize(
    ("arguments", "market", "message"),
    [
        (("--timeframe", "60m"), "um", "no timeframe 60m"),
        (("--timeframe", "dollar:1000000"), "um", "no timeframe dollar:1000000"),
        (("--maker-fee", "2%"), "um", "2%"),
        (("--maker-fee", "nan"), "um", "nan is not a number"),
        ((), "cm", "files of nautilus_trader are written for the markets spot and um, not cm"),
    ],
)
def test_mistakes_are_explained(tmp_path: Path, arguments: tuple[str, ...], market: str, message: str) -> None:
    assert message in export(tmp_path / "out", *arguments, market=market, code=2)
    assert files(tmp_path) == []


def test_symbols_without_a_finished_bar_are_named(tmp_path: Path) -> None:
    text = export(tmp_path, "--timeframe", "1mo", "--symbols", "BTCUSDT", "--from", "2025-01-01", code=1)
    assert "nautilus_trader gets no bars for BTCUSDT: not written" in text
