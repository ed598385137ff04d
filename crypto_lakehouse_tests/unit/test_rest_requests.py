"""The REST catalogue and the windows of requests: what is requested, in how many requests, for which weight."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from crypto_lakehouse.catalog import FEEDS, feed
from crypto_lakehouse.catalog.rest import Overflow, RestEndpoint, rest_endpoint_of, rest_endpoints_of
from crypto_lakehouse.rest.requests import RestRequest, milliseconds, windows

DAY = datetime(2024, 1, 1, tzinfo=UTC)


def endpoint(market: str, table: str) -> RestEndpoint:
    found = rest_endpoint_of(feed("binance", market, table))
    assert found is not None
    return found


@pytest.mark.requirement("F2.12")
def test_klines_funding_agg_trades_and_open_interest_can_be_requested_and_nothing_else() -> None:
    answered = {key[2].split("_1")[0] for key, each in FEEDS.items() if rest_endpoints_of(each)}
    assert {"klines", "mark_klines", "index_klines", "premium_klines"} <= answered
    assert {"agg_trades", "funding_rates", "open_interest"} <= answered
    without = {key[2] for key, each in FEEDS.items() if not rest_endpoints_of(each)}
    assert without == {"trades", "book_depth", "book_ticker", "liquidations", "volatility_index", "option_summaries"}


@pytest.mark.requirement("F2.12")
@pytest.mark.parametrize(
    ("market", "table"),
    [("spot", "klines_1s"), ("um", "klines_1m"), ("cm", "klines_1d"), ("cm", "klines_1mo"), ("um", "open_interest")],
)
def test_windows_cover_a_range_without_overlap_and_hold_no_more_rows_than_their_limit(market: str, table: str) -> None:
    kind = endpoint(market, table)
    symbol = "BTCUSD_PERP" if market == "cm" else "BTCUSDT"
    start, end = DAY + timedelta(seconds=17), DAY + timedelta(days=700 if kind.step > timedelta(hours=1) else 3)
    requests = list(windows(kind, symbol, start, end))
    assert requests[0].start == start
    assert requests[-1].end == end
    assert all(one.end == other.start for one, other in pairwise(requests))
    for request in requests:
        assert request.end - request.start <= request.limit * kind.step
        assert kind.max_span is None or request.end - request.start <= kind.max_span
        assert request.limit <= kind.max_limit
    if kind.overflow is not Overflow.OLDEST:
        assert all(request.rows * kind.step >= request.end - request.start for request in requests)


def test_a_day_of_minutes_costs_six_of_the_weight_of_futures() -> None:
    kind = endpoint("um", "klines_1m")
    requests = list(windows(kind, "BTCUSDT", DAY, DAY + timedelta(days=1)))
    assert [kind.costs[0].weight(request.rows) for request in requests] == [2, 2, 2]
    one_minute = next(windows(kind, "BTCUSDT", DAY, DAY + timedelta(minutes=1)))
    assert (one_minute.limit, kind.costs[0].weight(one_minute.rows)) == (1, 1)


def test_both_bounds_of_the_api_are_inclusive_so_the_end_is_a_millisecond_less() -> None:
    request = next(windows(endpoint("spot", "klines_1m"), "BTCUSDT", DAY, DAY + timedelta(hours=1)))
    assert request.parameters["startTime"] == str(milliseconds(DAY))
    assert request.parameters["endTime"] == str(milliseconds(DAY) + 3_600_000 - 1)


def test_index_prices_are_requested_by_pair_and_open_interest_of_coin_m_by_pair_and_contract() -> None:
    assert "pair=BTCUSD&" in f"{RestRequest(endpoint('cm', 'index_klines_1m'), 'BTCUSD').canonical}&"
    requests = windows(endpoint("cm", "open_interest"), "BTCUSD_PERP", DAY, DAY + timedelta(hours=1))
    assert next(requests).canonical == (
        "/futures/data/openInterestHist?contractType=PERPETUAL&endTime=1704070799999&limit=500&pair=BTCUSD&period=5m"
        "&startTime=1704067200000"
    )
    with pytest.raises(ValueError, match="only those that end with _PERP"):
        next(windows(endpoint("cm", "open_interest"), "BTCUSD_240628", DAY, DAY + timedelta(hours=1)))


def test_months_are_spelt_as_the_api_does_and_symbols_may_have_any_letters() -> None:
    assert "interval=1M" in RestRequest(endpoint("um", "klines_1mo"), "BTCUSDT").canonical
    assert "symbol=%E5%B8%81USDT" in RestRequest(endpoint("um", "klines_1m"), "币USDT").canonical


def test_pages_by_id_start_with_the_first_trade_of_a_time_and_end_with_a_trade_after_the_range() -> None:
    kind, end = endpoint("um", "agg_trades"), DAY + timedelta(hours=3)
    (first,) = windows(kind, "BTCUSDT", DAY, end)
    assert first.parameters["endTime"] == str(milliseconds(DAY + timedelta(hours=1)) - 1)
    # An hour without trades: the next hour, still by time.
    second = first.following([])
    assert second is not None
    assert (second.start, second.from_id) == (DAY + timedelta(hours=1), None)
    # Fewer rows than the limit are all of the hour; ids go on after them.
    third = second.following([{"a": 7, "T": milliseconds(DAY + timedelta(minutes=90))}])
    assert third is not None
    assert third.from_id == 8
    assert set(third.parameters) == {"symbol", "limit", "fromId"}
    inside = [{"a": id, "T": milliseconds(DAY + timedelta(minutes=100))} for id in range(8, 1008)]
    fourth = third.following(inside)
    assert fourth is not None
    assert fourth.from_id == 1008
    assert fourth.following([*inside[1:], {"a": 2008, "T": milliseconds(end)}]) is None
    # The newest trades: there are no more yet.
    assert fourth.following(inside[:5]) is None
    assert fourth.following([]) is None
