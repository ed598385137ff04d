"""Trades of the sample archive: they add up to the klines, and their ids and quirks are as documented."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections import defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_lakehouse.archive.unzip import iter_member
from crypto_lakehouse.catalog import feed
from crypto_lakehouse.sample.bars import Bars, base_coin
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.coins import MISSING_MINUTES
from crypto_lakehouse.sample.fills import base_quantities, fills_of, fine_decimals, order_count, orders_of
from crypto_lakehouse.transforms.parse import parse_csv
from crypto_lakehouse_tests.unit.sample_reading import lines, one, rows

pytestmark = pytest.mark.requirement("F2.7")

DAYS = ("2024-12-31", "2025-01-01")
FOLDERS = {"spot": "spot", "um": "futures/um", "cm": "futures/cm"}
TRADES = 12_000
PRICES = ("open", "high", "low", "close")
SUMS = ("volume", "quote", "count", "taker", "taker_quote")
Bar = dict[str, Decimal]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("archive")
    tables = ("klines_1m", "trades", "agg_trades")
    make_sample(root, symbols=3, days=2, start=date(2024, 12, 31), tables=tables, trades_per_day=TRADES)
    return root


def file_of(root: Path, market: str, kind: str, coin: str, day: str) -> Path:
    symbol = f"{coin}USD_PERP" if market == "cm" else f"{coin}USDT"
    return one(root, f"{FOLDERS[market]}/daily/**/{symbol}-{kind}-{day}")


def milliseconds(time: str) -> int:
    return int(time[:13])


def klines(path: Path) -> dict[int, Bar]:
    names = (*PRICES, "volume", "end", "quote", "count", "taker", "taker_quote")
    return {
        milliseconds(row[0]): {n: Decimal(v) for n, v in zip(names, row[1:], strict=False) if n != "end"}
        for row in rows(path)
    }


def built(rows: list[tuple[int, Decimal, Decimal, Decimal, int, bool]], length: int) -> dict[int, Bar]:
    """Bars of (ms, price, quantity, amount, count, whether the seller was the taker), in order."""
    bars: dict[int, Bar] = {}
    sums: dict[int, Bar] = defaultdict(lambda: dict.fromkeys(SUMS, Decimal()))
    for time, price, quantity, amount, count, sold in rows:
        start = time // length * length
        bar = bars.setdefault(start, {"open": price, "high": price, "low": price})
        bar |= {"high": max(bar["high"], price), "low": min(bar["low"], price), "close": price}
        total = sums[start]
        total["volume"] += quantity
        total["quote"] += amount
        total["count"] += count
        total["taker"] += 0 if sold else quantity
        total["taker_quote"] += 0 if sold else amount
    return {start: bar | sums[start] for start, bar in bars.items()}


@pytest.mark.parametrize("market", FOLDERS)
def test_klines_are_what_trades_and_aggregates_add_up_to(sample: Path, market: str) -> None:
    for day in DAYS:
        wanted = klines(file_of(sample, market, "1m", "BTC", day))
        singles = [
            (milliseconds(r[4]), Decimal(r[1]), Decimal(r[2]), Decimal(r[3]), 1, r[5].lower() == "true")
            for r in rows(file_of(sample, market, "trades", "BTC", day))
        ]
        assert len(singles) == TRADES
        assert built(singles, 60_000) == wanted
        aggregates = []
        for row in rows(file_of(sample, market, "aggTrades", "BTC", day)):
            price, quantity, count = Decimal(row[1]), Decimal(row[2]), int(row[4]) - int(row[3]) + 1
            amount = quantity * 100 / price if market == "cm" else quantity * price
            aggregates.append((milliseconds(row[5]), price, quantity, amount, count, row[6].lower() == "true"))
        rebuilt = built(aggregates, 60_000)
        if market == "cm":
            # Base coin is not linear in the price: 100 USD a contract / price, to a millionth of the bar.
            for start, bar in rebuilt.items():
                for name in ("quote", "taker_quote"):
                    assert abs(bar[name] - wanted[start][name]) <= wanted[start]["quote"] * Decimal("1e-6")
                    bar[name] = wanted[start][name]
        assert rebuilt == wanted


def test_seconds_are_what_trades_add_up_to_and_add_up_to_minutes(tmp_path: Path) -> None:
    tables = ("klines_1m", "klines_1s", "trades")
    make_sample(tmp_path, 1, 1, date(2025, 1, 1), tables=tables, markets=("spot",), trades_per_day=TRADES)
    seconds = klines(one(tmp_path, "**/*-1s-*"))
    assert len(seconds) == 86_400
    singles = [
        (milliseconds(r[4]), Decimal(r[1]), Decimal(r[2]), Decimal(r[3]), 1, r[5] == "True")
        for r in rows(one(tmp_path, "**/*-trades-*"))
    ]
    assert built(singles, 1_000) == {start: bar for start, bar in seconds.items() if bar["count"]}
    close = None
    for bar in seconds.values():
        if not bar["count"]:
            assert {bar[name] for name in PRICES} == {close}
        close = bar["close"]
    minutes: dict[int, Bar] = {}
    for start, bar in seconds.items():
        total = minutes.setdefault(start // 60_000 * 60_000, bar | dict.fromkeys(SUMS, Decimal()))
        total |= {"high": max(total["high"], bar["high"]), "low": min(total["low"], bar["low"])}
        total |= {"close": bar["close"]} | {name: total[name] + bar[name] for name in SUMS}
    assert minutes == klines(one(tmp_path, "**/*-1m-*"))


@pytest.mark.parametrize("market", FOLDERS)
@pytest.mark.parametrize("kind", ["trades", "aggTrades"])
def test_files_have_the_form_of_their_market(sample: Path, market: str, kind: str) -> None:
    table = "trades" if kind == "trades" else "agg_trades"
    file_format = feed("binance", market, table).file_format
    headed = set()
    for day in DAYS:
        path = file_of(sample, market, kind, "BTC", day)
        parsed = parse_csv(b"".join(iter_member(path, path.with_suffix(".csv").name)), file_format)
        assert not parsed.rejected
        headed.add(parsed.rows["source_line"][0] == 2)
        flags = {v for name in file_format.column_names if name.startswith("is_") for v in parsed.rows[name].unique()}
        assert flags == ({"True", "False"} if market == "spot" else {"true", "false"})
        unit = 1_000_000 if market == "spot" and day == "2025-01-01" else 1_000
        times = parsed.rows[file_format.time_columns[0]]
        assert times.is_sorted()
        days = {datetime.fromtimestamp(t / unit, UTC).date().isoformat() for t in times.gather([0, -1])}
        assert days == {day}
    assert market != "spot" or headed == {False}


def test_futures_files_have_a_header_or_none_after_their_day(tmp_path: Path) -> None:
    make_sample(tmp_path, 1, 4, date(2025, 3, 1), tables=("trades",), markets=("um", "cm"), trades_per_day=10_080)
    for market in ("um", "cm"):
        found = sorted((tmp_path / "data" / FOLDERS[market] / "daily/trades").rglob("*.zip"))
        assert sorted(lines(path)[0][0].isdigit() for path in found) == [False, False, False, True]


@pytest.mark.parametrize("market", FOLDERS)
def test_ids_go_on_over_days_and_aggregates_cover_all_trades(sample: Path, market: str) -> None:
    ids, orders, covered = [], [], []
    for day in DAYS:
        ids += [int(r[0]) for r in rows(file_of(sample, market, "trades", "BTC", day))]
        for row in rows(file_of(sample, market, "aggTrades", "BTC", day)):
            orders.append(int(row[0]))
            covered += range(int(row[3]), int(row[4]) + 1)
    assert ids == list(range(ids[0], ids[0] + 2 * TRADES)) == covered
    assert orders == list(range(orders[0], orders[0] + len(orders)))
    assert len(orders) < len(ids)


def test_a_range_of_ids_of_one_coin_is_missing_on_one_day(sample: Path) -> None:
    for market in FOLDERS:
        whole, holed = ([int(r[0]) for r in rows(file_of(sample, market, "trades", "ETH", day))] for day in DAYS)
        assert whole == list(range(whole[0], whole[0] + TRADES))
        assert holed[0] == whole[-1] + 1
        jumps = [(a, b) for a, b in pairwise(holed) if b != a + 1]
        ((before, after),) = jumps
        assert before + 1 - holed[0] + after - before - 1 + holed[-1] - after + 1 == TRADES
        minutes = [
            (milliseconds(r[4]) // 60_000) % 1440 for r in rows(file_of(sample, market, "trades", "ETH", DAYS[1]))
        ]
        assert set(range(1440)) - set(minutes) == set(range(MISSING_MINUTES.start, MISSING_MINUTES.stop))
        kept = [int(r[4]) for r in rows(file_of(sample, market, "aggTrades", "ETH", DAYS[1]))]
        assert before in kept


def test_files_of_one_coin_repeat_rows_of_the_day_before_and_hold_some_twice(sample: Path) -> None:
    for market in FOLDERS:
        for kind, column in (("trades", 4), ("aggTrades", 5)):
            first, second = (rows(file_of(sample, market, kind, "LTC", day)) for day in DAYS)
            assert [r[:4] for r in second[:3]] == [r[:4] for r in first[-3:]]
            assert [milliseconds(r[column]) for r in second[:3]] == [milliseconds(r[column]) for r in first[-3:]]
            assert first[13:16] == first[10:13]
            assert second[16:19] == second[13:16]
            ids = {int(r[0]) for r in first + second}
            assert len(ids) == max(ids) - min(ids) + 1 == len(first) + len(second) - 3 - 3 - 3


@pytest.mark.requirement("F2.10")
def test_a_file_of_any_size_is_written_in_little_memory(tmp_path: Path) -> None:
    count = 2_000_000
    code = (
        "import sys; from pathlib import Path; from crypto_lakehouse.sample.build import make_sample;"
        "make_sample(Path(sys.argv[1]), 1, 1, tables=['trades'], markets=['spot'], trades_per_day=int(sys.argv[2]));"
        # Not getrusage: its figure begins with that of the process that started this one.
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(count)], check=True, capture_output=True, text=True
    )
    path = one(tmp_path, "**/*trades*")
    assert sum(chunk.count(b"\n") for chunk in iter_member(path, path.with_suffix(".csv").name)) == count
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    # In KiB. The CSV has 145 MB, its columns as much again, and what numpy and pyarrow need is some 100 MB.
    assert int(done.stdout) < 330 * 1024


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_possible_bar_can_be_taken_apart(data: st.DataObject) -> None:
    """Hostile bars: few trades, little volume, a high far away and a low near."""
    inverse = data.draw(st.booleans(), label="inverse")
    opened, close = (data.draw(st.integers(900_000, 901_000), label=n) for n in ("open", "close"))
    high = max(opened, close) + data.draw(st.integers(1, 315), label="above")
    low = min(opened, close) - data.draw(st.integers(1, 315), label="below")
    count = data.draw(st.integers(7, 400), label="count")
    volume = 3 * count + data.draw(st.integers(0, 500), label="more volume")
    taker = int(volume * data.draw(st.floats(0.2, 0.8), label="share"))
    mean = (opened + close) // 2
    value = 100 * 10
    quote, taker_quote = (
        (base_coin(np.array([v]), value, np.array([mean]))[0] if inverse else v * mean) for v in (volume, taker)
    )
    figures = [5, opened, high, low, close, volume, quote, count, taker, taker_quote]
    bars = Bars.from_columns([np.array([v]) for v in figures], (1, 0 if inverse else 3, 8 if inverse else 4))
    orders = orders_of(bars, inverse, np.random.default_rng(data.draw(st.integers(0, 9), label="seed")))
    of, quantity = fills_of(orders)
    price, sold = orders.price[of], orders.sold[of]
    assert (len(orders), len(of)) == (order_count(bars, inverse), count)
    assert (price[0], price.max(), price.min(), price[-1]) == (opened, high, low, close)
    assert quantity.min() >= 1
    finer = 10 ** (fine_decimals(bars, inverse) - bars.volume_decimals)
    assert (quantity.sum(), quantity[~sold].sum()) == (volume * finer, taker * finer)
    if inverse:
        amount = base_quantities(bars, np.full(count, 5), price, quantity, sold, value)
        assert abs(quantity * value * 1e8 / price - amount).max() < quote * 1e-4 + 2
    else:
        amount, quote, taker_quote = price * quantity, quote * finer, taker_quote * finer
    assert (amount.sum(), amount[~sold].sum()) == (quote, taker_quote)
