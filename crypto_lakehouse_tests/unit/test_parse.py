"""CSV to typed rows: written rows are read back, and invalid lines are rejected with their line number."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_lakehouse.catalog import FieldType, FileFormat
from crypto_lakehouse.catalog.binance_files import BOOK_DEPTH, EOH_SUMMARY, FUNDING_RATE, KLINES, METRICS
from crypto_lakehouse.transforms.parse import UnusableFile, parse_blocks, parse_csv

pytestmark = pytest.mark.requirement("F3.1")

GOOD = "1577836800000,7195.24,7196.25,7183.14,7186.68,51.642812,1577836859999,371233.51835535,493,19.5,140000.5,0"
ROW = (
    1577836800000,
    7195.24,
    7196.25,
    7183.14,
    7186.68,
    51.642812,
    1577836859999,
    371233.51835535,
    493,
    19.5,
    140000.5,
)
HEADER = ",".join(KLINES.column_names)
SPELT_HEADER = (
    "Open time,Open,High,Low,Close,Volume,Close time,Quote asset volume,Number of trades,"
    "Taker buy base asset volume,Taker buy quote asset volume,Ignore"
)
SCALES = {"ms": 1, "us": 1_000, "ns": 1_000_000}


def changed(column: str, text: str) -> str:
    fields = GOOD.split(",")
    fields[KLINES.column_names.index(column)] = text
    return ",".join(fields)


@st.composite
def files(draw: st.DrawFn) -> tuple[FileFormat, list[list[int | float | str]], str, str]:
    file_format = draw(st.sampled_from([KLINES, FUNDING_RATE]))
    scale = SCALES[draw(st.sampled_from(sorted(SCALES)))]
    rows = []
    for _ in range(draw(st.integers(1, 8))):
        row: list[int | float | str] = []
        for column in file_format.columns:
            if column.name in file_format.time_columns:
                row.append(draw(st.integers(10**12, 9 * 10**12)) * scale)
            elif column.type is FieldType.INT64:
                row.append(draw(st.integers(-(2**63) + 1, 2**63 - 1)))
            elif column.type is FieldType.FLOAT64:
                row.append(draw(st.floats(allow_nan=False, allow_infinity=False)))
            else:
                row.append(draw(st.sampled_from(["0", "", "12.5", "abc"])))
        rows.append(row)
    headers = ["", ",".join(file_format.column_names), ",".join(file_format.column_names).upper().replace("_", " ")]
    return file_format, rows, draw(st.sampled_from(headers)), draw(st.sampled_from(["\n", "\r\n"]))


@given(files(), st.booleans())
def test_rows_written_are_rows_read(
    file: tuple[FileFormat, list[list[int | float | str]], str, str], blank_line: bool
) -> None:
    file_format, rows, header, newline = file
    # A blank line sends the file down the slow way, which must read the same.
    lines = [*([header] if header else []), *(",".join(map(str, row)) for row in rows)]
    text = newline.join([*lines, ""] if blank_line else lines) + newline
    parsed = parse_csv(text.encode(), file_format)
    first = 2 if header else 1
    assert parsed.rows["source_line"].to_list()[:1] == [1 + bool(header)]
    assert parsed.rejected == []
    assert parsed.rows.columns == [*file_format.column_names, "source_line"]
    assert parsed.rows.rows() == [(*row, line) for line, row in enumerate(rows, start=first)]


@given(st.lists(st.sampled_from(["good", "short", "text", "blank"]), min_size=1, max_size=12), st.booleans())
def test_every_line_is_a_row_or_rejected_or_blank(kinds: list[str], with_header: bool) -> None:
    texts = {"good": GOOD, "short": "1,2", "text": changed("low", "abc"), "blank": ""}
    lines = [HEADER if with_header else GOOD, *(texts[kind] for kind in kinds), GOOD]
    parsed = parse_csv(("\n".join(lines) + "\n").encode(), KLINES)
    numbered = list(enumerate(["good", *kinds, "good"], start=1))[int(with_header) :]
    assert parsed.rows["source_line"].to_list() == [n for n, kind in numbered if kind == "good"]
    assert [(r.line, r.reason) for r in parsed.rejected] == [
        (n, "column_count" if kind == "short" else "not_a_number") for n, kind in numbered if kind in ("short", "text")
    ]
    assert all(row[:11] == ROW for row in parsed.rows.rows())


@pytest.mark.parametrize("header", ["", HEADER, SPELT_HEADER], ids=["none", "names", "spelt"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("tail", ["", "\n\n"], ids=["fast", "slow"])
def test_headers_byte_order_marks_and_line_ends(header: str, bom: bytes, newline: str, tail: str) -> None:
    text = newline.join([*([header] if header else []), GOOD, GOOD, ""]) + tail
    parsed = parse_csv(bom + text.encode(), KLINES)
    first = 2 if header else 1
    assert parsed.rows.rows() == [(*ROW, "0", first), (*ROW, "0", first + 1)]


def test_an_integer_may_be_written_as_a_decimal() -> None:
    parsed = parse_csv((changed("count", "493.0") + "\n" + GOOD + "\n").encode(), KLINES)
    assert parsed.rows["count"].to_list() == [493, 493]
    assert parsed.rejected == []


@pytest.mark.parametrize(
    ("column", "text", "quoted"),
    [
        ("low", "abc", "'abc' is no number"),
        ("low", "", "'' is no number"),
        ("low", "1_0", "'1_0' is no number"),
        ("count", "493.5", "'493.5' is no integer"),
        ("count", "0x1ed", "'0x1ed' is no integer"),
        ("count", "nan", "'nan' is no integer"),
        ("count", "inf", "'inf' is no integer"),
        ("count", "9223372036854775808", "'9223372036854775808' is no integer"),
        ("open_time", "15e99", "'15e99' is no integer"),
    ],
)
def test_a_field_that_is_no_number_rejects_its_line_alone(column: str, text: str, quoted: str) -> None:
    bad = changed(column, text)
    parsed = parse_csv(f"{GOOD}\n{bad}\n{GOOD}\n".encode(), KLINES)
    assert parsed.rows["source_line"].to_list() == [1, 3]
    [rejected] = parsed.rejected
    assert (rejected.line, rejected.reason, rejected.raw) == (2, "not_a_number", bad)
    assert quoted in rejected.detail


def test_the_greatest_integer_fits() -> None:
    parsed = parse_csv(f"{changed('count', str(2**63 - 1))}\n".encode(), KLINES)
    assert parsed.rows["count"].item() == 2**63 - 1


def test_a_line_of_eleven_columns_is_rejected_alone() -> None:
    parsed = parse_csv(f"{GOOD}\n{GOOD[:-2]}\n{GOOD},1\n".encode(), KLINES)
    assert parsed.rows.height == 1
    assert [(r.line, r.reason) for r in parsed.rejected] == [(2, "column_count"), (3, "column_count")]


@pytest.mark.requirement("F3.3")
@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ("1,2,3", "column_count"),
        (f"{GOOD},1", "column_count"),
        (changed("open_time", "abc"), "not_a_number"),
        (changed("open_time", ""), "not_a_number"),
        ("," * 11, "not_a_number"),
        (GOOD.split(",")[0] + ",null" * 11, "not_a_number"),
    ],
)
def test_a_bad_first_line_is_rejected_alone(first: str, reason: str) -> None:
    parsed = parse_csv(f"{first}\n{GOOD}\n{GOOD}\n".encode(), KLINES)
    assert parsed.rows.rows() == [(*ROW, "0", 2), (*ROW, "0", 3)]
    assert [(r.line, r.reason, r.raw) for r in parsed.rejected] == [(1, reason, first)]


@pytest.mark.requirement("F3.3")
def test_a_stray_carriage_return_rejects_its_line_alone() -> None:
    broken = GOOD[:20] + "\r" + GOOD[20:]
    parsed = parse_csv(f"{GOOD}\n{broken}\n{GOOD}\n".encode(), KLINES)
    assert parsed.rows["source_line"].to_list() == [1, 3]
    assert [(r.line, r.reason) for r in parsed.rejected] == [(2, "bad_csv")]


@pytest.mark.requirement("F3.3")
@pytest.mark.parametrize("header", ["", f"{HEADER}\n"], ids=["none", "names"])
@pytest.mark.parametrize("last", [GOOD, GOOD[:-3], f"{GOOD},", f"{GOOD}\r", "15778", f'"{GOOD}'])
def test_a_last_line_without_an_end_is_no_row(header: str, last: str) -> None:
    # The last number of a file that was cut is as good as any other, but another.
    parsed = parse_csv(f"{header}{GOOD}\n{last}".encode(), KLINES)
    assert parsed.rows.rows() == [(*ROW, "0", 1 + bool(header))]
    assert [(r.line, r.reason, r.raw) for r in parsed.rejected] == [(2 + bool(header), "cut_off", last.rstrip("\r"))]


@pytest.mark.parametrize("field", ["0x1", "0X1F", "0x"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_an_integer_in_hexadecimal_is_none_wherever_blocks_end(field: str, quote: str) -> None:
    good = f"1775001600000,8,{quote}0.1{quote}\n"
    text = f"{good}1775001600000,{field},0.1\n{good}".encode()
    for size in range(1, len(text) + 1, 7):
        blocks = list(parse_blocks([text], FUNDING_RATE, block_bytes=max(size, len(good))))
        assert [row.reason for block in blocks for row in block.rejected] == ["not_a_number"]
    options = ["2023-05-18", field, *["BTC-230526-25000-C", "BTCUSDT", "C"], *["1"] * 21]
    parsed = parse_csv(f"{','.join(options)}\n{','.join(options).replace(field, '7')}\n".encode(), EOH_SUMMARY)
    assert [(row.line, row.reason) for row in parsed.rejected] == [(1, "not_a_number")]


def test_bytes_that_are_no_utf8_do_not_stop_the_file() -> None:
    parsed = parse_csv(GOOD.encode() + b"\n" + changed("low", "X").encode().replace(b"X", b"\xff\xfe") + b"\n", KLINES)
    assert parsed.rows.height == 1
    assert [r.reason for r in parsed.rejected] == ["not_a_number"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_file"),
        (b"\n\r\n", "empty_file"),
        (b"\xef\xbb\xbf", "empty_file"),
        (HEADER.encode(), "header_only"),
        (HEADER.encode() + b"\r\n\n", "header_only"),
        (GOOD[:-2].encode(), "column_count"),
        (f"{GOOD[:-2]}\n{GOOD[:-2]}\n\n".encode(), "column_count"),
        (f"{HEADER},more\n{GOOD},1\n".encode(), "column_count"),
        (b"<html>404</html>", "column_count"),
        (HEADER.replace("high", "low", 1).encode() + b"\n" + GOOD.encode(), "unexpected_header"),
    ],
)
def test_an_unusable_file_reports_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(UnusableFile, match=f"^{reason}: ") as caught:
        parse_csv(data, KLINES)
    assert caught.value.reason == reason
    assert caught.value.detail


@given(st.data())
def test_blocks_equal_the_whole_file(data: st.DataObject) -> None:
    good = "1577836800000,7195.24,7196.25,7183.14,7186.68,51.64,1577836859999,371233.5,493,19.5,140000.5,0"
    kinds = {"good": good, "short": "1,2,3", "text": good.replace("493", "many"), "blank": "", "crlf": good + "\r"}
    lines = data.draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=30))
    header = data.draw(st.sampled_from([[], [",".join(KLINES.column_names)]]))
    # A good first line, as a file without one is refused as a whole from its first block.
    text = "\n".join([*header, good, *(kinds[line] for line in lines)]) + data.draw(st.sampled_from(["", "\n"]))
    content = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=8)))
    chunks = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    whole = parse_csv(content, KLINES)
    blocks = list(parse_blocks(chunks, KLINES, block_bytes=data.draw(st.integers(300, 3000))))
    assert pl.concat([block.rows for block in blocks]).equals(whole.rows)
    assert [row for block in blocks for row in block.rejected] == whole.rejected


def test_a_blank_is_null_only_where_the_format_allows_one() -> None:
    text = b'"2023-05-01 00:05:00","BTCUSDT",12.5,,"",0E-8,1.5,2\n2023-05-01 00:10:00,BTCUSDT,1,2,3,4,5,6\n'
    parsed = parse_csv(text, METRICS)
    assert parsed.rejected == []
    assert parsed.rows.row(0) == ("2023-05-01 00:05:00", "BTCUSDT", 12.5, None, None, 0.0, 1.5, 2.0, 1)
    # The slow way, which a bad line brings about, reads the same.
    slow = parse_csv(text + b"x\n", METRICS)
    assert slow.rows.equals(parsed.rows)
    assert [(row.line, row.reason) for row in slow.rejected] == [(3, "column_count")]
    depth = parse_csv(b"2023-05-01 00:00:04,-5,,1\n2023-05-01 00:00:04,-4,2,1\n", BOOK_DEPTH)
    assert [row.reason for row in depth.rejected] == ["not_a_number"]
    assert depth.rows["source_line"].to_list() == [2]


def test_a_line_without_an_end_costs_bounded_memory_and_one_row() -> None:
    good = "1577836800000,1,2,1,2,1,1577836859999,1,1,1,1,0\n"
    endless = ["9" * 500] * 10
    blocks = list(parse_blocks([part.encode() for part in (good, *endless, "\n", good)], KLINES, block_bytes=1000))
    assert sum(block.rows.height for block in blocks) == 2
    assert {row.reason for block in blocks for row in block.rejected} == {"column_count", "cut_off"}
    assert max(len(row.raw) for block in blocks for row in block.rejected) <= 4000
