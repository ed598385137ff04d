"""Digits of other scripts, which Python reads as numbers: rejected in files, names, settings and command lines."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from crypto_lakehouse.catalog import Cadence, feed, parse_date, parse_partition
from crypto_lakehouse.catalog.bars import bars_of_table, parse_bars, parse_offset
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.cli import app
from crypto_lakehouse.lake.reader.lakehouse import Lakehouse
from crypto_lakehouse.settings import Settings, SettingsError
from crypto_lakehouse.transforms.parse import parse_csv

KLINES = feed("binance", "um", "klines_1m").file_format
METRICS = feed("binance", "um", "open_interest").file_format
MINUTE = "1704067200000,1.5,2.5,0.5,1.5,10,1704067259999,15,7,5,7.5,0"
METRIC = "2024-01-02 00:05:00,BTCUSDT,1.5,2.5,1,1,1,1"
FULL_WIDTH, ARABIC = str.maketrans("0123456789", "０１２３４５６７８９"), str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")


def other_digits(line: str, field: int, digits: dict[int, int]) -> str:
    fields = line.split(",")
    fields[field] = fields[field].translate(digits)
    return ",".join(fields)


@pytest.mark.requirement("F3.1", "F3.3")
@pytest.mark.parametrize("digits", [FULL_WIDTH, ARABIC], ids=["full-width", "Arabic-Indic"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["for Polars", "for Arrow"])
@pytest.mark.parametrize("field", [0, 1, 8], ids=["time", "price", "count"])
def test_a_row_with_digits_of_another_script_is_refused_and_the_others_stay(
    digits: dict[int, int], end: str, field: int
) -> None:
    lines = [MINUTE, other_digits(MINUTE, field, digits), MINUTE]
    parsed = parse_csv("".join(line + end for line in lines).encode(), KLINES)
    assert parsed.rows["source_line"].to_list() == [1, 3]
    assert [(row.line, row.reason) for row in parsed.rejected] == [(2, "not_a_number")]
    assert "digits are 0 to 9" in parsed.rejected[0].detail


@pytest.mark.requirement("F3.1", "F3.3")
def test_a_first_row_in_another_script_is_a_refused_row_and_no_header() -> None:
    strange = ",".join(other_digits(MINUTE, 0, FULL_WIDTH).translate(FULL_WIDTH).split(","))
    parsed = parse_csv(f"{strange}\n{MINUTE}\n".encode(), KLINES)
    assert parsed.rows["source_line"].to_list() == [2]
    assert [(row.line, row.reason) for row in parsed.rejected] == [(1, "not_a_number")]


@pytest.mark.requirement("F3.1", "F3.3")
def test_a_file_that_may_have_blank_fields_refuses_them_too() -> None:
    fields = len(METRICS.columns)
    line = ",".join(METRIC.split(",")[:fields])
    parsed = parse_csv(f"{line}\n{other_digits(line, 2, ARABIC)}\n".encode(), METRICS)
    assert parsed.rows["source_line"].to_list() == [1]
    assert [(row.line, row.reason) for row in parsed.rejected] == [(2, "not_a_number")]


@pytest.mark.requirement("F3.1", "F3.3")
@pytest.mark.parametrize("blank", ["\u3000", "\u00a0", "\u2003"])
def test_blanks_of_other_scripts_are_no_blanks(blank: str) -> None:
    parsed = parse_csv(f"{MINUTE}\n{blank}{MINUTE}\n".encode(), KLINES)
    assert parsed.rows["source_line"].to_list() == [1]


@pytest.mark.requirement("T7")
@pytest.mark.parametrize("digits", [FULL_WIDTH, ARABIC], ids=["full-width", "Arabic-Indic"])
@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_date, "2024-01-31"),
        (lambda text: parse_partition(text, Cadence.MONTHLY), "2024-01"),
        (lambda text: parse_partition(text, Cadence.DAILY), "2024-01-31"),
        (parse_bars, "1h:15m"),
        (parse_bars, "4h"),
        (parse_bars, "dollar:1000000"),
        (parse_offset, "15m"),
        (SymbolFilter.parse, "1INCHUSDT"),
        (SymbolFilter.parse, "!1INCH*"),
    ],
)
def test_names_with_digits_of_another_script_are_refused(
    digits: dict[int, int], parse: Callable[[str], object], text: str
) -> None:
    parse(text)
    with pytest.raises(ValueError, match=r"digits|date|month|bars|offset"):
        parse(text.translate(digits))


@pytest.mark.requirement("T7")
def test_a_table_of_bars_has_the_digits_0_to_9() -> None:
    assert bars_of_table("bars_dollar_1000000") is not None
    assert bars_of_table("bars_dollar_1000000".translate(ARABIC)) is None
    assert bars_of_table("bars_1h_by_5m".translate(FULL_WIDTH)) is None


@pytest.mark.requirement("T7")
def test_letters_of_other_scripts_in_a_symbol_stay() -> None:
    assert SymbolFilter.parse("币安人生USDT").wanted == ("币安人生USDT",)


@pytest.mark.requirement("F1.1")
@pytest.mark.parametrize("text", ["３", "٣", "1_0"])
@pytest.mark.parametrize("name", ["RETRIES", "CONCURRENCY", "GAP_DAYS", "STALL_TIMEOUT"])
def test_a_setting_in_digits_of_another_script_is_named(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"LAKEHOUSE_{name}", text)
    with pytest.raises(SettingsError, match=f"LAKEHOUSE_{name}"):
        Settings.load()


@pytest.mark.requirement("T7")
@pytest.mark.parametrize("text", ["３", "٣", "1_0"])
@pytest.mark.parametrize(
    "command",
    [
        ("archive", "sample", "nowhere", "--symbols"),
        ("archive", "sample", "nowhere", "--trades-per-day"),
        ("archive", "serve", "nowhere", "--port"),
        ("export", "legacy", "--out", "x", "--from", "2024-01-01", "--to", "2024-01-01", "--gap-days"),
        ("backfill", "--market", "um", "--table", "klines_1m", "--to", "2024-01-01", "--from"),
        ("compact", "--market", "um", "--from"),
    ],
)
def test_the_command_line_refuses_them_as_wrong_usage(command: tuple[str, ...], text: str) -> None:
    value = {"--from": f"202{text}-01"}.get(command[-1], text)
    done = CliRunner().invoke(app, [*command, value])
    assert done.exit_code == 2, done.output


@pytest.mark.requirement("F6.2")
def test_a_reader_refuses_a_time_in_another_script(tmp_path: object) -> None:
    lake = Lakehouse(str(tmp_path))
    with pytest.raises(ValueError, match="ISO 8601"):
        lake.read("silver.klines_1m", market="um", start="2024-01-01".translate(FULL_WIDTH))
