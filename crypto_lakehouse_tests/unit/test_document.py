"""The page of data formats: up to date, complete, and equal to the published description of the archive."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crypto_lakehouse.catalog import EXCHANGES, FEEDS, Cadence
from crypto_lakehouse.catalog.epochs import EPOCHS
from crypto_lakehouse.cli.document import PAGE, PAGES, main
from crypto_lakehouse.cli.document.commands import commands_page
from crypto_lakehouse.cli.document.data_formats import data_formats
from crypto_lakehouse.cli.document.settings import settings_page
from crypto_lakehouse.cli.main import app
from crypto_lakehouse.schemas import silver_schema
from crypto_lakehouse.settings import PREFIX, Settings
from crypto_lakehouse_tests.binance_archive import BINANCE_FEEDS

pytestmark = pytest.mark.requirement("T10")

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT.parent / "shared" / "reference" / "BINANCE_ARCHIVE.md"
TEXT = data_formats()

# What the archive has, by market and cadence, as its description states it.
_SPOT = "klines aggTrades trades"
_UM = f"{_SPOT} indexPriceKlines markPriceKlines premiumIndexKlines bookDepth bookTicker metrics"
_UM_MONTHLY = f"{_SPOT} indexPriceKlines markPriceKlines premiumIndexKlines bookTicker fundingRate"
EXISTS = {
    ("spot", "daily"): _SPOT,
    ("spot", "monthly"): _SPOT,
    ("um", "daily"): _UM,
    ("um", "monthly"): _UM_MONTHLY,
    ("cm", "daily"): f"{_UM} liquidationSnapshot",
    ("cm", "monthly"): _UM_MONTHLY,
    ("option", "daily"): "BVOLIndex EOHSummary",
    ("option", "monthly"): "",
}
# First and last day of the types, as the description states them.
COVERAGE = {
    ("spot", "klines"): ("2017-08-17", ""),
    ("um", "fundingRate"): ("2020-01-01", ""),
    ("um", "metrics"): ("2020-09-01", ""),
    ("um", "bookDepth"): ("2023-01-01", ""),
    ("um", "bookTicker"): ("2023-05-16", "2024-03-30"),
    ("cm", "bookTicker"): ("2023-05-16", "2024-10-14"),
    ("cm", "liquidationSnapshot"): ("2023-06-25", "2024-10-14"),
    ("option", "BVOLIndex"): ("2023-06-20", ""),
    ("option", "EOHSummary"): ("2023-05-18", "2023-10-23"),
}

Triples = set[tuple[str, str, str]]
IN_CATALOGUE: Triples = {(f.market.name, f.archive_type, str(c)) for f in BINANCE_FEEDS for c in f.archived}


def expected() -> Triples:
    return {(market, name, cadence) for (market, cadence), types in EXISTS.items() for name in types.split()}


def section(heading: str, text: str = TEXT) -> str:
    """The text under a heading, up to the next heading of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    _, found, rest = text.partition(f"{heading}\n")
    assert found, heading
    return re.split(rf"^#{{1,{level}}} ", rest, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """Cells of the table rows of a text, the heads left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heads = {number - 1 for number, row in enumerate(cells) if set(row[0]) == {"-"}}
    return [row for number, row in enumerate(cells) if number not in heads and set(row[0]) != {"-"}]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_no_page_is_stale(page: Path) -> None:
    assert (ROOT / page).read_text(encoding="utf-8") == PAGES[page](), f"{page} is stale: run make docs"


def test_the_command_writes_the_pages_and_says_which_is_stale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, check = tmp_path / PAGE, [str(tmp_path), "--check"]
    assert main(check) == 1
    assert main([str(tmp_path)]) == 0
    assert page.read_text(encoding="utf-8") == TEXT
    assert main(check) == 0
    page.write_text(TEXT.replace("klines", "candles"), encoding="utf-8")
    capsys.readouterr()
    assert main(check) == 1
    stale = [line for line in capsys.readouterr().out.splitlines() if "stale" in line]
    assert stale == [f"{page} is stale: run make docs"]


def test_every_setting_is_on_the_page_of_settings() -> None:
    variables = [row[0].strip("`") for row in rows(settings_page())]
    assert variables == [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]


def test_every_option_of_a_command_is_on_the_page_of_commands() -> None:
    page = commands_page()
    for command in (["backfill"], ["read"], ["archive", "files"], ["export", "legacy"]):
        shown = CliRunner().invoke(app, [*command, "--help"], terminal_width=200).output
        options = set(re.findall(r"--[a-z-]+", shown)) - {"--help"}
        listed = section(f"## `crypto-lakehouse {' '.join(command)}`", page)
        assert options <= set(re.findall(r"--[a-z-]+", listed)), command


@pytest.mark.requirement("T1")
def test_the_catalogue_has_what_the_archive_has() -> None:
    assert expected() <= IN_CATALOGUE


def test_everything_in_the_catalogue_is_on_the_page() -> None:
    table = {
        (market, name, str(cadence))
        for market, *lists in rows(section("## What exists"))
        for cadence, names in zip(Cadence, lists, strict=True)
        for name in names.split()
        if name != "none" and "/" not in market
    }
    assert table == IN_CATALOGUE
    per_type = {
        (market.name, row[0], cadence)
        for market in EXCHANGES["binance"].markets
        for row in rows(section(f"### Market {market.name}"))
        for cadence in row[3].split(";")[0].split(", ")
    }
    assert per_type == IN_CATALOGUE


@pytest.mark.requirement("T1")
@pytest.mark.skipif(not REFERENCE.is_file(), reason="the description of the archive is not here")
def test_the_catalogue_equals_the_description_of_the_archive() -> None:
    found: Triples = set()
    daily: dict[str, set[str]] = {}
    monthly: dict[str, set[str]] = {}
    for market, days, months in rows(section("## What exists", REFERENCE.read_text(encoding="utf-8"))):
        # Lists are names, or another market's with some more: "as um, plus liquidationSnapshot".
        base = re.match(r"as (\w+)", days)
        names = set(re.sub(r"as \w+,|plus", "", days).split()) | (daily[base[1]] if base else set())
        daily[market] = names
        if months == "none":
            monthly[market] = set()
        elif other := re.match(r"as (\w+)", months):
            monthly[market] = monthly[other[1]]
        else:
            less, _, plus = months.removeprefix("the same").partition(", plus ")
            monthly[market] = (names - set(less.replace(" less ", "").replace(" and ", " ").split())) | set(
                plus.split()
            )
    for cadence, lists in (("daily", daily), ("monthly", monthly)):
        found |= {(market, name, cadence) for market, names in lists.items() for name in names}
    assert found == expected()


def test_one_row_for_each_market_and_type_with_dates_partition_columns_and_key() -> None:
    seen = set()
    for market in EXCHANGES["binance"].markets:
        for row in rows(section(f"### Market {market.name}")):
            name, table, partition, _, first, last, columns, silver, key = row
            feeds = [f for f in FEEDS.values() if (f.market, f.archive_type) == (market, name)]
            seen.add((market.name, name))
            assert {f.table for f in feeds} == {
                table.strip("`").replace("{interval}", f.interval.name if f.interval else "") for f in feeds
            }
            assert partition.split(";")[0] == feeds[0].cadence.partition_column
            assert ("3d 1w 1mo: month" in partition) is name.lower().endswith("klines")
            assert (first, last) == COVERAGE.get((market.name, name), (str(market.first_date), "")) or (
                (market.name, name) not in COVERAGE and first == str(feeds[0].first_date)
            )
            assert columns.startswith(f"[{len(feeds[0].file_format.columns)}](#files-")
            assert silver.startswith(f"[{feeds[0].schema}](#silver-")
            assert key == ", ".join(silver_schema(feeds[0]).primary_key)
    assert seen == {(market, name) for market, name, _ in IN_CATALOGUE}
    assert len(seen) >= 26


def test_every_table_is_named_under_its_silver_schema() -> None:
    for entry in FEEDS.values():
        assert f"`{entry.table}`" in section(f"### Silver {entry.schema}"), entry.name


def test_every_column_is_there_with_type_and_meaning() -> None:
    for entry in FEEDS.values():
        listed = rows(section(f"### Files {entry.file_format.name}"))
        assert [(row[1], row[2], row[3] == "yes") for row in listed] == [
            (c.name, c.type.value, c.may_be_blank) for c in entry.file_format.columns
        ]
        for row, column in zip(listed, entry.file_format.columns, strict=True):
            assert row[4] == ", ".join(column.aliases)
        schema = silver_schema(entry)
        described = rows(section(f"### Silver {schema.name}"))
        assert [(row[0], row[1], row[2], row[4]) for row in described] == [
            (c.name, str(c.type), c.unit, c.doc) for c in schema.columns
        ]
        assert [row[0] for row in described if row[3] == "key"] == [
            c.name for c in schema.columns if c.name in schema.primary_key
        ]


def test_every_epoch_is_in_the_table_of_its_topic() -> None:
    for epoch in EPOCHS:
        about = [
            row
            for row in rows(section(f"### Epochs {epoch.topic}"))
            if epoch.market in row[0].split()
            and epoch.archive_type in row[1].split()
            and row[4].replace(", ", ",") == epoch.value
            and row[5] == epoch.text
            and all(str(day) in row[2] for day in (epoch.first, epoch.last) if day)
            and set(epoch.intervals + epoch.symbols) <= set(row[3].split())
        ]
        assert len(about) == 1, epoch


def test_all_links_lead_somewhere() -> None:
    headings = {line.lstrip("# ").lower().replace(" ", "-") for line in TEXT.splitlines() if line.startswith("#")}
    inner = set(re.findall(r"\]\(#([^)]+)\)", TEXT))
    assert inner
    assert inner <= headings
    defined = re.findall(r"^\[([^]]+)\]: https://\S+$", TEXT, flags=re.MULTILINE)
    assert len(defined) == len(set(defined))
    used = set(re.findall(r"\[([^]]+)\](?=[,. |)])", section("## Epochs")))
    assert used == set(defined)
