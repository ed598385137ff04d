"""Selecting a feed, a range and symbols, and counting their files: by hand and at random."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_lakehouse.catalog import FEEDS, Cadence, parse_partition, partition_key
from crypto_lakehouse.pipeline.discover import (
    Coverage,
    coverage,
    file_url,
    find_feed,
    in_order,
    span,
    split_known,
)

DAILY, MONTHLY = Cadence.DAILY, Cadence.MONTHLY
TODAY = date(2026, 5, 10)


@pytest.mark.requirement("F2.8")
def test_every_feed_is_found_by_table_and_by_type() -> None:
    for (exchange, market, table), feed in FEEDS.items():
        interval = feed.interval.name if feed.interval else None
        assert find_feed(exchange, market, table=table) == feed
        assert find_feed(exchange, market, archive_type=feed.archive_type, interval=interval) == feed


@pytest.mark.requirement("F2.8")
def test_monthly_files_of_a_daily_feed() -> None:
    feed = find_feed("binance", "um", table="klines_1m", monthly=True)
    assert (feed.table, feed.cadence) == ("klines_1m", MONTHLY)
    assert find_feed("binance", "um", table="funding_rates", monthly=True).cadence is MONTHLY
    with pytest.raises(ValueError, match="no monthly files of binance/um/open_interest, only daily"):
        find_feed("binance", "um", table="open_interest", monthly=True)


@pytest.mark.requirement("F2.8")
@pytest.mark.parametrize(
    ("market", "names", "message"),
    [
        ("um", {}, "name a table"),
        ("um", {"table": "trades", "archive_type": "trades"}, "name a table"),
        ("um", {"table": "klines_1m", "interval": "1m"}, "leave out --interval"),
        ("um", {"table": "klines_1s"}, "only in spot"),
        ("um", {"table": "metrics"}, "no table 'metrics' in binance/um; did you mean open_interest?"),
        ("um", {"archive_type": "agg_trades"}, "no type 'agg_trades' in binance/um; did you mean aggTrades?"),
        ("um", {"archive_type": "klines"}, "one of 1m, 3m"),
        ("um", {"archive_type": "klines", "interval": "1M"}, "one of 1m, 3m"),
        ("um", {"archive_type": "trades", "interval": "1m"}, "has no intervals"),
        ("um", {"archive_type": "BVOLIndex"}, "there are klines, aggTrades, trades, fundingRate"),
        ("swap", {"archive_type": "klines"}, "no market 'swap'; did you mean um or cm"),
        ("cash", {"table": "klines_1m"}, "no market 'cash'; there are spot, um, cm, option"),
    ],
)
def test_an_unknown_feed_is_an_error_that_lists_the_known_ones(
    market: str, names: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        find_feed("binance", market, **names)  # type: ignore[arg-type]


@pytest.mark.requirement("F2.8")
@pytest.mark.parametrize(
    ("cadence", "first", "last", "expected"),
    [
        (DAILY, date(2024, 5, 15), date(2024, 5, 15), (date(2024, 5, 15), date(2024, 5, 16))),
        # A month counts when any of its days does.
        (MONTHLY, date(2024, 5, 15), date(2024, 6, 1), (date(2024, 5, 1), date(2024, 6, 2))),
        # Without bounds: all that can be there, also in a time zone ahead of UTC.
        (DAILY, None, None, (date(2010, 1, 1), date(2026, 5, 13))),
        (DAILY, date.min, date.max, (date(2010, 1, 1), date(2026, 5, 13))),
        (MONTHLY, date(2024, 5, 15), None, (date(2024, 5, 1), date(2026, 5, 13))),
    ],
)
def test_the_range_that_is_asked_for(
    cadence: Cadence, first: date | None, last: date | None, expected: tuple[date, date]
) -> None:
    assert span(cadence, first, last, TODAY) == expected


@pytest.mark.requirement("F2.8")
def test_a_range_that_ends_before_it_starts_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"ends \(2024-05-14\) before it starts \(2024-05-15\): swap"):
        span(DAILY, date(2024, 5, 15), date(2024, 5, 14), TODAY)


@pytest.mark.requirement("F2.8")
@pytest.mark.parametrize(
    ("cadence", "periods", "expected"),
    [
        (DAILY, [], Coverage("X", None, None, 0, 0)),
        (DAILY, ["2024-02-28"], Coverage("X", "2024-02-28", "2024-02-28", 1, 0)),
        # 28 and 29 February, 1 and 2 March: two of four days.
        (DAILY, ["2024-02-28", "2024-03-02"], Coverage("X", "2024-02-28", "2024-03-02", 2, 2)),
        # November to February is four months, of which December is missing.
        (MONTHLY, ["2023-11", "2024-01", "2024-02"], Coverage("X", "2023-11", "2024-02", 3, 1)),
    ],
)
def test_coverage_by_hand(cadence: Cadence, periods: list[str], expected: Coverage) -> None:
    assert coverage(cadence, "X", periods) == expected


@pytest.mark.requirement("F2.8")
@given(st.sampled_from(Cadence), st.sets(st.dates(date(2017, 1, 1), date(2021, 1, 1)), min_size=1, max_size=60))
def test_coverage_counts_each_period_once(cadence: Cadence, days: set[date]) -> None:
    periods = sorted({partition_key(day, cadence) for day in days})
    one = coverage(cadence, "X", periods)
    begin, last = min(days), max(days)
    between = {partition_key(begin + timedelta(days=n), cadence) for n in range((last - begin).days + 1)}
    assert (one.first, one.last) == (periods[0], periods[-1])
    assert one.files + one.missing == len(between)
    assert parse_partition(str(one.first), cadence) <= parse_partition(str(one.last), cadence)


@pytest.mark.requirement("F2.8")
@given(st.permutations(range(8)))
def test_items_that_arrive_in_any_order_are_yielded_in_order(arrivals: list[int]) -> None:
    names = [f"S{number}" for number in range(8)]
    taken: list[int] = []

    def arriving() -> object:
        for number in arrivals:
            taken.append(number)
            yield names[number], number

    for expected, (name, value) in enumerate(in_order(names, arriving())):  # type: ignore[arg-type]
        assert (name, value) == (names[expected], expected)
        # Nothing is waited for that is not needed for the order.
        assert set(range(expected + 1)) <= set(taken)
        assert len(taken) == max(arrivals.index(n) for n in range(expected + 1)) + 1
    assert len(taken) == 8


@pytest.mark.requirement("F2.8")
def test_unknown_names_are_kept_apart() -> None:
    assert split_known(["B", "X", "A", "B", "X"], ["A", "B", "C"]) == (["A", "B"], ["X"])


@pytest.mark.requirement("F2.8", "F1.2")
def test_addresses_have_no_credentials_and_are_quoted() -> None:
    key = "data/spot/daily/klines/币安USDT/1m/币安USDT-1m-2026-01-01.zip"
    quoted = "%E5%B8%81%E5%AE%89USDT"
    expected = f"https://host/base/data/spot/daily/klines/{quoted}/1m/{quoted}-1m-2026-01-01.zip"
    assert file_url("https://user:secret@host/base/", key) == expected
