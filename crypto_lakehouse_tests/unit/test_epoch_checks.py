"""Rows against the epoch registry: each kind of deviation is counted and named; correct rows give no finding."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from crypto_lakehouse.catalog import FEEDS, feed
from crypto_lakehouse.catalog.epochs import Topic, epoch_value, epochs_of
from crypto_lakehouse.transforms.checks.epochs import BRONZE_CHECKS, SILVER_CHECKS, check_epochs, checks_of

pytestmark = pytest.mark.requirement("D12")

ISSUES = "https://github.com/binance/binance-public-data/issues/"


def ms(text: str) -> int:
    """Milliseconds since the Unix epoch of a UTC time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def fills(times: dict[str, list[int]]) -> pl.LazyFrame:
    """Bronze trades, as far as their times: file name to times."""
    rows = [(key.split("-")[0], key, time) for key, many in times.items() for time in many]
    return pl.LazyFrame(rows, schema={"symbol": pl.String, "source_key": pl.String, "time": pl.Int64}, orient="row")


def test_a_file_in_another_unit_is_named() -> None:
    spot, day = feed("binance", "spot", "trades"), "2025-01-01"
    good, late = ms(day) * 1000, ms(day)
    rows = fills({"BTCUSDT-trades-1": [good, good + 1], "ETHUSDT-trades-1": [good, late, late + 1]})
    [(symbol, text)] = check_epochs("bronze", rows, spot, day)
    said = "the registry says us: Times in microseconds; close_time ends in 999999. (seen in files, "
    assert (symbol, text.split(ISSUES)[0]) == ("ETHUSDT", f"ETHUSDT-trades-1: 2 times in time are not in us; {said}")
    # The day before, milliseconds are right; on futures they are right for good.
    before = ms("2024-12-31")
    assert check_epochs("bronze", fills({"BTCUSDT-trades-1": [before]}), spot, "2024-12-31") == []
    assert check_epochs("bronze", fills({"BTCUSDT-trades-1": [late]}), feed("binance", "um", "trades"), day) == []
    assert check_epochs("bronze", fills({"BTCUSDT-trades-1": [before * 1000]}), spot, "2024-12-31") != []


def test_each_time_column_is_looked_at() -> None:
    row = {"symbol": ["BTCUSDT"], "source_key": ["k"], "open_time": [ms("2024-05-01")]}
    rows = pl.LazyFrame({**row, "close_time": [ms("2024-05-01") * 1000]})
    found = check_epochs("bronze", rows, feed("binance", "um", "klines_1m"), "2024-05-01")
    said = "the registry says ms: Times in milliseconds, also in 2026. (seen in files)"
    assert found == [("BTCUSDT", f"k: 1 times in close_time are not in ms; {said}")]
    month = check_epochs("bronze", rows, feed("binance", "spot", "klines_1mo"), "2025-01")
    assert [text.split("; ")[0] for _, text in month] == ["k: 1 times in open_time are not in us"]


def test_every_feed_with_numbers_as_times_is_checked_and_has_a_unit() -> None:
    for entry in FEEDS.values():
        unit = epoch_value(entry, Topic.TIME_UNIT, entry.first_date)
        checked = unit in ("ms", "us") or entry.schema in BRONZE_CHECKS
        assert (checks_of("bronze", entry) is not None) is checked, entry.name
        assert checks_of("silver", entry) is SILVER_CHECKS.get(entry.schema)
    assert checks_of("gold", feed("binance", "um", "klines_1m")) is None
    assert check_epochs("silver", pl.LazyFrame(), feed("binance", "um", "klines_1m"), "2024-05-01") == []


def book(frozen: tuple[float, ...], bands: tuple[float, ...], looks: int = 20, symbol: str = "SOLUSDT") -> pl.LazyFrame:
    """Silver book_depth: every band moves, but for those that are frozen."""
    rows = [
        (symbol, band, *((5.0, 7.0) if band in frozen else (5.0 + look, 7.0 + look)))
        for look in range(looks)
        for band in bands
    ]
    return pl.LazyFrame(rows, schema=["symbol", "percentage", "depth", "notional"], orient="row")


WHOLE = tuple(float(sign * edge) for sign in (-1, 1) for edge in (1, 2, 3, 4, 5))
DECIMALS = (*WHOLE, -0.2, 0.2)
UM_BOOK = feed("binance", "um", "book_depth")


def test_a_band_that_stands_still_while_others_move_is_frozen() -> None:
    assert check_epochs("silver", book((), WHOLE), UM_BOOK, "2025-05-01") == []
    found = check_epochs("silver", book((2.0,), WHOLE), UM_BOOK, "2025-05-01")
    assert found == [("SOLUSDT", "frozen: band +2 % never changes in 20 rows, while others do")]
    # If no band changes, the book is inactive; and a few rows prove nothing.
    assert check_epochs("silver", book(WHOLE, WHOLE), UM_BOOK, "2025-05-01") == []
    assert check_epochs("silver", book((2.0,), WHOLE, looks=9), UM_BOOK, "2025-05-01") == []


def test_known_frozen_bands_are_marked_as_known() -> None:
    found = check_epochs("silver", book((0.2, 3.0), DECIMALS), UM_BOOK, "2026-09-05")
    assert [symbol for symbol, _ in found] == ["SOLUSDT", "SOLUSDT"]
    inner, outer = (text for _, text in found)
    assert inner.startswith("frozen: band +0.2 % never changes in 20 rows, while others do; known: The ask bands")
    assert inner.endswith(f"({ISSUES}496)")
    # The thread names +0.2, +1 and +2: a frozen +3 is news.
    assert outer == "frozen: band +3 % never changes in 20 rows, while others do"
    before = check_epochs("silver", book((0.2,), DECIMALS), UM_BOOK, "2026-09-02")
    assert before == [("SOLUSDT", "frozen: band +0.2 % never changes in 20 rows, while others do")]


def test_a_band_with_changing_notional_is_not_frozen_and_symbols_are_separate() -> None:
    rows = book((2.0,), WHOLE).with_columns(
        notional=pl.when(pl.col("percentage") == 2).then(pl.int_range(pl.len())).otherwise("notional")
    )
    assert check_epochs("silver", rows, UM_BOOK, "2025-05-01") == []
    both = pl.concat([book((), WHOLE), book(WHOLE, WHOLE, symbol="DEADUSDT")])
    assert check_epochs("silver", both, UM_BOOK, "2025-05-01") == []


def test_a_band_that_the_day_does_not_have_is_named() -> None:
    found = check_epochs("silver", book((), DECIMALS), UM_BOOK, "2026-01-14")
    fact = "Ten bands, written as whole numbers. (seen in files)"
    known = f"is not one of ±1, ±2, ±3, ±4, ±5; the registry says 1,2,3,4,5: {fact}"
    assert found == [("SOLUSDT", f"band +0.2 % {known}"), ("SOLUSDT", f"band -0.2 % {known}")]
    assert check_epochs("silver", book((), DECIMALS), UM_BOOK, "2026-01-15") == []


def test_days_with_more_or_fewer_periods_are_named_with_what_is_known() -> None:
    times = {
        (symbol, day): [
            datetime.fromisoformat(day).replace(tzinfo=UTC) + n * timedelta(minutes=5) for n in range(count)
        ]
        for day in ("2024-05-01", "2024-02-16")
        for symbol, count in (("BTCUSDT", 163), ("ETHUSDT", 288), ("SOLUSDT", 289))
    }

    def labels(day: str) -> pl.LazyFrame:
        of_day = [(symbol, label) for (symbol, its), many in times.items() if its == day for label in many]
        return pl.LazyFrame(of_day, schema={"symbol": pl.String, "label_time": pl.Datetime("us", "UTC")}, orient="row")

    um = feed("binance", "um", "open_interest")
    assert check_epochs("silver", labels("2024-05-01"), um, "2024-05-01") == [
        ("BTCUSDT", "163 rows; a whole day has 288"),
        ("SOLUSDT", "289 rows; a whole day has 288"),
    ]
    without = labels("2024-05-01").filter(pl.col("label_time") != datetime(2024, 5, 1, tzinfo=UTC))
    assert dict(check_epochs("silver", without, um, "2024-05-01"))["ETHUSDT"] == (
        "287 rows; a whole day has 288; the row of 00:00 may be in the file of the day before"
    )
    known = dict(check_epochs("silver", labels("2024-02-16"), um, "2024-02-16"))
    assert known["BTCUSDT"] == (
        f"163 rows; a whole day has 288; known: BTCUSDT ends at 13:30, with 163 rows. ({ISSUES}335, {ISSUES}350)"
    )
    assert known["SOLUSDT"] == "289 rows; a whole day has 288"


def metrics(files: dict[str, str]) -> pl.LazyFrame:
    """Bronze metrics, as far as their labels: symbol to the first label of 288."""
    rows = [
        (symbol, f"{symbol}.zip", f"{datetime.fromisoformat(first) + n * timedelta(minutes=5):%Y-%m-%d %H:%M:%S}")
        for symbol, first in files.items()
        for n in range(288)
    ]
    return pl.LazyFrame(rows, schema=["symbol", "source_key", "create_time"], orient="row")


def test_files_whose_labels_contradict_the_registry_are_named_with_its_fact() -> None:
    um, cm = (feed("binance", market, "open_interest") for market in ("um", "cm"))
    whole, late = "2024-01-02 00:00:00", "2024-01-02 00:05:00"
    ends, starts = (next(e for e in epochs_of(of, Topic.LABEL) if e.holds_on(date(2024, 1, 2))) for of in (um, cm))
    found = check_epochs("bronze", metrics({"AUSDT": late, "BUSDT": whole, "CUSDT": whole}), um, "2024-01-02")
    assert found == [
        (
            "BUSDT",
            "BUSDT.zip and 1 more files have labels of 00:00 to 23:55 of their own date; the registry says period_end:"
            f" {ends.text} ({ISSUES}491)",
        )
    ]
    assert check_epochs("bronze", metrics({"AUSDT": late}), um, "2024-01-02") == []
    [(symbol, text)] = check_epochs("bronze", metrics({"A": whole, "B": late}), cm, "2024-01-02")
    assert (symbol, text) == (
        "B",
        f"B.zip has labels of 00:05 to 00:00 of the next day; the registry says period_start: {starts.text}"
        f" ({ISSUES}491)",
    )


def funding(events: list[tuple[str, int, int]]) -> pl.LazyFrame:
    """Silver funding_rates of BTCUSDT: hour, milliseconds after it, interval."""
    hours = [datetime.fromisoformat(hour).replace(tzinfo=UTC) for hour, _, _ in events]
    times = [hour + timedelta(milliseconds=late) for hour, (_, late, _) in zip(hours, events, strict=True)]
    return pl.LazyFrame(
        {
            "symbol": ["BTCUSDT"] * len(events),
            "funding_time": pl.Series(times, dtype=pl.Datetime("us", "UTC")),
            "funding_hour": pl.Series(hours, dtype=pl.Datetime("us", "UTC")),
            "interval_hours": [interval for _, _, interval in events],
        }
    )


UM_FUNDING = feed("binance", "um", "funding_rates")


def test_sound_funding_events_also_where_the_interval_changes() -> None:
    # 8 h to 16:00, then 4 h: the change shows at 16:00 or at 20:00, whichever row states it first.
    for at_change in (4, 8):
        events = [("2024-05-01T00:00", 0, 8), ("2024-05-01T08:00", 13, 8), ("2024-05-01T16:00", 5, at_change)]
        events += [("2024-05-01T20:00", 0, 4), ("2024-05-02T00:00", 1, 4)]
        assert check_epochs("silver", funding(events), UM_FUNDING, "2024-05") == []


def test_funding_events_out_of_step_late_or_of_an_unknown_interval() -> None:
    events = [
        ("2024-05-01T00:00", 0, 8),
        ("2024-05-01T16:00", 14, 8),
        ("2024-05-01T18:00", 0, 2),
        ("2024-05-02T00:00", 0, 8),
    ]
    jitter, interval = (epochs_of(UM_FUNDING, topic)[0] for topic in (Topic.JITTER, Topic.INTERVAL))
    late = f"the registry says 13: {jitter.text} ({jitter.source})"
    other = f"the registry says 1,4,8: {interval.text} ({interval.source})"
    assert check_epochs("silver", funding(events), UM_FUNDING, "2024-05") == [
        # 14 ms is one more than the archive ever was.
        ("BTCUSDT", f"1 events more than 13 ms after the hour, first 2024-05-01 16:00:00; {late}"),
        ("BTCUSDT", f"1 events with an interval_hours that is not one of 1, 4, 8, first 2024-05-01 18:00:00; {other}"),
        # 16 h where 8 h belong, and 6 h where 8 or 2 h belong; 2 h is what the third event says.
        ("BTCUSDT", "2 events not interval_hours after the event before, first 2024-05-01 16:00:00"),
    ]


def test_an_empty_partition_has_no_findings() -> None:
    for entry, rows in (
        (UM_BOOK, book((), WHOLE).clear()),
        (UM_FUNDING, funding([("2024-05-01T00:00", 0, 8)]).clear()),
    ):
        key = "2024-05" if entry is UM_FUNDING else "2024-05-01"
        assert check_epochs("silver", rows, entry, key) == []
    with pytest.raises(ValueError, match="YYYY-MM"):
        check_epochs("silver", funding([]), UM_FUNDING, "2024-05-01")
