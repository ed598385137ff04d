"""Book depth and book ticker to silver: both spellings of the bands, times at midnight, empty sides, each rule."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import feed
from crypto_lakehouse_tests.unit.tables import DAY, MIDNIGHT, T0, bronze, clean, cleaned, instant, row

pytestmark = pytest.mark.requirement("D11")

DEPTH, TICKER = (feed("binance", "um", table) for table in ("book_depth", "book_ticker"))
CHANGE = date(2026, 1, 15)
EDGES = ("0.20", "1.00", "2.00", "3.00", "4.00", "5.00")


def test_the_day_on_which_the_bands_changed_holds_both_spellings() -> None:
    text = "\n".join(
        [
            "timestamp,percentage,depth,notional",
            *(f"2026-01-15 07:59:30,{edge},10.5,1050" for edge in (-5, -4, -3, -2, -1, 1, 2, 3, 4, 5)),
            *(
                f"2026-01-15 08:00:00,{edge},10.50000000,1050.00"
                for edge in (*(f"-{e}" for e in reversed(EDGES)), *EDGES)
            ),
        ]
    )
    result = clean(DEPTH, bronze(DEPTH, f"{text}\n".encode()), CHANGE)
    assert result.rejected.is_empty()
    early, late = (datetime(2026, 1, 15, 7, 59, 30, tzinfo=UTC), datetime(2026, 1, 15, 8, tzinfo=UTC))
    edges = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert result.rows.select("time", "percentage").rows() == [
        *((early, edge) for edge in [*(-e for e in reversed(edges)), *edges]),
        *((late, edge) for edge in [*(-e for e in reversed(edges)), -0.2, 0.2, *edges]),
    ]
    assert result.rows.row(0, named=True) == {
        "symbol": "BTCUSDT",
        "time": early,
        "percentage": -5.0,
        "depth": 10.5,
        "notional": 1050.0,
        "source": "archive_daily",
    }


DEPTH_RULES: list[tuple[str, dict[str, Any]]] = [
    ("bad_time", {"timestamp": "2023-07-01"}),
    ("bad_time", {"timestamp": T0}),
    ("outside_partition", {"timestamp": "2023-06-30 23:59:59"}),
    ("outside_partition", {"timestamp": "2023-07-02 00:00:00"}),
    *(("no_band", {"percentage": edge}) for edge in (0, "nan", "inf")),
    ("not_finite", {"depth": "nan"}),
    ("not_finite", {"notional": "inf"}),
    ("negative_depth", {"depth": -1}),
    ("negative_depth", {"notional": -0.1}),
]


@pytest.mark.requirement("D3", "F3.3")
@pytest.mark.parametrize(("reason", "change"), DEPTH_RULES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(DEPTH_RULES)])
def test_depth_that_breaks_a_rule_is_rejected(reason: str, change: dict[str, Any]) -> None:
    result = cleaned(DEPTH, [row(DEPTH, 0), {**row(DEPTH, 1), **change}, row(DEPTH, 2)])
    assert [time.second for time in result.rows["time"]] == [0, 2]
    [rejected] = result.rejected.to_dicts()
    assert (rejected["reason"], rejected["source_line"]) == (reason, 2)
    assert rejected["detail"]


def test_an_empty_band_is_a_row() -> None:
    assert cleaned(DEPTH, [{**row(DEPTH, 0), "depth": 0, "notional": 0}]).rows["depth"].to_list() == [0.0]


@pytest.mark.requirement("D2")
def test_of_one_band_the_greatest_depth_then_notional_then_the_last_line_survives() -> None:
    changes = [{"depth": 5, "notional": 3}, {"depth": 5, "notional": 4}, {"depth": 4, "notional": 9}]
    spelt = [{**row(DEPTH, 0), "percentage": text, **c} for text, c in zip(("-1", "-1.00", "-1"), changes, strict=True)]
    result = cleaned(DEPTH, spelt)
    assert result.rows.select("depth", "notional").rows() == [(5.0, 4.0)]
    assert sorted(result.rejected["source_line"]) == [1, 3]
    assert set(result.rejected["reason"]) == {"duplicate_conflict"}


def test_a_change_of_the_best_bid_and_ask() -> None:
    header = ",".join(TICKER.file_format.column_names)
    line = "2857331945,30450.10000000,3.25000000,30450.20000000,12.50000000,1688169600004,1688169600010"
    assert clean(TICKER, bronze(TICKER, f"{header}\n{line}\n".encode())).rows.to_dicts() == [
        {
            "symbol": "BTCUSDT",
            "update_id": 2857331945,
            "transaction_time": instant(T0 + 4),
            "event_time": instant(T0 + 10),
            "best_bid_price": 30450.1,
            "best_bid_quantity": 3.25,
            "best_ask_price": 30450.2,
            "best_ask_quantity": 12.5,
            "source": "archive_daily",
        }
    ]


@pytest.mark.parametrize(
    ("transaction", "event", "inside"),
    [
        (T0, T0 + 5, True),
        (T0 + 86_399_999, T0 + 86_400_003, True),
        (T0 - 5, T0, False),
        (T0 + 86_400_000, T0 + 86_400_000, False),
    ],
)
def test_a_change_at_midnight_belongs_to_the_day_of_its_transaction_time(
    transaction: int, event: int, inside: bool
) -> None:
    result = cleaned(TICKER, [{**row(TICKER, 0), "transaction_time": transaction, "event_time": event}])
    assert (result.rows.height, result.rejected["reason"].to_list()) == (
        (1, []) if inside else (0, ["outside_partition"])
    )


@pytest.mark.requirement("D2", "F6.1")
@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 9), st.sampled_from(["one", "other", "both"]))))
def test_days_read_one_by_one_are_the_days_read_at_once(changes: list[tuple[int, int, str]]) -> None:
    midnight = T0 + 86_400_000
    noon = [{"transaction_time": T0 + day * 86_400_000 + 43_200_000, "event_time": midnight} for day in range(2)]
    filed = {day: [{**row(TICKER, 0), **noon[day], "update_id": 1000 + day}] for day in range(2)}
    for number, (ms, delay, where) in enumerate(sorted(changes)):
        times = {"transaction_time": midnight + ms, "event_time": midnight + ms + delay}
        change = {**row(TICKER, 0), **times, "update_id": number}
        own = int(ms >= 0)
        for day in {"one": [own], "other": [1 - own], "both": [0, 1]}[where]:
            filed[day].append(change)
    edges = [DAY + timedelta(days=n) for n in range(3)]
    refused = 0
    with tempfile.TemporaryDirectory() as name:
        for n, changes_of_day in filed.items():
            made = cleaned(TICKER, changes_of_day, edges[n])
            refused += made.rejected.height
            assert set(made.rejected["reason"]) <= {"outside_partition"}
            path = Path(name, f"silver/book_ticker/exchange=binance/market=um/date={edges[n]}/part-0.parquet")
            path.parent.mkdir(parents=True)
            made.rows.write_parquet(path)
        lake = Lakehouse(name)
        read = [
            lake.scan("silver.book_ticker", market="um", start=a, end=b).collect()
            for a, b in ((edges[0], edges[1]), (edges[1], edges[2]), (edges[0], edges[2]))
        ]
    assert pl.concat(read[:2]).equals(read[2])
    assert read[2]["update_id"].is_unique().all()
    assert read[2].height + refused == sum(map(len, filed.values()))
    assert read[2].height == 2 + sum(where != "other" for _, _, where in changes)


TICKER_RULES: list[tuple[str, dict[str, Any]]] = [
    ("bad_time", {"transaction_time": 0}),
    ("bad_time", {"event_time": T0 // 1000}),
    ("negative_id", {"update_id": -1}),
    *(("not_finite", {f"best_{side}": "nan"}) for side in ("bid_price", "bid_qty", "ask_price", "ask_qty")),
    *(("negative_quantity", {f"best_{side}_qty": -1}) for side in ("bid", "ask")),
    *(("price_not_positive", {f"best_{side}_price": price}) for side in ("bid", "ask") for price in (0, -1)),
    ("crossed_book", {"best_bid_price": 81.5}),
]


@pytest.mark.requirement("D3", "F3.3")
@pytest.mark.parametrize(("reason", "change"), TICKER_RULES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(TICKER_RULES)])
def test_a_change_that_breaks_a_rule_is_rejected(reason: str, change: dict[str, Any]) -> None:
    result = cleaned(TICKER, [row(TICKER, 0), {**row(TICKER, 1), **change}, row(TICKER, 2)])
    assert result.rows["update_id"].to_list() == [500, 502]
    [rejected] = result.rejected.to_dicts()
    assert (rejected["reason"], rejected["source_line"]) == (reason, 2)
    assert rejected["detail"]


@pytest.mark.parametrize(
    "change",
    [
        {"best_bid_price": 0, "best_bid_qty": 0},
        {"best_ask_price": 0, "best_ask_qty": 0},
        {"best_bid_price": 81.0},
        {"best_bid_qty": 0},
    ],
    ids=["no bid", "no ask", "bid equals ask", "nothing left at the bid"],
)
def test_an_empty_side_and_a_locked_book_are_rows(change: dict[str, Any]) -> None:
    assert cleaned(TICKER, [{**row(TICKER, 0), **change}]).rejected.is_empty()


@pytest.mark.requirement("D2")
def test_of_one_update_id_the_latest_event_then_the_last_line_survives() -> None:
    rows = [{**row(TICKER, 0), "event_time": T0 + ms, "best_bid_qty": q} for ms, q in ((9, 1), (9, 2), (3, 3))]
    result = cleaned(TICKER, rows, DAY)
    assert result.rows.select("best_bid_quantity", "event_time").rows() == [(2.0, instant(T0 + 9))]
    assert sorted(result.rejected["source_line"]) == [1, 3]
    assert result.rows["transaction_time"].item() == MIDNIGHT
