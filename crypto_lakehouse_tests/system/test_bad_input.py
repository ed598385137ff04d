"""Bad files, bad rows and bad servers: each is quarantined with its reason, and everything else is complete.

All faults of a kind are in one archive, one symbol for each, next to a good symbol; so every case also shows that the
other symbols are not affected.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import subprocess
import sys
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from aiohttp import web

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.runs import WatchedServer, digests, failures, read, run, settings, variables

DAY, NEXT = "2024-03-05", "2024-03-06"
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    "taker_buy_quote_volume,ignore\n"
)
MINUTES = 5


def line(minute: int, day: str = DAY, unit: int = 1_000, **changes: str) -> str:
    """One valid kline as CSV, with some of its fields replaced; ``unit`` is ticks in a second."""
    start = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(minutes=minute)
    opened = int(start.timestamp()) * unit
    fields = {
        "open_time": str(opened),
        "open": "10.0",
        "high": "12.0",
        "low": "9.0",
        "close": f"{10 + minute / 8}",
        "volume": "100.0",
        "close_time": str(opened + 60 * unit - 1),
        "quote_volume": "1050.0",
        "count": "7",
        "taker_buy_volume": "50.0",
        "taker_buy_quote_volume": "525.0",
        "ignore": "0",
    }
    return ",".join({**fields, **changes}.values()) + "\n"


def lines(day: str = DAY) -> list[str]:
    return [line(minute, day) for minute in range(MINUTES)]


def zipped(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def put(folder: Path, symbol: str, day: str, content: bytes | str, checksum: str | None = "") -> Path:
    """Place a file; text becomes the CSV of a proper zip. ``checksum`` "" is the right one, None is none."""
    stem = f"{symbol}-1m-{day}"
    data = zipped((f"{stem}.csv", content.encode())) if isinstance(content, str) else content
    path = folder / f"data/futures/um/daily/klines/{symbol}/1m/{stem}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if checksum is not None:
        digest = checksum or hashlib.sha256(data).hexdigest()
        path.with_name(f"{path.name}.CHECKSUM").write_text(f"{digest}  {path.name}\n")
    return path


def csv_name(symbol: str) -> str:
    return f"{symbol}-1m-{DAY}.csv"


GOOD = "".join(lines())

# Files of which nothing is used: symbol to the zip's bytes or the CSV, and the reason.
FILES: dict[str, tuple[bytes | str, str]] = {
    "BADSUMUSDT": (GOOD, "checksum_mismatch"),
    "NOSUMUSDT": (GOOD, "checksum_missing"),
    "CUTUSDT": (zipped((csv_name("CUTUSDT"), GOOD.encode()))[:-40], "not_a_zip"),
    "TWOUSDT": (zipped((csv_name("TWOUSDT"), GOOD.encode()), ("other.csv", b"1")), "member_count"),
    "DOTSUSDT": (zipped((f"../{csv_name('DOTSUSDT')}", GOOD.encode())), "unsafe_member"),
    "BOMBUSDT": (zipped((csv_name("BOMBUSDT"), bytes(200_000_000))), "too_large"),
    "EMPTYUSDT": ("", "empty_file"),
    "HEADUSDT": (HEADER, "header_only"),
    "ELEVENUSDT": ("".join(",".join(text.split(",")[:11]) + "\n" for text in lines()), "column_count"),
}


@dataclass(frozen=True)
class Rows:
    """A file with some bad rows: its CSV, the reason and lines refused, and the minutes that silver has."""

    text: str
    reason: str = ""
    refused: tuple[int, ...] = ()
    minutes: tuple[int, ...] = (0, 1, 2, 3, 4)
    bronze: int = field(default=MINUTES)


def third(text: str) -> str:
    return "".join([*lines()[:2], text, *lines()[3:]])


ROWS: dict[str, Rows] = {
    "SHORTUSDT": Rows(third("1,2,3,4,5,6,7,8,9,10,11\n"), "column_count", (3,), (0, 1, 3, 4), 4),
    "TEXTUSDT": Rows(third(line(2, close="abc")), "not_a_number", (3,), (0, 1, 3, 4), 4),
    "BREAKUSDT": Rows(GOOD[:-3], "cut_off", (5,), (0, 1, 2, 3), 4),
    "MINUSUSDT": Rows(third(line(2, low="-1.0")), "price_not_positive", (3,), (0, 1, 3, 4)),
    "NANUSDT": Rows(third(line(2, high="NaN")), "not_finite", (3,), (0, 1, 3, 4)),
    "TIMEUSDT": Rows(third(line(2, open_time="12345")), "bad_time", (3,), (0, 1, 3, 4)),
    "DATEUSDT": Rows(third(line(2, "2024-03-07")), "outside_partition", (3,), (0, 1, 3, 4)),
    "OTHERUSDT": Rows("".join(lines("2024-03-07")), "outside_partition", (1, 2, 3, 4, 5), ()),
    "DOUBLEUSDT": Rows(GOOD + line(2), "duplicate", (3,), bronze=6),
    "CLASHUSDT": Rows(GOOD + line(2, count="3"), "duplicate_conflict", (6,), bronze=6),
    "MIXEDUSDT": Rows("".join([*lines()[:2], *(line(m, unit=1_000_000) for m in (2, 3, 4))])),
    "MIXUPUSDT": Rows("".join(lines()[::-1])),
    "CRLFUSDT": Rows(HEADER.replace("\n", "\r\n") + GOOD.replace("\n", "\r\n")),
}

# What the server does with the zip of a symbol, and the reason; "" is that the file comes in the end.
HTTP: dict[str, str] = {
    "GONEUSDT": "not_found",
    "DENIEDUSDT": "forbidden",
    "BROKENUSDT": "http_error",
    "STALLUSDT": "timeout",
    "OLDUSDT": "size_mismatch",
    "BUSYUSDT": "",
    "HICCUPUSDT": "",
}


class Faults:
    """Answers of a bad server, by the symbol in the path; ``older`` is a folder with the archive's previous files."""

    def __init__(self, older: Path) -> None:
        self.older = older
        self.seen: Counter[str] = Counter()

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        symbol = request.path.split("/")[-3]
        if DAY not in request.path:
            return None
        if symbol in ("GONEUSDT", "DENIEDUSDT", "BROKENUSDT"):
            return web.Response(status={"G": 404, "D": 403, "B": 500}[symbol[0]])
        self.seen[request.path] += 1
        if symbol == "BUSYUSDT" and self.seen[request.path] == 1:
            return web.Response(status=429, headers={"Retry-After": "1"})
        if symbol == "HICCUPUSDT" and self.seen[request.path] == 1:
            return web.Response(status=500)
        if symbol == "OLDUSDT":
            return web.Response(body=(self.older / request.path[1:]).read_bytes())
        if symbol == "STALLUSDT" and request.path.endswith(".zip"):
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b"PK")
            await asyncio.sleep(60)
        return None


@dataclass
class Outcome:
    """The lake after the run, and whether the run succeeded."""

    lake: Lakehouse
    success: bool

    def rows(self, layer: str, symbol: str, day: str = DAY) -> pl.DataFrame:
        first = datetime.fromisoformat(day).replace(tzinfo=UTC)
        if layer == "silver":
            return read(self.lake, "silver.klines_1m", symbols=symbol, start=first, end=first + timedelta(days=1))
        path = Path(self.lake.uri, f"{layer}/klines_1m/exchange=binance/market=um/date={day}/part-0.parquet")
        return pl.read_parquet(path, hive_partitioning=False).filter(pl.col("symbol") == symbol)

    def minutes(self, symbol: str, day: str = DAY) -> list[int]:
        return self.rows("silver", symbol, day)["open_time"].dt.minute().to_list()

    def log(self, table: str, symbol: str) -> list[dict[str, object]]:
        frame = read(self.lake, table)
        return frame.filter((pl.col("symbol") == symbol) & (pl.col("period") == DAY)).to_dicts()


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder, lake = tmp_path_factory.mktemp("bad"), tmp_path_factory.mktemp("bad_lake")
    older = tmp_path_factory.mktemp("older")
    put(older, "OLDUSDT", DAY, "".join(lines()[:2]))
    for symbol in ("GOODUSDT", *FILES, *ROWS, *HTTP):
        put(folder, symbol, NEXT, "".join(lines(NEXT)))
    for symbol in ("GOODUSDT", *HTTP):
        put(folder, symbol, DAY, GOOD)
    for symbol, (content, _) in FILES.items():
        put(folder, symbol, DAY, content, {"BADSUMUSDT": "0" * 64, "NOSUMUSDT": None}.get(symbol, ""))
    for symbol, case in ROWS.items():
        put(folder, symbol, DAY, case.text)
    with WatchedServer(folder, Faults(older)) as server:
        result = run(settings(server, lake, retries=3, stall_timeout=1.5), "um", DAY, NEXT)
    return Outcome(Lakehouse(lake), result.success)


@pytest.mark.requirement("F3.3")
def test_the_run_succeeds_and_good_symbols_are_complete(outcome: Outcome) -> None:
    assert outcome.success
    assert outcome.minutes("GOODUSDT") == [0, 1, 2, 3, 4]
    for symbol in ("GOODUSDT", *FILES, *ROWS, *HTTP):
        assert outcome.minutes(symbol, NEXT) == [0, 1, 2, 3, 4], symbol


@pytest.mark.requirement("F3.3", "F3.4")
@pytest.mark.parametrize("symbol", FILES)
def test_a_bad_file_is_quarantined_once_with_its_own_reason(symbol: str, outcome: Outcome) -> None:
    (row,) = outcome.log("quarantine.rejected", symbol)
    assert (row["reason"], row["source_line"], row["layer"]) == (FILES[symbol][1], None, "bronze")
    assert row["detail"]
    (entry,) = outcome.log("ledger.files", symbol)
    # A checksum can still come or change; what is wrong with the file's own bytes stays.
    status = "failed" if FILES[symbol][1].startswith("checksum_") else "quarantined"
    assert (entry["status"], entry["reason"], entry["rows"]) == (status, FILES[symbol][1], 0)
    assert outcome.minutes(symbol) == []


@pytest.mark.requirement("F3.3", "F3.1", "F3.2", "D1", "D2")
@pytest.mark.parametrize("symbol", ROWS)
def test_bad_rows_are_quarantined_and_good_rows_are_stored(symbol: str, outcome: Outcome) -> None:
    case = ROWS[symbol]
    found = outcome.log("quarantine.rejected", symbol)
    assert [(row["reason"], row["source_line"]) for row in found] == [(case.reason, n) for n in case.refused]
    assert all(row["raw"] and row["detail"] for row in found)
    assert outcome.rows("bronze", symbol).height == case.bronze
    silver = outcome.rows("silver", symbol)
    assert silver["open_time"].dt.minute().to_list() == list(case.minutes)
    good = outcome.rows("silver", "GOODUSDT").filter(pl.col("open_time").dt.minute().is_in(case.minutes))
    # Microsecond rows end a thousandth of a millisecond nearer to the next minute.
    same = silver.drop("symbol", *(["close_time"] if symbol == "MIXEDUSDT" else []))
    assert same.equals(good.select(same.columns))


@pytest.mark.requirement("F3.1")
def test_bronze_keeps_the_order_of_the_file_and_its_duplicates(outcome: Outcome) -> None:
    times = outcome.rows("bronze", "MIXUPUSDT")["open_time"]
    assert times.is_sorted(descending=True)
    assert outcome.rows("bronze", "DOUBLEUSDT")["open_time"].n_unique() == 5
    for symbol in ("GOODUSDT", "CRLFUSDT"):
        rows = outcome.rows("bronze", symbol)
        assert rows["source_key"].unique().str.contains(f"/{symbol}-1m-{DAY}.zip").to_list() == [True]
    assert outcome.rows("bronze", "CRLFUSDT")["source_line"].to_list() == [2, 3, 4, 5, 6]


@pytest.mark.requirement("F3.3", "F3.4")
@pytest.mark.parametrize("symbol", HTTP)
def test_a_bad_server_costs_only_the_files_that_never_arrived(symbol: str, outcome: Outcome) -> None:
    reason = HTTP[symbol]
    assert [row["reason"] for row in outcome.log("quarantine.rejected", symbol)] == ([reason] if reason else [])
    (entry,) = outcome.log("ledger.files", symbol)
    assert entry["status"] == ("failed" if reason else "ingested")
    assert outcome.minutes(symbol) == ([] if reason else [0, 1, 2, 3, 4])


@pytest.mark.requirement("F3.3", "F3.4", "T4")
def test_a_good_partition_is_never_replaced_by_an_incomplete_one(tmp_path: Path) -> None:
    folder, lake = tmp_path / "archive", tmp_path / "lake"
    path = put(folder, "AUSDT", DAY, GOOD)
    put(folder, "BUSDT", DAY, GOOD)
    with WatchedServer(folder) as server:
        environment = settings(server, lake, retries=1)
        assert run(environment, "um", DAY, DAY).success
        before, reader = digests(lake), Lakehouse(lake)
        first = read(reader, "ledger.files")
        good = path.read_bytes()
        for content, checksum in ((good[:-40], ""), (good + b"x", "0" * 64), (zipped(("x", b"1")), None)):
            path.with_name(f"{path.name}.CHECKSUM").unlink(missing_ok=True)
            put(folder, "AUSDT", DAY, content, checksum)
            assert run(environment, "um", DAY, DAY).success
            assert digests(lake) == before
        rejected = read(reader, "quarantine.rejected")
        assert set(rejected["reason"]) == {"not_a_zip", "checksum_mismatch", "checksum_missing"}
        assert read(reader, "ledger.files").equals(first)

        put(folder, "AUSDT", DAY, "".join([*lines(), line(5)]))
        assert run(environment, "um", DAY, DAY).success
        assert Outcome(reader, True).minutes("AUSDT") == [0, 1, 2, 3, 4, 5]
        after = read(reader, "ledger.files").filter(pl.col("symbol") == "AUSDT").sort("ingested_at")
        assert after["rows"].to_list() == [5, 6]
        assert after["first_seen"].n_unique() == 1
        assert after["etag"].n_unique() == after["sha256"].n_unique() == 2
        assert read(reader, "quarantine.rejected").equals(rejected)


@pytest.mark.requirement("F3.3", "T4")
def test_a_full_disk_fails_the_run_with_advice_and_publishes_nothing(tmp_path: Path) -> None:
    archive, lake = tmp_path / "archive", tmp_path / "lake"
    make_sample(archive, symbols=3, days=1)
    with ArchiveServer(archive) as server:
        command = [sys.executable, "-m", "crypto_lakehouse_tests.system.runs"]
        done = subprocess.run(
            [*command, "um", "2024-12-27", "2024-12-27", "20000"],
            env=variables(server, lake),
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1, done.stderr
    assert "cannot write" in done.stdout
    assert "run again" in done.stdout
    # Instruments are made from the listing alone, and their few rows fit.
    assert [path for path in digests(lake) if not path.startswith("gold/instruments/")] == []


@pytest.mark.requirement("F3.3", "T5")
def test_wrong_s3_credentials_fail_the_run_and_say_what_to_set(
    tmp_path: Path, s3_lake: tuple[str, str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, endpoint, env = s3_lake
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", env["AWS_ACCESS_KEY_ID"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    put(tmp_path, "AUSDT", DAY, GOOD)
    with ArchiveServer(tmp_path) as server:
        result = run(settings(server, f"{uri}/refused", s3_endpoint_url=endpoint), "um", DAY, DAY)
    text = failures(result)
    assert not result.success
    assert "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" in text
    assert "not-the-secret" not in text
