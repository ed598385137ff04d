"""What answers settle: requests are not repeated, empty answers are, and later files of the archive win."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog.rest import RestPool
from crypto_lakehouse.lake.storage.ledger import read_ledger
from crypto_lakehouse.lake.storage.quarantine import read_rejected
from crypto_lakehouse.pipeline.revisions import record_revisions
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.system.exchange import Exchange, Platform, day, exchange

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F2.15")]

BTC, ETH = "BTCUSDT", "ETHUSDT"
DAYS = [day(number) for number in range(4)]


def sources(rows: pl.DataFrame, symbol: str) -> Counter[str]:
    return Counter(rows.filter(symbol=symbol)["source"])


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Exchange]:
    with exchange(tmp_path) as made:
        yield made


def test_a_second_run_requests_nothing_and_a_rebuilt_bronze_table_is_the_same(market: Exchange, tmp_path: Path) -> None:
    market.remove("um", BTC, 1)
    market.remove("um", BTC, 2)
    platform = Platform(market, tmp_path / "lake")
    first = platform.build(DAYS)
    assert first[DAYS[1]].requests > first[DAYS[0]].requests == 0
    assert platform.up_to_date(DAYS) == set(DAYS)
    before, calls = platform.silver(*DAYS), len(market.api.calls)
    (stored,) = (tmp_path / "lake").glob(f"bronze/klines_1m_rest/*/*/date={DAYS[1]}/part-0.parquet")
    bytes_before = stored.read_bytes()
    stored.unlink()
    assert platform.up_to_date(DAYS) == set(DAYS) - {DAYS[1]}
    assert platform.build(DAYS)[DAYS[1]].requests == 0
    assert stored.read_bytes() == bytes_before
    assert platform.silver(*DAYS).equals(before)
    assert len(market.api.calls) == calls


def test_a_lake_on_s3_is_completed_like_a_local_one(
    market: Exchange,
    tmp_path: Path,
    s3_lake: tuple[str, str, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri, endpoint, credentials = s3_lake
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    market.remove("um", BTC, 1)
    remote = Platform(market, f"{uri}/completion", s3_endpoint_url=endpoint, s3_region="us-east-1")
    local = Platform(market, tmp_path / "lake")
    assert remote.build(DAYS) == local.build(DAYS)
    assert remote.silver(*DAYS).equals(local.silver(*DAYS))
    assert remote.up_to_date(DAYS) == set(DAYS)
    assert {count.requests for count in remote.build(DAYS).values()} == {0}


def test_a_file_that_is_published_later_wins_and_what_it_changed_is_recorded(market: Exchange, tmp_path: Path) -> None:
    market.remove("um", BTC, 1)
    platform = Platform(market, tmp_path / "lake")
    platform.build(DAYS)
    assert sources(platform.silver(DAYS[1]), BTC) == {"rest": 1440}
    market.restore("um", BTC, 1)
    market.edit("um", BTC, 1, lambda lines: [lines[0], _with_other_count(lines[1]), *lines[2:]])
    platform.build(DAYS)
    assert sources(platform.silver(DAYS[1]), BTC) == {"archive_daily": 1440}
    (found,) = read_rejected(platform.store, platform.feed).to_dicts()
    assert (found["symbol"], found["reason"], found["period"]) == (BTC, "archive_differs", DAYS[1])
    assert "trade_count is" in found["detail"]
    assert found["source_key"].startswith("/fapi/v1/klines?")
    # The log names the answers that both versions had, and the file that only the new one has.
    record_revisions(platform.store, TableSlice.of_feed("silver", platform.feed).partition(DAYS[1]))
    (revision,) = Lakehouse(platform.store.uri).read("ledger.revisions", format="polars").to_dicts()
    assert (revision["symbol"], revision["added"], revision["removed"], revision["changed"]) == (BTC, 0, 0, 1440)
    old, new = (set(revision[f"{name}_sha256"].split(",")) for name in ("old", "new"))
    ledger = read_ledger(platform.store, platform.feed, [DAYS[1]]).filter(symbol=BTC, status="ingested")
    assert (len(old), new - old) == (4, {ledger["sha256"][-1]})


def _with_other_count(line: bytes) -> bytes:
    fields = line.split(b",")
    fields[8] = b"987654"
    return b",".join(fields)


def test_what_the_exchange_does_not_have_is_confirmed_and_asked_again_later(market: Exchange, tmp_path: Path) -> None:
    for root in (market.archive, market.truth):
        for path in root.rglob(f"{BTC}-1m-{DAYS[1]}.zip*"):
            path.unlink()
    platform = Platform(market, tmp_path / "lake")
    counts = platform.build(DAYS)[DAYS[1]]
    assert (counts.answered, counts.empty, counts.rows) == (0, 1, 0)
    assert set(platform.answers(DAYS[1])["status"]) == {"empty"}
    assert sources(platform.silver(DAYS[1]), BTC) == {}
    platform.now += timedelta(days=29)
    assert platform.build(DAYS)[DAYS[1]].requests == 0
    platform.now += timedelta(days=2)
    assert platform.up_to_date(DAYS) == set(DAYS) - {DAYS[1]}
    assert platform.build(DAYS)[DAYS[1]].empty > 0


def test_a_delisted_symbol_costs_a_request_for_many_days(tmp_path: Path) -> None:
    with exchange(tmp_path, days=8) as market:
        for root in (market.archive, market.truth):
            for number in range(1, 8):
                for path in root.rglob(f"{BTC}-1m-{day(number)}.zip*"):
                    path.unlink()
        platform = Platform(market, tmp_path / "lake")
        keys = [day(number) for number in range(8)]
        platform.build(keys)
        assert len([call for call in market.api.calls if call.path.endswith("klines")]) == 1
        assert platform.answers().height == 7
        assert platform.up_to_date(keys) == set(keys)


def test_days_before_the_first_bar_of_the_exchange_are_not_asked_for(market: Exchange, tmp_path: Path) -> None:
    for root in (market.archive, market.truth):
        for number in (0, 1):
            for path in root.rglob(f"{BTC}-1m-{day(number)}.zip*"):
                path.unlink()
    market.remove("um", BTC, 2)
    platform = Platform(market, tmp_path / "lake")
    platform.build(DAYS)
    assert sources(platform.silver(*DAYS), BTC) == {"rest": 1440, "archive_daily": 1440}
    asked = [int(call.query["startTime"]) for call in market.api.calls if "startTime" in call.query]
    begun = datetime.fromisoformat(DAYS[2]).replace(tzinfo=UTC).timestamp() * 1000
    # One request since the first day of the market finds the first bar.
    assert len([start for start in asked if start < begun]) == 1


def test_an_unknown_symbol_is_refused_once(market: Exchange, tmp_path: Path) -> None:
    market.remove("um", BTC, 1)
    for path in list(market.truth.rglob(f"{BTC}-1m-*")):
        path.unlink()
    for path in list(market.truth.rglob(BTC)):
        for folder in sorted(path.rglob("*"), reverse=True):
            folder.rmdir()
        path.rmdir()
    platform = Platform(market, tmp_path / "lake")
    counts = platform.build(DAYS)[DAYS[1]]
    assert (counts.refused, counts.reasons) == (1, {"unknown_symbol": 1})
    assert platform.build(DAYS)[DAYS[1]].requests == 0
    assert platform.up_to_date(DAYS) == set(DAYS)


def test_the_forming_bar_is_left_out_by_the_clock_of_the_exchange(tmp_path: Path) -> None:
    noon = datetime.fromisoformat(f"{DAYS[3]}T12:00:30+00:00")
    with exchange(tmp_path, now=noon) as market:
        market.remove("um", BTC, 3)
        platform = Platform(market, tmp_path / "lake")
        platform.build(DAYS)
        rows = platform.silver(DAYS[3]).filter(symbol=BTC)
        assert (rows.height, rows["open_time"].max()) == (720, noon.replace(minute=59, hour=11, second=0))
        # The other half of the day is not settled.
        assert platform.up_to_date(DAYS) == set(DAYS) - {DAYS[3]}


Cut = list[list[int]]
cuts: st.SearchStrategy[Cut] = st.permutations(range(4)).flatmap(
    lambda order: st.sampled_from([[order[:1], order[1:]], [[n] for n in order], [order], [order, order[:2]]])
)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=cuts)
def test_rows_do_not_depend_on_how_runs_were_cut(
    cut: Cut, market: Exchange, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    for symbol, number in ((BTC, 1), (BTC, 2), (ETH, 3)):
        if market.path("um", symbol, number, "klines/{}/1m").exists():
            market.remove("um", symbol, number)
    platform = Platform(market, folder / "lake")
    for numbers in cut:
        platform.build([DAYS[number] for number in sorted(numbers)])
    rows = platform.silver(*DAYS)
    assert Counter(rows["source"]) == {"rest": 3 * 1440, "archive_daily": 5 * 1440}
    whole = Platform(market, folder / "whole")
    whole.build(DAYS)
    assert rows.equals(whole.silver(*DAYS))


def test_three_days_of_two_hundred_symbols_are_completed_without_a_request_over_the_limit(tmp_path: Path) -> None:
    small = RestPool("futures", 800, timedelta(seconds=2), "X-MBX-USED-WEIGHT-1M", "a small budget")
    with exchange(tmp_path, symbols=200, pools={"futures": small}) as market:
        for number in (1, 2, 3):
            for path in market.archive.rglob(f"*-1m-{DAYS[number]}.zip*"):
                path.unlink()
        platform = Platform(market, tmp_path / "lake", pools=[small])
        counts = platform.build(DAYS)
        assert {call.status for call in market.api.calls} == {200}
        symbols = platform.silver(DAYS[0])["symbol"].unique().len()
    assert symbols > 100
    rows = platform.silver(*DAYS[1:])
    assert Counter(rows["source"]) == {"rest": 3 * 1440 * symbols}
    # Windows of 499 minutes have the most rows for their weight.
    assert sum(count.answered for count in counts.values()) == symbols * (1 + 3 * 3)
