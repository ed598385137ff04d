"""Typical mistakes of people who read: each answer says what is wrong and what to type."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crypto_lakehouse import LakeError, Lakehouse, LakeWarning
from crypto_lakehouse_tests.commands import parsed, recommended

pytestmark = pytest.mark.requirement("F6.14")

# What people type, and what the answer must contain. Most bring names and habits from another library.
MISTAKES = {
    # Tables
    "lake.read('klines_1m', market='um')": "'klines_1m' does not name its layer; try bronze.klines_1m, silver.",
    "lake.read('gold.bar_1h')": "no table 'bar_1h' in layer gold; did you mean bars_1h",
    "lake.read('silver.bars_1h')": "no table silver.bars_1h; did you mean gold.bars_1h?",
    "lake.read('silver.klines_1M')": "did you mean klines_1m",
    "lake.read('platinum.bars_1h')": "there are bronze, silver, gold, ledger, quarantine",
    "lake.read('silver.funding')": "did you mean funding_rates?",
    "lake.read('silver.aggTrades')": "did you mean agg_trades",
    "lake.describe('gold.bars')": "did you mean bars_",
    "lake.read(['gold.bars_1h'])": "table must be text such as 'gold.bars_1h', not ['gold.bars_1h']",
    "lake.klines('BTCUSDT', '1h', market='um')": "Compute them with lake.bars(symbols, '1h', market='um'), or",
    "lake.klines('BTCUSDT', '60m')": "no interval '60m'",
    # Markets and exchanges
    "lake.read('gold.bars_1h', market='futures')": "no market 'futures'; did you mean um or cm?",
    "lake.read('gold.bars_1h', market='USDT-M')": "There are spot, um, cm, option",
    "lake.read('gold.bars_1h', exchange='Binance')": "no exchange 'Binance'; did you mean binance?",
    "lake.bars('BTCUSDT', '1h')": "pass market='um', for example; gold.continuous_1m has um",
    "lake.bars('BTCUSDT', '1h', market=['um', 'spot'])": "lake.bars takes one market, such as 'um'",
    "lake.bars('BTCUSDT', '1h', market='spot')": "has no partitions. Build them with: LAKEHOUSE_LAKE_URI=",
    "lake.panel('close')": "lake.panel reads one market: pass market='um'",
    "lake.align('BTCUSDT', market='spot', include='funding')": "binance/spot has no funding; leave it out of include",
    "lake.symbols('spot')": "gold.symbol_states of binance/spot",
    # Symbols
    "lake.bars('btcusdt', '1h', market='um')": "btcusdt (did you mean BTCUSDT?)",
    "lake.bars('BTC/USDT', '1h', market='um')": "'BTC/USDT' is not a symbol: use letters, digits, '_' and '-'",
    "lake.bars('BTC/USDT:USDT', '1h', market='um')": "did you mean BTCUSDT?",
    "lake.read('gold.bars_1h', symbols='BTC-USDT')": "BTC-USDT (did you mean BTCUSDT?)",
    "lake.read('gold.bars_1h', symbols='BTCUSD')": "BTCUSD (did you mean BTCUSDT?)",
    "lake.read('gold.bars_1h', symbols='BTC')": "BTC (did you mean BTCUSDT?)",
    "lake.read('gold.bars_1h', symbols='DOGE*')": "has no rows in this range for: DOGE*",
    "lake.read('gold.bars_1h', symbols='')": "symbols must be text such as 'BTCUSDT', not ''",
    "lake.read('gold.bars_1h', symbols=1)": "symbols must be text or a list of texts, not 1",
    "lake.coverage('BTCUSD')": "has rows of BTCUSD (did you mean BTCUSDT?)",
    "lake.coverage('BTC*')": "'BTC*' is not a symbol",
    "lake.bars('1h', 'BTCUSDT', market='um')": "and 'BTCUSDT' is none: symbols come before bars",
    "lake.panel('close', '1d', market='um')": "'1d' is a kind of bars, not a symbol: symbols come before it",
    # Times
    "lake.read('gold.bars_1h', start='2026-11-31')": "start '2026-11-31' is not a time: 2026-11 has 30 days",
    "lake.read('gold.bars_1h', start='31/12/2024')": "'31/12/2024' is not an ISO 8601 time such as 2024-01-31",
    "lake.read('gold.bars_1h', start='yesterday')": "is not an ISO 8601 time",
    "lake.read('gold.bars_1h', start='30d')": "for the newest rows pass last='30d'",
    "lake.read('gold.bars_1h', start=1735689600000)": "pass pandas.to_datetime(count, unit='ms')",
    "lake.read('gold.bars_1h', start=pd.NaT)": "start is NaT, which is not a time: omit start or pass a time",
    "lake.read('gold.bars_1h', start=np.datetime64('NaT'))": "start is NaT, which is not a time",
    "lake.read('gold.bars_1h', start='2025-01', end='2024-12')": "pass an end after the start; end is exclusive",
    "lake.read('gold.bars_1h', start='2024-12-31', end='2024-12-31')": "start and end are both 2024-12-31, and end is",
    "lake.read('gold.bars_1h', last='1y')": "last '1y' is not a length such as 30d, 12h, 90m or 4w",
    "lake.read('gold.bars_1h', last=30)": "last must be a length such as '30d' or timedelta(days=30), not 30",
    "lake.read('gold.bars_1h', last='7d', start='2024-12-30')": "pass one of them",
    "lake.read('gold.bars_1h', start=date(2030, 1, 1))": "has partitions from 2024-12-30 to 2025-01-01, and no rows",
    "lake.bars('BTCUSDT', '1h', market='um', end=datetime(2020, 1, 1))": "and no rows before 2020-01-01. Build them",
    "lake.universe('um', on='2026-01-01')": "gold.instruments of binance/um has no partition for 2026-01-01 or later",
    "lake.universe('um', on='2022-05-12')": "was listed on 2022-05-12: those that the archive lists start on",
    "lake.universe('um', on='2024-12-31', contract_type='swap')": "there are spot, perpetual, delivery",
    "lake.universe('um', start='2024-12-30', quote='BTC')": "none passes the filter; they have quote USDT and contract",
    "lake.universe('um')": "on must be a day such as 2024-01-31; for a range pass start, end or last",
    # Intervals and fields
    "lake.bars('BTCUSDT', '60m', market='um')": "no bars '60m'; did you mean 1h?",
    "lake.bars('BTCUSDT', '1H', market='um')": "no bars '1H'; did you mean 1h?",
    "lake.bars('BTCUSDT', 'dollar', market='um')": "dollar bars need a threshold, a whole number, such as dollar:",
    "lake.panel('Close', market='um')": "lake.panel has no column 'Close'; did you mean close?",
    "lake.panel('volume', market='um')": "did you mean base_volume",
    "lake.panel('quote_volume', market='um', fill='forward')": "quote_volume cannot be filled forward",
    "lake.panel('close', market='um', fill='ffill')": "fill must be None or 'forward', not 'ffill'",
    # Columns and forms of the result
    "lake.read('gold.bars_1h', columns='close')": "columns must be a list of names; did you mean ['close']?",
    "lake.read('gold.bars_1h', columns=['timestamp'])": "gold.bars_1h has no column 'timestamp'",
    "lake.read('gold.bars_1h', format='numpy')": "format 'numpy' is not one of pandas, polars, arrow",
    "lake.read('gold.bars_1h', format='polars', index='open_time')": "only pandas has an index: leave out index",
    "lake.read('gold.bars_1h', index='time')": "has no column 'time'",
    "lake.read('gold.bars_1h', time_unit='ms')": "time_unit 'ms' is not one of us, ns",
    "lake.read('gold.bars_1h', limit=-1)": "limit must be a number of rows, such as 10, not -1",
    # SQL
    "lake.sql('SELECT * FROM bars_1h')": "'bars_1h' does not name its layer; try gold.bars_1h",
    "lake.sql('SELECT * FROM gold.bar_1h')": "no table 'bar_1h' in layer gold; did you mean bars_1h",
    "lake.sql('SELECT * FROM silver.trades')": "so the query reads no rows of it. Build them with: LAKEHOUSE_LAKE_URI=",
    "lake.sql('DROP TABLE gold.bars_1h')": "lake.sql runs one statement that reads tables named layer.table",
    "lake.sql('SELECT 1; SELECT 2')": "this text has 2 statements",
    "lake.sql('SELECT 1 WHERE 1 = $n')": "pass params, such as params={'symbol': 'BTCUSDT'} for $symbol",
    "lake.sql('SELECT 1 WHERE 1 = ?', 1)": "params must be a dict, or a list for ? and $1, not 1",
    "lake.sql(\"FROM read_csv('x.csv')\")": "it cannot read other files or change settings",
    # Pictures
    "lake.plot(['BTCUSDT', 'ETHUSDT'], market='um')": "lake.plot draws one symbol, such as 'BTCUSDT', not [",
    "lake.plot('BTCUSDT', market='um').save('chart.jpg')": "end the name with .png or .html",
    "lake.plot('BTCUSDT', market='um').save('nodir/x.png')": "there is no folder nodir for the picture x.png",
    "lake.plot_coverage('klines_1m', market='um')": "try bronze.klines_1m, silver.klines_1m",
    "lake.plot_correlation('BTCUSDT', market='um')": "1 symbol of binance/um has 1d bars in this range: choose",
    "lake.plot_breadth(market='um', interval='tick:9')": "lake.plot_breadth takes an interval such as '1d' or '1h'",
    # The place
    "Lakehouse(lake.uri + '/gold').tables()": "lake: open that",
    "Lakehouse(lake.uri.removesuffix('/lake')).tables()": "/lake: open that",
    "Lakehouse('./demo/lak').tables()": "Check the path or LAKEHOUSE_LAKE_URI",
}


@pytest.fixture
def answers(sample_lake: Path) -> Iterator[dict[str, object]]:
    """The names that a mistake may use."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", LakeWarning)
        yield {
            "lake": Lakehouse(sample_lake),
            "Lakehouse": Lakehouse,
            "np": np,
            "pd": pd,
            "date": date,
            "datetime": datetime,
        }


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_answer_says_what_is_wrong_and_what_to_type(answers: dict[str, object], mistake: str) -> None:
    with pytest.raises((KeyError, ValueError, TypeError, FileNotFoundError, LakeError, LakeWarning)) as caught:
        eval(mistake, answers)
    text = str(caught.value.args[0])
    assert MISTAKES[mistake] in text
    for command in recommended(text):
        if "fills a lake" not in text:
            assert parsed(command)["market"]


def test_there_are_enough_of_them() -> None:
    assert len(MISTAKES) >= 50
