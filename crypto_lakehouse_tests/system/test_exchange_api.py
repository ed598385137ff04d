"""The exchange-compatible endpoints of a real server: rows of the lake in the shapes of recorded answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse_tests.system.exchange_lake import build_exchange_lake
from crypto_lakehouse_tests.system.realdata import ARCHIVE
from crypto_lakehouse_tests.system.served import Served

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F9.4")]

API = ARCHIVE.parent / "api"
MIDNIGHT = round(datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1000)
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
SYMBOLS = {"spot": ("/api/v3", "BTCUSDT"), "um": ("/fapi/v1", "BTCUSDT"), "cm": ("/dapi/v1", "BTCUSD_PERP")}
KLINE = (int, str, str, str, str, str, int, str, int, str, str, str)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exchange")
    build_exchange_lake(folder)
    return folder


@pytest.fixture(scope="module")
def lake(folder: Path) -> Lakehouse:
    return Lakehouse(folder / "lake")


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(folder / "lake", tmp_path_factory.mktemp("server"), "--binance") as running:
        yield running


def get(server: Served, path: str, headers: dict[str, str] | None = None, **query: object) -> httpx.Response:
    return server.client.get(
        f"/binance{path}", params={key: str(value) for key, value in query.items()}, headers=headers
    )


def rows(server: Served, path: str, headers: dict[str, str] | None = None, **query: object) -> Any:
    answer = get(server, path, headers, **query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def frame(lake: Lakehouse, table: str, market: str, symbol: str, start: int, end: int) -> pl.DataFrame:
    """Rows of the lake in [start, end), in milliseconds."""
    found = lake.read(table, market=market, symbols=[symbol], start=moment(start), end=moment(end), format="polars")
    return pl.DataFrame(found)


def moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def milliseconds(series: pl.Series) -> list[int]:
    return (series.dt.epoch("us") // 1000).to_list()


@pytest.mark.parametrize("market", ["spot", "um", "cm"])
@pytest.mark.parametrize("interval", ["1m", "1h", "4h"])
def test_klines_are_the_rows_of_the_lake(server: Served, lake: Lakehouse, market: str, interval: str) -> None:
    """Stored minutes, and stored and computed bars; both bounds are inclusive."""
    prefix, symbol = SYMBOLS[market]
    query = {"symbol": symbol, "interval": interval, "startTime": MIDNIGHT - DAY, "endTime": MIDNIGHT, "limit": 1000}
    if market == "cm" and interval == "1m":
        # COIN-M answers the newest rows.
        query["startTime"] = MIDNIGHT - 999 * MINUTE
    answer = rows(server, f"{prefix}/klines", **query)
    if interval == "1m":
        expected = frame(lake, "silver.klines_1m", market, symbol, int(query["startTime"]), MIDNIGHT + 1).head(1000)
    else:
        bars = lake.bars(
            symbol, interval, market=market, start=moment(MIDNIGHT - DAY), end=moment(MIDNIGHT + 1), format="polars"
        )
        expected = pl.DataFrame(bars)
    assert expected.height == len(answer) > 6
    assert [tuple(map(type, row)) for row in answer] == [KLINE] * len(answer)
    assert [row[0] for row in answer] == milliseconds(expected["open_time"])
    assert [row[6] for row in answer] == [
        after - 1 for after in milliseconds(expected["open_time"].dt.offset_by(interval))
    ]
    for element, name in enumerate(("open", "high", "low", "close"), start=1):
        assert [float(row[element]) for row in answer] == expected[name].to_list()
    assert [row[8] for row in answer] == expected["trade_count"].to_list()
    if market == "cm":
        contracts = (expected["taker_buy_quote_volume"] / 100).to_list()
        columns = {5: expected["contracts"].to_list(), 7: expected["base_volume"].to_list(), 9: contracts}
        columns[10] = expected["taker_buy_base_volume"].to_list()
        assert all(row[5].isdigit() and row[9].isdigit() for row in answer)
    else:
        names = {5: "base_volume", 7: "quote_volume", 9: "taker_buy_base_volume", 10: "taker_buy_quote_volume"}
        columns = {element: expected[name].to_list() for element, name in names.items()}
    for element, values in columns.items():
        assert [float(row[element]) for row in answer] == values


def test_bounds_order_and_limits_are_those_of_the_exchange(server: Served) -> None:
    query = {"interval": "1m", "startTime": MIDNIGHT, "endTime": MIDNIGHT + HOUR, "limit": 10}
    for market in ("spot", "um"):
        prefix, symbol = SYMBOLS[market]
        oldest = rows(server, f"{prefix}/klines", symbol=symbol, **query)
        assert [row[0] for row in oldest][::9] == [MIDNIGHT, MIDNIGHT + 9 * MINUTE]
        # Without bounds, the newest rows that there are.
        newest = rows(server, f"{prefix}/klines", symbol=symbol, interval="1m")
        assert (len(newest), newest[-1][0]) == (500, MIDNIGHT + DAY - MINUTE)
        first = rows(server, f"{prefix}/klines", symbol=symbol, interval="1h", startTime=0, limit=1)
        assert first[0][0] == MIDNIGHT - 2 * DAY
        assert rows(server, f"{prefix}/klines", symbol=symbol, interval="1h", endTime=DAY) == []
    # The exchange answers the last 200 days.
    assert rows(server, "/dapi/v1/klines", symbol="BTCUSD_PERP", interval="1h")[-1][0] == MIDNIGHT + 23 * HOUR
    newest = rows(server, "/dapi/v1/klines", symbol="BTCUSD_PERP", **query)
    assert [row[0] for row in newest][::9] == [MIDNIGHT + 51 * MINUTE, MIDNIGHT + HOUR]
    assert len(rows(server, "/api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=0, limit=5000)) == 1000


def test_spot_answers_microseconds_if_the_header_asks_for_them(server: Served, lake: Lakehouse) -> None:
    headers = {"X-MBX-TIME-UNIT": "MICROSECOND"}
    (row,) = rows(server, "/api/v3/klines", headers, symbol="BTCUSDT", interval="1m", startTime=MIDNIGHT, limit=1)
    assert (row[0], row[6]) == (MIDNIGHT * 1000, (MIDNIGHT + MINUTE) * 1000 - 1)
    trades = rows(server, "/api/v3/aggTrades", headers, symbol="BTCUSDT", startTime=MIDNIGHT, limit=50)
    expected = frame(lake, "silver.agg_trades", "spot", "BTCUSDT", MIDNIGHT, MIDNIGHT + HOUR).head(50)
    assert [trade["T"] for trade in trades] == expected["time"].dt.epoch("us").to_list()
    assert rows(server, "/api/v3/time", headers)["serverTime"] > 10**15
    assert get(server, "/api/v3/time", {"X-MBX-TIME-UNIT": "DAY"}).json()["code"] == -1194


@pytest.mark.parametrize("market", ["spot", "um", "cm"])
def test_all_trades_of_a_range_come_by_time_and_then_by_id(server: Served, lake: Lakehouse, market: str) -> None:
    """Over midnight; futures too, although the exchange answers those of two days only."""
    prefix, symbol = SYMBOLS[market]
    start, end = MIDNIGHT - 4 * HOUR, MIDNIGHT + 4 * HOUR
    pages = [rows(server, f"{prefix}/aggTrades", symbol=symbol, startTime=start, endTime=end, limit=1000)]
    while pages[-1][-1]["T"] < end:
        pages.append(rows(server, f"{prefix}/aggTrades", symbol=symbol, fromId=pages[-1][-1]["a"] + 1, limit=1000))
    trades = [trade for page in pages for trade in page if trade["T"] <= end]
    expected = frame(lake, "silver.agg_trades", market, symbol, start, end + 1)
    quantity = "contracts" if market == "cm" else "base_quantity"
    assert len(trades) == expected.height > 1000
    for name, column in (("a", "trade_id"), ("f", "first_trade_id"), ("l", "last_trade_id"), ("m", "is_buyer_maker")):
        assert [trade[name] for trade in trades] == expected[column].to_list()
    assert [float(trade["p"]) for trade in trades] == expected["price"].to_list()
    assert [float(trade["q"]) for trade in trades] == expected[quantity].to_list()
    assert [trade["T"] for trade in trades] == milliseconds(expected["time"])
    # The first page by an id that no page before has led to.
    middle = expected["trade_id"][expected.height // 2]
    assert rows(server, f"{prefix}/aggTrades", symbol=symbol, fromId=middle, limit=1)[0]["a"] == middle
    assert rows(server, f"{prefix}/aggTrades", symbol=symbol, fromId=0, limit=1)[0]["T"] < MIDNIGHT - DAY


@pytest.mark.parametrize("market", ["um", "cm"])
def test_prices_of_index_mark_and_premium_are_stored_or_made_of_minutes(
    server: Served, lake: Lakehouse, market: str
) -> None:
    prefix, symbol = SYMBOLS[market]
    for path, table in (
        ("markPriceKlines", "mark_klines_1m"),
        ("indexPriceKlines", "index_klines_1m"),
        ("premiumIndexKlines", "premium_klines_1m"),
    ):
        name = symbol.split("_")[0] if path.startswith("index") else symbol
        owner = {"pair" if path.startswith("index") else "symbol": name, "limit": 1500}
        minutes = frame(lake, f"silver.{table}", market, name, MIDNIGHT, MIDNIGHT + DAY)
        answer = rows(server, f"{prefix}/{path}", interval="1m", startTime=MIDNIGHT, endTime=MIDNIGHT + DAY, **owner)
        assert [float(row[4]) for row in answer] == minutes["close"].to_list()
        assert [tuple(map(type, row)) for row in answer[:1]] == [KLINE]
        assert {(row[5], row[7], *row[9:]) for row in answer} == {("0",) * 5}
        # A start within an hour rounds up, the end down.
        hours = rows(server, f"{prefix}/{path}", interval="1h", startTime=MIDNIGHT + 1, endTime=MIDNIGHT + DAY, **owner)
        assert [row[0] for row in hours] == [MIDNIGHT + hour * HOUR for hour in range(1, 24)]
        of_hour = minutes.slice(60, 60)
        assert [float(text) for text in hours[0][1:5]] == [
            of_hour["open"][0],
            of_hour["high"].max(),
            of_hour["low"].min(),
            of_hour["close"][-1],
        ]


@pytest.mark.parametrize("market", ["um", "cm"])
def test_funding_is_that_of_the_lake_with_the_mark_price_of_its_minute(
    server: Served, lake: Lakehouse, market: str
) -> None:
    prefix, symbol = SYMBOLS[market]
    answer = rows(server, f"{prefix}/fundingRate", symbol=symbol, startTime=MIDNIGHT - DAY, endTime=MIDNIGHT + DAY)
    expected = frame(lake, "silver.funding_rates", market, symbol, MIDNIGHT - DAY, MIDNIGHT + DAY)
    marks = frame(lake, "silver.mark_klines_1m", market, symbol, MIDNIGHT - DAY, MIDNIGHT + DAY)
    opens = dict(zip(milliseconds(marks["open_time"]), marks["open"].to_list(), strict=True))
    assert [row["fundingTime"] for row in answer] == milliseconds(expected["funding_time"])
    assert [float(row["fundingRate"]) for row in answer] == pytest.approx(expected["funding_rate"].to_list(), abs=5e-9)
    assert [float(row["markPrice"]) for row in answer] == [
        opens[row["fundingTime"] // MINUTE * MINUTE] for row in answer
    ]
    intervals = rows(server, f"{prefix}/fundingInfo")
    assert {row["symbol"] for row in intervals} >= {symbol}
    if market == "um":
        every = rows(server, "/fapi/v1/fundingRate", startTime=MIDNIGHT)
        assert [row["fundingTime"] for row in every] == sorted(row["fundingTime"] for row in every)
        assert {row["symbol"] for row in every} == {"BTCUSDT", "ETHUSDT"}


def test_open_interest_and_ratios_of_any_age_are_those_of_the_lake(server: Served, lake: Lakehouse) -> None:
    for market, owner, symbol in (
        ("um", {"symbol": "BTCUSDT"}, "BTCUSDT"),
        ("cm", {"pair": "BTCUSD"}, "BTCUSD_PERP"),
    ):
        expected = frame(lake, "silver.open_interest", market, symbol, MIDNIGHT, MIDNIGHT + HOUR + 1)
        bounds = {"period": "5m", "startTime": MIDNIGHT, "endTime": MIDNIGHT + HOUR}
        kind = {"contractType": "PERPETUAL"} if market == "cm" else {}
        answer = rows(server, "/futures/data/openInterestHist", **owner, **kind, **bounds)
        kept = expected.filter(pl.col("open_interest").is_not_null())
        assert [row["timestamp"] for row in answer] == milliseconds(kept["label_time"])
        assert [float(row["sumOpenInterest"]) for row in answer] == pytest.approx(kept["open_interest"].to_list())
        for path, column in (
            ("topLongShortAccountRatio", "top_trader_account_long_short_ratio"),
            ("topLongShortPositionRatio", "top_trader_position_long_short_ratio"),
            ("globalLongShortAccountRatio", "account_long_short_ratio"),
        ):
            ratios = rows(server, f"/futures/data/{path}", **owner, **bounds)
            values = expected[column].drop_nulls().to_list()
            assert [row["longShortRatio"] for row in ratios] == [f"{value:.4f}" for value in values]
    taker = rows(server, "/futures/data/takerlongshortRatio", symbol="BTCUSDT", **bounds)
    assert {(row["buyVol"], row["sellVol"]) for row in taker} == {("", "")}
    hours = rows(server, "/futures/data/openInterestHist", symbol="BTCUSDT", period="1h", limit=3)
    assert [row["timestamp"] % HOUR for row in hours] == [0, 0, 0]
    refused = get(server, "/futures/data/takerBuySellVol", pair="BTCUSD", contractType="PERPETUAL", period="5m")
    assert (refused.status_code, refused.json()["code"]) == (501, -1000)


def recorded(name: str) -> list[dict[str, Any]]:
    if not API.is_dir():
        pytest.skip("no recorded answers in ../shared/realdata/api")
    return [json.loads(line) for line in (API / name).read_text(encoding="utf-8").splitlines()]


def shape(value: Any) -> Any:
    """The fields of an answer, in order, and the types of its values. Of lists of objects, those of the first one."""
    if isinstance(value, dict):
        return [(key, shape(each)) for key, each in value.items()]
    if isinstance(value, list):
        return [shape(value[0])] if value and isinstance(value[0], dict) else [shape(each) for each in value]
    return type(value).__name__


def test_answers_have_the_fields_types_and_order_of_the_recorded_ones(server: Served) -> None:
    bounds = {"startTime": MIDNIGHT, "endTime": MIDNIGHT + HOUR}
    answers = {line["path"]: line["body"] for line in recorded("rest_um_2026-10-07.jsonl")}
    for path, kept in answers.items():
        url = httpx.URL(path)
        if url.path.endswith(("depth", "exchangeInfo", "fundingInfo")):
            continue
        ours = rows(server, url.path, **{**dict(url.params), **bounds})
        assert shape(ours[0]) == shape(kept[0]), path
    spot = recorded("rest_spot_klines_2021_2026.jsonl")[0]["body"][0]
    assert shape(rows(server, "/api/v3/klines", symbol="BTCUSDT", interval="1m", **bounds)[0]) == shape(spot)
    trade = json.loads((API / "rest_spot_agg_trades_nautilus.json").read_text(encoding="utf-8"))[0]
    assert shape(rows(server, "/api/v3/aggTrades", symbol="BTCUSDT", **bounds)[0]) == shape(trade)
    info = json.loads((API / "rest_um_fundingInfo_2026.jsonl").read_text(encoding="utf-8").splitlines()[0])[0]
    assert list(rows(server, "/fapi/v1/fundingInfo")[0]) == list(info)
    # The order of keys varies in the recorded answers of these.
    for line in recorded("rest_um_cm_2026-10-06.jsonl"):
        path = line["path"].split(" ")[1]
        owner = {"symbol": "BTCUSDT"} if line["path"].startswith("um") else {"pair": "BTCUSD"}
        if path.endswith(("basis", "openInterest", "takerBuySellVol")):
            continue
        if path.startswith("/futures/data"):
            ours = rows(server, path, period="5m", **owner, **bounds)
        else:
            ours = rows(server, path, symbol=SYMBOLS["um" if "fapi" in path else "cm"][1], **bounds)
        expected = dict(shape(line["body"][0]))
        assert dict(shape(ours[0])) == expected, path


@pytest.mark.parametrize(
    ("market", "name"),
    [("spot", "spot_2021-10-12"), ("um", "um_2021-07-22"), ("cm", "cm_2021-07-22")],
)
def test_the_exchange_info_has_the_recorded_fields_and_steps_from_stored_decimals(
    server: Served, lake: Lakehouse, market: str, name: str
) -> None:
    if not API.is_dir():
        pytest.skip("no recorded answers in ../shared/realdata/api")
    kept = json.loads((API / f"rest_exchangeInfo_{name}.json").read_text(encoding="utf-8"))["body"]
    ours = rows(server, f"{SYMBOLS[market][0]}/exchangeInfo")
    assert [*kept, "lake"] == list(ours)
    symbol = next(each for each in ours["symbols"] if each["symbol"] == SYMBOLS[market][1])
    # Fields that say nothing about data, and not all of which existed in 2021.
    known = {key: type(value) for key, value in kept["symbols"][0].items()}
    optional = {"settlePlan", "equalQtyPrecision", "maxMoveOrderLimit"}
    assert {key: known[key] for key in known if key not in optional} == {
        key: type(value) for key, value in symbol.items()
    }
    filters = {each["filterType"]: each for each in symbol["filters"]}
    newest = frame(lake, "silver.klines_1m", market, symbol["symbol"], MIDNIGHT, MIDNIGHT + DAY)
    quantity = "contracts" if market == "cm" else "base_volume"
    for filter_name, field, columns in (
        ("PRICE_FILTER", "tickSize", ("open", "high", "low", "close")),
        ("LOT_SIZE", "stepSize", (quantity,)),
    ):
        texts = [f"{value:.10f}".rstrip("0") for column in columns for value in newest[column].to_list()]
        places = max(len(text.partition(".")[2]) for text in texts)
        assert float(filters[filter_name][field]) == pytest.approx(10**-places)
        assert field in ours["lake"]["derivedFromDecimals"]
    assert symbol.get("status", symbol.get("contractStatus")) == "TRADING"


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/fapi/v1/klines", {"symbol": "NONEUSDT", "interval": "1m"}, (400, -1121)),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1s"}, (400, -1120)),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT"}, (400, -1102)),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": 1501}, (400, -1130)),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "startTime": 2, "endTime": 1}, (400, -1023)),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "more": 1}, (400, -1104)),
        ("/fapi/v1/aggTrades", {"symbol": "BTCUSDT", "fromId": 1, "startTime": 1}, (400, -1128)),
        ("/api/v3/klines", {"symbol": "btcusdt", "interval": "1m"}, (400, -1100)),
        (
            "/dapi/v1/klines",
            {"symbol": "BTCUSD_PERP", "interval": "1m", "startTime": 0, "endTime": DAY * 201},
            (400, -4088),
        ),
        ("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "1s"}, (501, -1000)),
        ("/api/v3/depth", {"symbol": "BTCUSDT"}, (404, 0)),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "startTime": 10**19}, (200, None)),
    ],
)
def test_refusals_have_the_codes_of_the_exchange(
    server: Served, path: str, query: dict[str, object], expected: tuple[int, int | None]
) -> None:
    answer = get(server, path, **query)
    body = answer.json()
    assert (answer.status_code, body.get("code") if body else None) == expected
    for kept in recorded("rest_errors.jsonl") if body else ():
        if kept["body"]["code"] == body["code"] and kept["body"]["code"] in (-1121, -1120, -4088, -1023):
            assert body == kept["body"]


def test_tokens_and_their_scopes_are_refused_in_the_words_of_the_exchange(folder: Path, tmp_path: Path) -> None:
    with Served(folder / "lake", tmp_path, "--binance", serve_rate=1) as running:
        query = {"symbol": "BTCUSDT", "interval": "1m", "limit": 1}
        secret = running.token("um", "--market", "um")["Authorization"].partition(" ")[2]
        key = {"X-MBX-APIKEY": secret}
        refused = get(running, "/fapi/v1/klines", **query)
        assert (refused.status_code, refused.json()["code"]) == (401, -2014)
        assert len(rows(running, "/fapi/v1/klines", key, **query)) == 1
        statuses = [get(running, "/fapi/v1/time", key) for _ in range(6)]
        limited = next(answer for answer in statuses if answer.status_code == 429)
        assert limited.json()["code"] == -1003
        assert int(limited.headers["Retry-After"]) >= 1
    with Served(folder / "lake", tmp_path, "--binance") as running:
        refused = get(running, "/api/v3/klines", key, **query)
        assert (refused.status_code, refused.json()["code"]) == (401, -2015)
        assert secret not in running.log


def test_without_the_option_there_is_no_such_path(folder: Path, tmp_path: Path) -> None:
    with Served(folder / "lake", tmp_path) as running:
        answer = get(running, "/fapi/v1/time")
        assert (answer.status_code, answer.json()["status"]) == (404, 404)


def test_a_market_that_the_lake_does_not_have_lists_no_symbols(served_lake: Path, tmp_path: Path) -> None:
    """ccxt asks for the symbols of all markets when it starts."""
    with Served(served_lake, tmp_path, "--binance") as running:
        assert rows(running, "/dapi/v1/exchangeInfo")["symbols"] == []
        assert rows(running, "/fapi/v1/exchangeInfo")["symbols"]
        refused = get(running, "/dapi/v1/klines", symbol="BTCUSD_PERP", interval="1m")
        assert (refused.status_code, refused.json()["code"]) == (501, -1000)


def test_the_universe_of_a_day_and_the_lake_of_a_time_are_chosen_by_settings(
    folder: Path, lake: Lakehouse, tmp_path: Path
) -> None:
    early = {"serve_universe": "2024-12-30", "serve_as_of": lake.snapshot()}
    with Served(folder / "lake", tmp_path, "--binance", **early) as running:
        info = rows(running, "/fapi/v1/exchangeInfo")
        assert info["lake"]["universe"] == "2024-12-30"
        assert info["lake"]["asOf"] == early["serve_as_of"]
        listed = lake.universe("um", on="2024-12-30", leveraged=True, format="polars")
        assert [row["symbol"] for row in info["symbols"]] == pl.DataFrame(listed)["symbol"].sort().to_list()
        # Rows after that day are answered: a backtest goes on.
        assert rows(running, "/fapi/v1/klines", symbol="BTCUSDT", interval="1h")[-1][0] > MIDNIGHT
    wrong = Served(folder / "lake", tmp_path, "--binance", serve_as_of="tomorrow").command("serve", "--binance")
    assert wrong.returncode == 2
    assert "LAKEHOUSE_SERVE_AS_OF" in wrong.stderr
