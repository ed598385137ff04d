"""The epoch registry: well-formed, complete for every feed, without contradictions, and correct at known changes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import combinations, groupby

import pytest

from crypto_lakehouse.catalog import FEEDS, INTERVALS, MARKETS, Cadence, Feed, feed, feeds
from crypto_lakehouse.catalog.epochs import (
    ALLOWED_VALUES,
    EPOCHS,
    EXCLUSIVE_TOPICS,
    TOPIC_VALUES,
    Epoch,
    Topic,
    epoch_value,
    epochs_of,
    known_faults,
)

pytestmark = pytest.mark.requirement("D12")

NUMBERS = (Topic.BANDS, Topic.FROZEN, Topic.ROWS, Topic.JITTER, Topic.INTERVAL)


def test_every_entry_is_well_formed() -> None:
    types = {(f.exchange, f.market.name, f.archive_type) for f in FEEDS.values()}
    assert len(EPOCHS) == len(set(EPOCHS))
    for epoch in EPOCHS:
        assert (epoch.exchange, epoch.market, epoch.archive_type) in types, epoch
        assert epoch.text.endswith("."), epoch
        assert epoch.first is None or epoch.last is None or epoch.first <= epoch.last, epoch
        assert set(epoch.intervals) <= set(INTERVALS), epoch
        for source in epoch.source.split(", "):
            assert (
                source.startswith("https://github.com/")
                or source.startswith(("seen in", "claimed"))
                or (source == "not seen in a file")
            ), epoch
        if epoch.topic in NUMBERS:
            assert all(float(part) >= 0 for part in epoch.value.split(",")), epoch


def test_every_topic_is_explained_with_its_values_and_used() -> None:
    assert set(TOPIC_VALUES) == set(Topic) == {epoch.topic for epoch in EPOCHS}
    for topic, values in ALLOWED_VALUES.items():
        assert all(value in TOPIC_VALUES[topic] for value in values), topic


def test_columns_that_mean_something_else_are_columns_of_the_file() -> None:
    for epoch in EPOCHS:
        if epoch.topic is Topic.COLUMN_MEANING:
            (file_format,) = {f.file_format for f in FEEDS.values() if epoch.is_about(f)}
            named = {pair.split("=")[0] for pair in epoch.value.split(",")}
            assert named <= set(file_format.column_names), epoch


def overlapping() -> Iterator[tuple[Epoch, Epoch]]:
    """Pairs of entries of which a day would have two values."""

    def place(epoch: Epoch) -> tuple[str, ...]:
        return (epoch.exchange, epoch.market, epoch.archive_type, epoch.topic)

    exclusive = sorted((epoch for epoch in EPOCHS if epoch.topic in EXCLUSIVE_TOPICS), key=place)
    for _, group in groupby(exclusive, key=place):
        for one, other in combinations(group, 2):
            apart = (one.last or date.max) < (other.first or date.min)
            apart |= (other.last or date.max) < (one.first or date.min)
            if not apart:
                yield one, other


def test_a_day_has_one_value_of_each_exclusive_topic() -> None:
    assert list(overlapping()) == []
    # What the whole archive agrees on holds for all cadences, intervals and symbols.
    for epoch in EPOCHS:
        if epoch.topic in EXCLUSIVE_TOPICS:
            assert (epoch.cadence, epoch.intervals, epoch.symbols) == (None, (), ())


@pytest.mark.parametrize("entry", feeds(), ids=lambda entry: entry.name)
def test_every_day_of_every_feed_has_a_header_rule_and_a_time_unit(entry: Feed) -> None:
    last = entry.last_date or date(2027, 1, 1)
    for topic in (Topic.HEADER, Topic.TIME_UNIT):
        # Values change only at the start and after the end of an entry.
        seams = {entry.first_date, last}
        for epoch in epochs_of(entry, topic):
            seams |= {epoch.first or entry.first_date, (epoch.last or last) + timedelta(days=1)}
        for day in seams:
            if entry.covers(day) and day <= last:
                assert epoch_value(entry, topic, day) in ALLOWED_VALUES[topic], (topic, day)


@pytest.mark.parametrize(
    ("market", "table", "topic", "day", "before", "from_then_on"),
    [
        ("spot", "klines_1m", Topic.TIME_UNIT, "2025-01-01", "ms", "us"),
        ("spot", "agg_trades", Topic.TIME_UNIT, "2025-01-01", "ms", "us"),
        ("spot", "trades", Topic.TIME_UNIT, "2025-01-01", "ms", "us"),
        ("um", "klines_1m", Topic.TIME_UNIT, "2025-01-01", "ms", "ms"),
        ("um", "open_interest", Topic.LABEL, "2026-06-25", "period_end", "period_start"),
        ("cm", "open_interest", Topic.LABEL, "2026-06-25", "period_start", "period_start"),
        ("um", "book_depth", Topic.BANDS, "2026-01-15", "1,2,3,4,5", "0.2,1,2,3,4,5"),
        ("um", "book_depth", Topic.FROZEN, "2026-09-03", None, "0.2,1,2"),
        ("cm", "book_depth", Topic.FROZEN, "2026-09-03", None, None),
        ("spot", "klines_1m", Topic.ALIGNMENT, "2017-12-04", None, "off_grid"),
        ("spot", "klines_1m", Topic.ALIGNMENT, "2017-12-18", "off_grid", None),
        ("spot", "klines_1m", Topic.ALIGNMENT, "2018-02-09", None, "off_grid"),
        ("spot", "klines_1m", Topic.ALIGNMENT, "2018-02-12", "off_grid", None),
    ],
)
def test_known_seams(
    market: str, table: str, topic: Topic, day: str, before: str | None, from_then_on: str | None
) -> None:
    entry, seam = feed("binance", market, table), date.fromisoformat(day)
    assert epoch_value(entry, topic, seam - timedelta(days=1)) == before
    assert epoch_value(entry, topic, seam) == from_then_on


def test_facts_that_hold_on_every_day() -> None:
    day = date(2024, 5, 1)
    um, cm = (feed("binance", market, "funding_rates") for market in ("um", "cm"))
    assert [epoch_value(one, Topic.JITTER, day) for one in (um, cm)] == ["13", "13"]
    assert [epoch_value(one, Topic.INTERVAL, day) for one in (um, cm)] == ["1,4,8", "1,4,8"]
    assert epoch_value(feed("binance", "um", "open_interest"), Topic.ROWS, day) == "288"
    assert epoch_value(feed("binance", "cm", "liquidations"), Topic.DUPLICATES, day) == "all_rows"
    meaning = epoch_value(feed("binance", "cm", "klines_1m"), Topic.COLUMN_MEANING, day) or ""
    assert dict(pair.split("=") for pair in meaning.split(","))["volume"] == "contracts"
    assert epoch_value(feed("binance", "um", "klines_1m"), Topic.COLUMN_MEANING, day) is None
    for market in ("spot", "um", "cm"):
        assert epoch_value(feed("binance", market, "klines_1w"), Topic.ALIGNMENT, day) == "monday"
        assert epoch_value(feed("binance", market, "klines_1d"), Topic.ALIGNMENT, day) is None
        assert epoch_value(feed("binance", market, "klines_1m"), Topic.WITNESS, day) == "daily"
        for name in INTERVALS:
            if name != "1s" or market == "spot":
                expected = "monthly" if name in ("3d", "1w", "1mo") else None
                assert epoch_value(feed("binance", market, f"klines_{name}"), Topic.CADENCE, day) == expected


def test_monthly_only_types_agree_with_the_catalogue() -> None:
    for entry in feeds():
        if epoch_value(entry, Topic.CADENCE, entry.first_date) == "monthly":
            assert entry.archived == (Cadence.MONTHLY,), entry.name


def _known(market: str, table: str, first: str, symbol: str = "", days: int = 1) -> list[str]:
    day = date.fromisoformat(first)
    found = known_faults(feed("binance", market, table), day, day + timedelta(days=days), symbol)
    return [epoch.value for epoch in found]


def test_known_bad_days_by_type_cadence_interval_and_symbol() -> None:
    assert _known("spot", "agg_trades", "2021-12-14") == ["truncated"]
    assert _known("spot", "agg_trades", "2021-12-15") == []
    assert _known("spot", "trades", "2021-12-14") == []
    assert _known("um", "trades", "2025-10-10", "BTCUSDT") == ["ids"]
    assert _known("spot", "klines_1m", "2025-04-22", "ETHUSDT") == ["truncated"]
    assert _known("spot", "klines_1s", "2025-07-30") == ["truncated"]
    assert _known("spot", "klines_1m", "2025-07-30") == []
    assert _known("um", "open_interest", "2024-02-16", "BTCUSDT") == ["truncated"]
    assert _known("um", "open_interest", "2024-02-16", "ETHUSDT") == []
    # The monthly files of 2024-07 are bad; the lake reads the daily ones.
    assert _known("spot", "klines_1m", "2024-07-20") == []
    assert _known("spot", "klines_1mo", "2024-07-01", days=31) == ["truncated"]
    # A month knows of its days: the halts of 2018-06-26 and 27.
    assert _known("spot", "klines_1w", "2018-06-01", days=30) == ["halt", "halt"]


def test_bad_days_have_dates_and_26_days_of_the_volatility_index_are_missing() -> None:
    bad = [epoch for epoch in EPOCHS if epoch.topic is Topic.BAD_DAYS and epoch.exchange == "binance"]
    missing = 0
    for epoch in bad:
        assert epoch.first is not None
        assert epoch.last is not None
        if epoch.archive_type == "BVOLIndex":
            missing += (epoch.last - epoch.first).days + 1
    assert missing == 26
    assert {epoch.market for epoch in bad} == {name for exchange, name in MARKETS if exchange == "binance"}
