"""A bar of sixty minutes, one of which completion took from the exchange's API: where it comes from, and since when."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.lineage.model import Step
from crypto_lakehouse_tests.system.exchange import Exchange, Platform, day, exchange
from crypto_lakehouse_tests.system.runs import failures, read, run

SYMBOL, MISSING = "ETHUSDT", 3 * 60 + 17
MINUTE = datetime(2024, 12, 31, 3, 17, tzinfo=UTC)


class Completed(NamedTuple):
    market: Exchange
    lake: Lakehouse
    folder: Path


@pytest.fixture(scope="module")
def completed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Completed]:
    """A lake whose second day has a minute and the last day of BTCUSDT from the API."""
    folder = tmp_path_factory.mktemp("completed")
    with exchange(folder, days=3) as market:
        market.edit("um", SYMBOL, 1, lambda lines: [*lines[:MISSING], *lines[MISSING + 1 :]])
        market.remove("um", "BTCUSDT", 1)
        done = run(market.settings(folder / "lake", bars="1h"), "um", day(0), day(2))
        assert done.success, failures(done)
        yield Completed(market, Lakehouse(folder / "lake"), folder)


@pytest.mark.requirement("F6.20")
def test_a_bar_names_its_daily_file_and_the_answer_of_one_minute(completed: Completed) -> None:
    chain = completed.lake.explain("gold.bars_1h", SYMBOL, "2024-12-31T03:00", market="um")
    steps: dict[str, Step] = {step.table: step for step in chain.steps()}
    assert [(name, step.rows.height) for name, step in steps.items()] == [
        ("gold.bars_1h", 1),
        ("gold.continuous_1m", 60),
        ("silver.klines_1m", 60),
        ("bronze.klines_1m", 59),
        ("bronze.klines_1m_rest", 1),
    ]
    assert steps["silver.klines_1m"].summary == "60 rows, 59 from archive_daily, 1 from rest"
    assert not any(step.notes for step in steps.values())
    file, answer = chain.files
    data = (completed.market.archive / file.key).read_bytes()
    assert file.sha256 == hashlib.sha256(data).hexdigest()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    opens = [int(lines[number - 1].split(",")[0]) for number in file.lines]
    assert opens == steps["bronze.klines_1m"].rows.sort("open_time")["open_time"].to_list()
    assert answer.key.startswith("/fapi/v1/klines?")
    assert answer.raw is not None
    body = (completed.folder / "lake" / answer.raw).read_bytes()
    assert answer.sha256 == hashlib.sha256(body).hexdigest()
    (line,) = answer.lines
    row = steps["bronze.klines_1m_rest"].rows.row(0, named=True)
    assert json.loads(body)[line - 1][0] == row["open_time"] == int(MINUTE.timestamp() * 1000)
    assert answer.version is not None
    assert answer.version.status == "answered"
    frame = chain.frame()
    assert frame.filter(source="rest")["time"].to_list() == [MINUTE]
    assert f"answer {answer.key}" in str(chain)
    assert f"row {line}; sha256 {answer.sha256}" in str(chain)


@pytest.mark.requirement("F6.20")
def test_an_answer_leads_to_the_partitions_that_used_it(completed: Completed) -> None:
    _, answer = completed.lake.explain("gold.bars_1h", SYMBOL, "2024-12-31T03:00", market="um").files
    for name in (answer.key, answer.sha256):
        used = completed.lake.uses(name)
        rows = {(row["layer"], row["table"]): row["use"] for row in used.iter_rows(named=True)}
        assert rows["bronze", "klines_1m_rest"] == "1 row"
        assert rows["silver", "klines_1m"] == "rows that no file has: 1"
        assert rows["gold", "bars_1h"] == "bars that include minutes of the day"


@pytest.mark.requirement("F6.20")
def test_an_answer_whose_row_a_file_replaced_is_named_as_not_used(completed: Completed) -> None:
    market = completed.market
    market.restore("um", SYMBOL, 1)
    done = run(market.settings(completed.folder / "lake", bars="1h"), "um", day(0), day(2))
    assert done.success, failures(done)
    chain = completed.lake.explain("silver.klines_1m", SYMBOL, MINUTE, market="um")
    uses = chain.frame().filter(pl.col("table").str.starts_with("bronze"))
    assert uses.select("table", "use").rows() == [
        ("bronze.klines_1m", "kept"),
        ("bronze.klines_1m_rest", "not used: a file of the archive has the row"),
    ]


@pytest.mark.requirement("F6.21")
def test_rows_of_answers_are_known_since_the_answer_came(completed: Completed) -> None:
    day_of_answers = {"symbols": "BTCUSDT", "start": day(1), "end": day(2)}
    rows = read(completed.lake, "silver.klines_1m", market="um", mode="archive", available_at=True, **day_of_answers)
    assert set(rows["source"]) == {"rest"}
    answers = read(completed.lake, "bronze.klines_1m_rest", market="um", available_at=True, **day_of_answers)
    came = answers.group_by("open_time").agg(pl.col("fetched_at").min())["fetched_at"]
    assert rows["available_at"].null_count() == 0
    assert set(rows["available_at"]) == set(came)
    before = read(
        completed.lake, "silver.klines_1m", market="um", mode="archive", known_by=came.min(), **day_of_answers
    )
    assert before.height == (came == came.min()).sum()
    bars = read(completed.lake, "gold.bars_1h", market="um", mode="archive", available_at=True, **day_of_answers)
    assert set(bars["available_at"]) == {came.max()}


@pytest.mark.requirement("F6.21")
def test_a_value_is_known_since_the_answer_that_has_it(tmp_path: Path) -> None:
    """The exchange changes a minute between two answers that both have it."""
    with exchange(tmp_path, days=3) as market:
        truth = replace(market, archive=market.truth)
        market.edit("um", SYMBOL, 1, lambda lines: [*lines[:100], *lines[201:]])
        true = list[bytes]()

        def without_one(lines: list[bytes]) -> list[bytes]:
            true.extend(lines)
            return [*lines[:120], *lines[121:]]

        def changed(_: list[bytes]) -> list[bytes]:
            fields = true[150].split(b",")
            fields[4] = fields[2]
            return [*true[:150], b",".join(fields), *true[151:]]

        truth.edit("um", SYMBOL, 1, without_one)
        platform = Platform(market, tmp_path / "lake")
        platform.build([day(1)], SYMBOL)
        truth.edit("um", SYMBOL, 1, changed)
        # The minutes that are asked for again, and those that the file has no longer, are around the changed one.
        market.edit("um", SYMBOL, 1, lambda _: [*true[:100], *true[211:]])
        platform.now += timedelta(days=31)
        platform.build([day(1)], SYMBOL)
    lake = Lakehouse(tmp_path / "lake")
    minute = datetime(2024, 12, 31, 2, 30, tzinfo=UTC)
    answers = read(lake, "bronze.klines_1m_rest", market="um").filter(open_time=int(minute.timestamp() * 1000))
    came = dict(answers.select("close", "fetched_at").iter_rows())
    assert len(came) == 2
    rows = read(lake, "silver.klines_1m", market="um", mode="archive", available_at=True).filter(open_time=minute)
    assert came[rows["close"].item()] == max(came.values())
    assert rows["available_at"].item() == came[rows["close"].item()]
