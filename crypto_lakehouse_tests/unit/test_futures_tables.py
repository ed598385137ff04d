"""Open interest and liquidations to silver: labels on either side of the seam, blanks, doubled rows, each rule."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from crypto_lakehouse.catalog import Feed, feed
from crypto_lakehouse_tests.unit.tables import RATIOS, T0, bronze, clean, cleaned, csv, instant, of_text, row

pytestmark = pytest.mark.requirement("D11")

UM, CM = (feed("binance", market, "open_interest") for market in ("um", "cm"))
LIQUIDATIONS = feed("binance", "cm", "liquidations")
LAST, SEAM = date(2026, 6, 24), date(2026, 6, 25)
FIVE = timedelta(minutes=5)
both = pytest.mark.parametrize("of", [UM, CM], ids=lambda of: of.name)


def day_of_labels(of: Feed, first: datetime) -> list[dict[str, Any]]:
    return [{**row(of, 0), "create_time": f"{first + n * FIVE:%Y-%m-%d %H:%M:%S}"} for n in range(288)]


def labelled(of: Feed, *labels: str, **change: Any) -> list[dict[str, Any]]:
    return [{**row(of, 0), "create_time": label, **change} for label in labels]


def test_open_interest_with_quotes_blanks_and_a_zero_in_scientific_form() -> None:
    header = ",".join(UM.file_format.column_names).replace("file_symbol", "symbol")
    line = '2023-07-01 00:05:00,BTCUSDT,0E-8,,"",1.25,0.5000000000000000,1.5'
    # The label is said to be the end of the five minutes then: they began at 00:00. One row proves nothing.
    assert clean(UM, bronze(UM, f"{header}\n{line}\n".encode())).rows.to_dicts() == [
        {
            "symbol": "BTCUSDT",
            "label_time": datetime(2023, 7, 1, 0, 5, tzinfo=UTC),
            "period_start": datetime(2023, 7, 1, tzinfo=UTC),
            "known_time": datetime(2023, 7, 1, 0, 10, tzinfo=UTC),
            "is_label_proven": False,
            "open_interest": 0.0,
            "open_interest_value": None,
            "top_trader_account_long_short_ratio": None,
            "top_trader_position_long_short_ratio": 1.25,
            "account_long_short_ratio": 0.5,
            "taker_buy_sell_volume_ratio": 1.5,
            "source": "archive_daily",
        }
    ]


def test_a_row_lies_in_the_day_of_its_label_and_period_start_follows_the_registry() -> None:
    # 2026-06-24: 00:05 .. 00:00 of the 25th, which is left to that day. 2026-06-25: 00:00 .. 23:55.
    ends = day_of_labels(UM, datetime(2026, 6, 24, 0, 5, tzinfo=UTC))
    starts = day_of_labels(UM, datetime(2026, 6, 25, tzinfo=UTC))
    for rows, day, shift, proven in ((ends, LAST, FIVE, True), (starts, SEAM, timedelta(0), False)):
        result = cleaned(UM, rows, day)
        expected = [of_text(r["create_time"]) for r in rows if r["create_time"].startswith(f"{day}")]
        assert result.rows["label_time"].to_list() == expected
        assert result.rows["period_start"].to_list() == [label - shift for label in expected]
        assert set(result.rows["is_label_proven"]) == {proven}
        known = timedelta(0) if proven else FIVE
        assert result.rows["known_time"].to_list() == [label + known for label in expected]
        assert result.rejected["reason"].to_list() == ["outside_partition"] * (288 - len(expected))


def test_a_label_is_proven_only_by_its_own_file() -> None:
    # Both files of a day on which labels are said to be ends: the first shows it, the second, of another symbol, not.
    shows = bronze(UM, csv(UM, day_of_labels(UM, datetime(2026, 6, 24, 0, 5, tzinfo=UTC))))
    not_so = bronze(UM, csv(UM, day_of_labels(UM, datetime(2026, 6, 24, tzinfo=UTC))))
    both = pl.concat([shows, not_so.with_columns(symbol=pl.lit("ETHUSDT"), source_key=pl.lit("other"))])
    renamed = both.with_columns(file_symbol=pl.col("symbol"))
    rows = clean(UM, renamed, LAST).rows
    found = rows.group_by("symbol").agg(pl.col("is_label_proven").unique()).sort("symbol")
    assert found.rows() == [("BTCUSDT", [True]), ("ETHUSDT", [False])]
    # With both midnights a file shows nothing; nor where the registry says that labels are starts.
    longer = [*labelled(UM, "2026-06-24 00:00:00"), *day_of_labels(UM, datetime(2026, 6, 24, 0, 5, tzinfo=UTC))]
    assert not cleaned(UM, longer, LAST).rows["is_label_proven"].any()
    late = day_of_labels(UM, datetime(2026, 6, 25, 0, 5, tzinfo=UTC))
    assert not cleaned(UM, late, SEAM).rows["is_label_proven"].any()


def test_coin_margined_labels_have_always_been_starts() -> None:
    midnight = datetime(2026, 6, 24, tzinfo=UTC)
    result = cleaned(CM, day_of_labels(CM, midnight), LAST)
    assert result.rows["period_start"].to_list() == [midnight + n * FIVE for n in range(288)]


@pytest.mark.parametrize(
    ("label", "start"),
    [
        ("2026-06-25 00:04:57", "00:05"),
        ("2026-06-25 00:05:03", "00:05"),
        ("2026-06-25 00:04:00", "00:05"),
        ("2026-06-25 00:06:00", "00:05"),
        ("2026-06-25 23:55:59", "23:55"),
    ],
)
def test_labels_off_the_grid_are_rounded_to_it(label: str, start: str) -> None:
    result = cleaned(UM, labelled(UM, label), SEAM)
    rounded = of_text(f"2026-06-25 {start}:00")
    assert result.rows.select("period_start", "label_time").rows() == [(rounded, rounded)]


RULES: list[tuple[str, dict[str, Any]]] = [
    ("bad_time", {"create_time": ""}),
    ("bad_time", {"create_time": "2026-06-25 24:00:00"}),
    ("bad_time", {"create_time": "1782345600000"}),
    ("off_grid", {"create_time": "2026-06-25 00:06:01"}),
    ("off_grid", {"create_time": "2026-06-25 00:03:59"}),
    ("outside_partition", {"create_time": "2026-06-24 23:55:00"}),
    ("outside_partition", {"create_time": "2026-06-26 00:00:00"}),
    ("outside_partition", {"create_time": "2026-06-25 23:59:30"}),  # rounded to the next day
    ("foreign_symbol", {"file_symbol": "ETHUSDT"}),
    ("foreign_symbol", {"file_symbol": ""}),
    *(("negative_value", {name: -1}) for name in RATIOS.values()),
    *(("not_finite", {name: "nan"}) for name in RATIOS.values()),
]


@pytest.mark.requirement("D3", "F3.3")
@both
@pytest.mark.parametrize(("reason", "change"), RULES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(RULES)])
def test_open_interest_that_breaks_a_rule_is_rejected(of: Feed, reason: str, change: dict[str, Any]) -> None:
    first, bad, last = labelled(of, "2026-06-25 00:00:00", "2026-06-25 00:05:00", "2026-06-25 00:10:00")
    result = cleaned(of, [first, {**bad, **change}, last], SEAM)
    assert result.rows["period_start"].to_list() == [of_text(first["create_time"]), of_text(last["create_time"])]
    [rejected] = result.rejected.to_dicts()
    assert (rejected["reason"], rejected["source_line"]) == (reason, 2)
    assert rejected["detail"]


@pytest.mark.requirement("D2")
def test_of_one_period_the_most_values_then_the_nearest_label_then_the_last_line_survives() -> None:
    on, near, far = "2026-06-25 00:05:00", "2026-06-25 00:04:59", "2026-06-25 00:05:10"
    poor = labelled(UM, on, sum_open_interest=None)
    assert cleaned(UM, [*labelled(UM, far), *poor], SEAM).rows["open_interest"].to_list() == [1.5]
    nearest = [*labelled(UM, near, sum_open_interest=4.0), *labelled(UM, far, sum_open_interest=5.0)]
    assert cleaned(UM, nearest, SEAM).rows["open_interest"].to_list() == [4.0]
    two = [*labelled(UM, on, sum_open_interest=3.0), *labelled(UM, on, sum_open_interest=2.0)]
    result = cleaned(UM, two, SEAM)
    assert result.rows["open_interest"].to_list() == [2.0]
    assert result.rejected.select("source_line", "reason").rows() == [(1, "duplicate_conflict")]


def test_a_liquidation() -> None:
    header = ",".join(LIQUIDATIONS.file_format.column_names)
    line = "1688169600123,BUY,LIMIT,IOC,12,30500.5,30480.1,FILLED,5,12"
    result = clean(LIQUIDATIONS, bronze(LIQUIDATIONS, f"{header}\n{line}\n{line}\n".encode()))
    assert result.rows.to_dicts() == [
        {
            "symbol": "BTCUSD_PERP",
            "time": instant(T0 + 123),
            "side": "BUY",
            "order_type": "LIMIT",
            "time_in_force": "IOC",
            "order_status": "FILLED",
            "price": 30500.5,
            "average_price": 30480.1,
            "original_contracts": 12,
            "last_fill_contracts": 5,
            "filled_contracts": 12,
            "source": "archive_daily",
        }
    ]
    # Written twice: one row, the first line in the quarantine.
    assert result.rejected.select("source_line", "reason").rows() == [(2, "duplicate")]


@pytest.mark.parametrize("column", [n for n in LIQUIDATIONS.file_format.column_names if n != "time"])
def test_liquidations_that_differ_in_any_value_are_separate_rows(column: str) -> None:
    other = {"side": "BUY", "order_type": "MARKET", "time_in_force": "GTC", "order_status": "NEW"}.get(column, 5)
    result = cleaned(LIQUIDATIONS, [row(LIQUIDATIONS, 0), {**row(LIQUIDATIONS, 0), column: other}])
    assert result.rows.height == 2
    assert result.rejected.is_empty()


LIQUIDATION_RULES: list[tuple[str, dict[str, Any]]] = [
    ("bad_time", {"time": T0 // 1000}),
    ("outside_partition", {"time": T0 - 1}),
    ("outside_partition", {"time": T0 + 86_400_000}),
    ("unknown_side", {"side": "LONG"}),
    ("unknown_side", {"side": ""}),
    ("not_finite", {"price": "nan"}),
    ("not_finite", {"average_price": "inf"}),
    ("price_not_positive", {"price": 0}),
    ("price_not_positive", {"average_price": -1}),
    *(("contracts_not_whole", {f"{name}_quantity": 1.5}) for name in ("original", "last_fill", "accumulated_fill")),
    *(("negative_quantity", {f"{name}_quantity": -1}) for name in ("original", "last_fill", "accumulated_fill")),
]


@pytest.mark.requirement("D3", "F3.3")
@pytest.mark.parametrize(
    ("reason", "change"), LIQUIDATION_RULES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(LIQUIDATION_RULES)]
)
def test_a_liquidation_that_breaks_a_rule_is_rejected(reason: str, change: dict[str, Any]) -> None:
    rows = [row(LIQUIDATIONS, 0), {**row(LIQUIDATIONS, 1), **change}, row(LIQUIDATIONS, 2)]
    result = clean(LIQUIDATIONS, bronze(LIQUIDATIONS, csv(LIQUIDATIONS, rows)))
    assert result.rows["time"].to_list() == [instant(T0), instant(T0 + 2)]
    [rejected] = result.rejected.to_dicts()
    assert (rejected["reason"], rejected["source_line"]) == (reason, 2)


def test_an_order_without_a_fill_has_an_average_price_of_zero() -> None:
    change = {"average_price": 0, "last_fill_quantity": 0, "accumulated_fill_quantity": 0, "order_status": "NEW"}
    assert cleaned(LIQUIDATIONS, [{**row(LIQUIDATIONS, 0), **change}]).rejected.is_empty()
