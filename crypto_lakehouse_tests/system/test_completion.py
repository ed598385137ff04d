"""Completion from the exchange's REST API: what the archive does not have is requested, and nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from crypto_lakehouse_tests.system.exchange import Exchange, day, exchange, silver_of, without_source
from crypto_lakehouse_tests.system.runs import digests, failures, run

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F2.15")]

SYMBOLS = {"spot": "BTCUSDT", "um": "BTCUSDT", "cm": "BTCUSD_PERP"}
SECOND = {"spot": "ETHUSDT", "um": "ETHUSDT", "cm": "ETHUSD_PERP"}
HOURS = slice(180, 300)


def truth(market: Exchange, folder: Path, name: str) -> pl.DataFrame:
    """The silver rows of a lake that is built from all files."""
    for path in market.truth.rglob("*.zip*"):
        copy = market.archive / path.relative_to(market.truth)
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            copy.write_bytes(path.read_bytes())
    done = run(market.settings(folder / "true", completion=False), name, day(0), day(3))
    assert done.success, failures(done)
    return silver_of(folder / "true", name)


@pytest.mark.parametrize("name", ["um", "spot", "cm"])
def test_missing_days_hours_and_the_newest_day_are_filled_with_what_the_exchange_has(name: str, tmp_path: Path) -> None:
    with exchange(tmp_path, [name]) as market:
        market.remove(name, SYMBOLS[name], 1)
        market.edit(name, SECOND[name], 1, lambda lines: [*lines[: HOURS.start], *lines[HOURS.stop :]])
        market.remove(name, SYMBOLS[name], 3)
        market.remove(name, SECOND[name], 3)
        done = run(market.settings(tmp_path / "lake"), name, day(0), day(3))
        assert done.success, failures(done)
        silver = silver_of(tmp_path / "lake", name)
        expected = truth(market, tmp_path, name)
    assert without_source(silver).equals(without_source(expected))
    rest = silver.filter(pl.col("source") == "rest")
    assert Counter(rest["symbol"]) == {SYMBOLS[name]: 2 * 1440, SECOND[name]: 120 + 1440}
    asked = [call for call in market.api.calls if call.path.endswith("klines")]
    assert {call.status for call in asked} == {200}
    assert digests(tmp_path / "lake")
