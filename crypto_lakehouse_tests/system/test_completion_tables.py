"""Completion of the other tables: what an exchange answers of them equals what its archive would have had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import polars as pl
import pytest

from crypto_lakehouse.rest.client import RestClient
from crypto_lakehouse.rest.model import RestAnswer, RestError
from crypto_lakehouse.rest.requests import RestRequest
from crypto_lakehouse_tests.system.exchange import START, Exchange, Platform, day, exchange, without_source

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F2.15")]

DAYS = [day(number) for number in range(3)]
MONTHS = ["2024-12", "2025-01"]
FUNDING, METRICS, TRADES = "fundingRate/{}", "metrics/{}", "aggTrades/{}"


@dataclass
class CutOff:
    """A client whose connection ends after some answers."""

    whole: RestClient
    answers_left: int

    def answers(self, requests: Iterable[RestRequest]) -> Iterator[RestAnswer]:
        for answer in self.whole.answers(requests):
            if not self.answers_left:
                raise RestError("the connection was lost")
            self.answers_left -= 1
            yield answer


def built(market: Exchange, lake: Path, name: str, table: str, keys: list[str]) -> pl.DataFrame:
    platform = Platform(market, lake, name, table)
    platform.now = datetime.fromtimestamp(market.api.clock() / 1000, UTC)
    platform.build(keys)
    assert platform.up_to_date(keys) == set(keys)
    calls = len(market.api.calls)
    assert sum(counts.requests for counts in platform.build(keys).values()) == 0
    assert len(market.api.calls) == calls
    return platform.silver(*keys)


@pytest.mark.parametrize(
    ("name", "table", "kind"),
    [
        ("um", "mark_klines_1m", "markPriceKlines/{}/1m"),
        ("um", "premium_klines_5m", "premiumIndexKlines/{}/5m"),
        ("cm", "index_klines_1m", "indexPriceKlines/{}/1m"),
        ("cm", "premium_klines_1h", "premiumIndexKlines/{}/1h"),
        ("spot", "klines_1d", "klines/{}/1d"),
    ],
)
def test_bars_of_other_prices_and_intervals_are_filled(name: str, table: str, kind: str, tmp_path: Path) -> None:
    with exchange(tmp_path, [name], days=3, tables=[table]) as market:
        symbol = sorted(path.parent.parent.name for path in market.truth.rglob(f"*{DAYS[0]}.zip"))[0]
        expected = built(market, tmp_path / "true", name, table, DAYS)
        for number in (0, 2):
            market.remove(name, symbol, number, kind)
        silver = built(market, tmp_path / "lake", name, table, DAYS)
    assert without_source(silver).equals(without_source(expected))
    a_day = silver.filter(symbol=symbol).height // 3
    assert Counter(silver["source"])["rest"] == 2 * a_day > 0


@pytest.mark.parametrize(("name", "symbol"), [("um", "BTCUSDT"), ("cm", "BTCUSD_PERP")])
def test_funding_events_and_months_are_filled(name: str, symbol: str, tmp_path: Path) -> None:
    with exchange(tmp_path, [name], tables=["funding_rates", "mark_klines_1m"]) as market:
        expected = built(market, tmp_path / "true", name, "funding_rates", MONTHS)
        calls = len(market.api.calls)
        market.edit(name, symbol, MONTHS[0], lambda lines: [*lines[:10], *lines[12:]], FUNDING)
        market.remove(name, symbol, MONTHS[1], FUNDING)
        silver = built(market, tmp_path / "lake", name, "funding_rates", MONTHS)
        # One request for two events, one for a month; the first of them finds out that there are any.
        assert len(market.api.calls) - calls <= 4
    assert silver.drop("source", "mark_price").equals(expected.drop("source", "mark_price"))
    rest = silver.filter(source="rest")
    assert set(rest["symbol"]) == {symbol}
    assert rest.filter(pl.col("funding_hour").dt.month() == 12).height == 2
    # The sample has mark prices of its days only.
    assert rest["mark_price"].drop_nulls().len() > 0
    assert silver.filter(source="archive_monthly")["mark_price"].null_count() == silver.height - rest.height


@pytest.mark.parametrize(("name", "symbol"), [("um", "BTCUSDT"), ("cm", "BTCUSD_PERP")])
def test_open_interest_and_ratios_are_filled_within_their_reach(name: str, symbol: str, tmp_path: Path) -> None:
    soon = datetime.combine(START, time(), UTC) + timedelta(days=31)
    with exchange(tmp_path, [name], tables=["open_interest"], now=soon) as market:
        expected = built(market, tmp_path / "true", name, "open_interest", DAYS)
        # The exchange does not answer the first day any more.
        for number in (0, 2):
            market.remove(name, symbol, number, METRICS)
        market.edit(name, symbol, 1, lambda lines: [*lines[:30], *lines[60:]], METRICS)
        silver = built(market, tmp_path / "lake", name, "open_interest", DAYS)
    rest, of_symbol = silver.filter(source="rest"), expected.filter(symbol=symbol)
    assert set(rest["symbol"]) == {symbol}
    assert rest["label_time"].min() >= datetime.combine(START, time(), UTC) + timedelta(days=1)
    assert rest.height >= 30 + 280
    pairs = rest.join(of_symbol, on=["symbol", "label_time"], suffix=" of file")
    assert pairs.height == rest.height
    for value in ("open_interest", "open_interest_value"):
        assert pairs[value].equals(pairs[f"{value} of file"].alias(value), null_equal=True), value
    ratios = [column for column in silver.columns if column.endswith("_ratio")]
    for ratio in ratios:
        # Answers have four decimals.
        assert (pairs[ratio] - pairs[f"{ratio} of file"]).abs().max() <= 0.000051, ratio
    # Not before the period has ended under either reading of its label.
    assert (rest["known_time"] - rest["label_time"]).min() == timedelta(minutes=5)


@pytest.mark.parametrize(("name", "symbol"), [("spot", "BTCUSDT"), ("um", "BTCUSDT"), ("cm", "BTCUSD_PERP")])
def test_aggregate_trades_are_filled_by_their_ids(name: str, symbol: str, tmp_path: Path) -> None:
    soon = datetime.combine(START, time(), UTC) + timedelta(days=2, hours=1)
    with exchange(tmp_path, [name], days=2, tables=["agg_trades"], trades_per_day=10_080, now=soon) as market:
        other = next(path.name for path in market.truth.rglob("aggTrades/*") if path.name != symbol)
        expected = built(market, tmp_path / "true", name, "agg_trades", DAYS[:2])
        market.remove(name, symbol, 1, TRADES)
        market.edit(name, other, 1, lambda lines: [*lines[:40], *lines[75:]], TRADES)
        market.edit(name, other, 0, lambda lines: [*lines[:-20], *lines[-10:]], TRADES)
        silver = built(market, tmp_path / "lake", name, "agg_trades", DAYS[:2])
        again = Platform(market, tmp_path / "lake", name, "agg_trades")
        again.now = soon + timedelta(days=90)
        again.build(DAYS[:2])
        assert again.silver(*DAYS[:2]).equals(silver)
    assert without_source(silver).equals(without_source(expected))
    rest = silver.filter(source="rest")
    assert set(rest["symbol"]) == {symbol, other}
    assert rest.filter(symbol=other).height == 45
    assert rest.filter(symbol=symbol).height == expected.filter(pl.col("time").dt.day() == 31, symbol=symbol).height


def test_a_day_of_trades_that_was_cut_off_continues_with_the_next_id(tmp_path: Path) -> None:
    soon = datetime.combine(START, time(), UTC) + timedelta(days=2, hours=1)
    with exchange(tmp_path, ["spot"], days=2, tables=["agg_trades"], trades_per_day=10_080, now=soon) as market:
        expected = built(market, tmp_path / "true", "spot", "agg_trades", DAYS[:2])
        market.remove("spot", "BTCUSDT", 1, TRADES)
        platform = Platform(market, tmp_path / "lake", "spot", "agg_trades")
        platform.now, whole, pages = soon, platform.client, 3
        platform.client = CutOff(whole, pages)
        with pytest.raises(RestError):
            platform.build(DAYS[:2])
        platform.client = whole
        stored = platform.answers(DAYS[1])
        assert (stored.height, set(stored["status"])) == (pages, {"answered"})
        before = len(market.api.calls)
        platform.build(DAYS[:2])
        later = [call.query for call in market.api.calls[before:] if call.path.endswith("aggTrades")]
        assert all("fromId" in query for query in later)
        assert platform.silver(*DAYS[:2]).drop("source").equals(expected.drop("source"))
