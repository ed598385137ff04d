"""Pictures as a user makes them: candlesticks and coverage, in notebooks, as HTML and as PNG."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path

import matplotlib.image
import numpy as np
import plotly.io
import polars as pl
import pytest
from typer.testing import CliRunner

from crypto_lakehouse import Lakehouse, LakeWarning
from crypto_lakehouse.catalog import feed
from crypto_lakehouse.cli.main import app
from crypto_lakehouse.lake.pictures import style
from crypto_lakehouse.lake.pictures.picture import Picture
from crypto_lakehouse.lake.pictures.stretches import stretches
from crypto_lakehouse.lake.storage.ledger import record_files
from crypto_lakehouse.lake.storage.quarantine import record_rejected
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.files import ArchiveFolder
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.commands import parsed, recommended

pytestmark = pytest.mark.requirement("F6.17")

FOLDER = "data/futures/um/daily/klines"


@pytest.fixture(scope="module")
def faulty_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of 2024-12-27 to 2025-01-02 with a fault of every kind; its archive also has 2025-01-03."""
    from crypto_lakehouse_tests.system.runs import run, settings

    root = tmp_path_factory.mktemp("faulty")
    archive, lake = root / "archive", root / "lake"
    tables = ("klines_1m", "funding_rates")
    make_sample(archive, symbols=5, days=8, start=date(2024, 12, 27), tables=tables, markets=("um",))
    (lost,) = archive.glob(f"{FOLDER}/ETHUSDT/1m/*2024-12-30.zip")
    lost.unlink()
    lost.with_name(f"{lost.name}.CHECKSUM").unlink()
    (broken,) = archive.glob(f"{FOLDER}/BTCUSDT/1m/*2024-12-31.zip")
    broken.write_bytes(b"not a zip")
    digest = hashlib.sha256(b"not a zip").hexdigest()
    broken.with_name(f"{broken.name}.CHECKSUM").write_text(f"{digest}  {broken.name}\n", encoding="utf-8")
    (cut,) = archive.glob(f"{FOLDER}/LTCUSDT/1m/*2024-12-31.zip")
    cut.write_bytes(cut.read_bytes()[:-100])
    (odd,) = archive.glob(f"{FOLDER}/ETHUSDT/1m/*2024-12-28.zip")
    with zipfile.ZipFile(odd) as container:
        lines = container.read(container.namelist()[0]).decode().splitlines()
    fields = lines[100].split(",")
    lines[100] = ",".join([*fields[:2], "-1", *fields[3:]])
    ArchiveFolder(archive).add(str(odd.relative_to(archive)), ["\n".join([*lines, ""]).encode()])
    with ArchiveServer(archive) as server:
        environment = settings(server, lake, tables=",".join(tables))
        assert run(environment, "um", "2024-12", "2025-01", cadence="monthly").success
        run(environment, "um", "2024-12-27", "2025-01-02")
    (lake / "silver/klines_1m/exchange=binance/market=um/date=2025-01-01/part-0.parquet").unlink()
    return lake


def has_color(png: bytes, color: str) -> bool:
    """Whether some pixels of a picture have this colour."""
    pixels = (matplotlib.image.imread(io.BytesIO(png))[:, :, :3] * 255).round().astype(int)
    wanted = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
    return bool((np.abs(pixels - wanted).sum(axis=2) < 6).any())


def state(picture: Picture, symbol: str, day: str) -> str | None:
    rows = picture.data.filter(pl.col("symbol") == symbol, pl.col("date") == date.fromisoformat(day))
    return rows["state"].item() if rows.height else None


def test_coverage_says_what_is_there_and_why_the_rest_is_not(faulty_lake: Path) -> None:
    picture = Lakehouse(faulty_lake).plot_coverage(market="um", end="2025-01-04")
    assert {
        (symbol, day): state(picture, symbol, day)
        for symbol, day in [
            ("BTCUSDT", "2024-12-27"),
            ("LTCUSDT", "2024-12-28"),  # six quiet hours
            ("ETHUSDT", "2024-12-30"),
            ("BTCUSDT", "2024-12-31"),
            ("ETHUSDT", "2024-12-28"),
            ("LTCUSDT", "2024-12-31"),  # a download that failed
            ("ETHUSDT", "2025-01-01"),
            ("ETHUSDT", "2025-01-03"),
            ("SOLUSDT", "2024-12-29"),  # listed on the 30th
            ("XRPUSDT", "2025-01-02"),  # delisted after the 1st
        ]
    } == {
        ("BTCUSDT", "2024-12-27"): "there",
        ("LTCUSDT", "2024-12-28"): "filled",
        ("ETHUSDT", "2024-12-30"): "missing in the archive",
        ("BTCUSDT", "2024-12-31"): "quarantined",
        ("ETHUSDT", "2024-12-28"): "quarantined",
        ("LTCUSDT", "2024-12-31"): "missing in the lake",
        ("ETHUSDT", "2025-01-01"): "missing in the lake",
        ("ETHUSDT", "2025-01-03"): "missing in the lake",
        ("SOLUSDT", "2024-12-29"): None,
        ("XRPUSDT", "2025-01-02"): None,
    }
    reasons = picture.data.filter(state="quarantined").sort("date")["reason"].to_list()
    assert all(reasons)
    png, html = picture.png(), picture.html()
    for name, color in style.STATES.items():
        assert has_color(png, color), name
        assert name in html
    assert "<script src=" not in html


def test_rejects_of_a_file_that_was_replaced_do_not_count(store: LakeStore) -> None:
    klines, day = feed("binance", "um", "klines_1m"), "2024-01-01"
    key = f"{FOLDER}/AAAUSDT/1m/AAAUSDT-1m-{day}.zip"
    file = {"key": key, "symbol": "AAAUSDT", "period": day, "rows": 1440, "rejected_rows": 0, "status": "ingested"}
    reject = {"symbol": "AAAUSDT", "layer": "silver", "source_key": key, "source_line": 7, "reason": "x", "detail": "x"}
    store.write_bytes_atomic(f"silver/klines_1m/exchange=binance/market=um/date={day}/part-0.parquet", b"not opened")
    states = []
    for hour, sha256 in enumerate(("a" * 64, "b" * 64)):
        now = datetime(2024, 1, 2, hour, tzinfo=UTC)
        record_files(store, klines, day, [{**file, "sha256": sha256}], now)
        if not hour:
            record_rejected(store, klines, day, [{**reject, "source_sha256": sha256, "raw": "7"}], now)
        states.append(state(Lakehouse(store.uri).plot_coverage(market="um"), "AAAUSDT", day))
    assert states == ["quarantined", "there"]


def test_coverage_of_gold_and_monthly_tables(faulty_lake: Path) -> None:
    lake = Lakehouse(faulty_lake)
    bars = lake.plot_coverage("gold.bars_1h", market="um")
    assert state(bars, "ETHUSDT", "2025-01-01") == "there"
    assert state(bars, "ETHUSDT", "2024-12-30") == "missing in the archive"
    months = lake.plot_coverage("silver.funding_rates", market="um", symbols="BTC*")
    assert months.data.select("symbol", "date", "state").rows() == [
        ("BTCUSDT", date(2024, 12, 1), "there"),
        ("BTCUSDT", date(2025, 1, 1), "there"),
    ]
    newest = lake.plot_coverage(market="um", last="2d")
    assert (newest.data["date"].min(), newest.data["date"].max()) == (date(2025, 1, 1), date(2025, 1, 2))
    assert months.png().startswith(b"\x89PNG")
    assert months.figure.data[0].type == "heatmap"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"table": "gold.instruments", "market": "um"}, ValueError, "silver.klines_1m"),
        ({"table": "silver.klines", "market": "um"}, KeyError, "klines_1m"),
        ({"market": "spot"}, ValueError, "lake.tables()"),
        ({"market": "futures"}, KeyError, "um"),
        ({"market": "um", "symbols": "NONEUSDT"}, ValueError, "nothing to draw"),
    ],
)
def test_coverage_names_what_it_cannot_draw(
    faulty_lake: Path, arguments: dict[str, str], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words.replace("(", r"\(").replace(")", r"\)")):
        Lakehouse(faulty_lake).plot_coverage(**arguments)  # type: ignore[arg-type]


def test_coverage_of_a_table_that_was_never_built_says_how_to_build_it(faulty_lake: Path) -> None:
    with pytest.warns(LakeWarning, match=r"gold\.bars_4h of binance/um in .* has no partitions") as caught:
        picture = Lakehouse(faulty_lake).plot_coverage("gold.bars_4h", market="um", start="2024-12-30")
    assert not {"there", "filled"} & {*picture.data["state"]}
    assert len(caught) == 1
    assert any(parsed(command)["market"] == "um" for command in recommended(str(caught[0].message)))


def test_candles_show_volume_funding_and_filled_stretches(faulty_lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Lakehouse(faulty_lake).plot("LTCUSDT", market="um", start="2024-12-27", end="2024-12-30")
    figure = picture.figure
    assert [trace.type for trace in figure.data] == ["candlestick", "bar", "scatter", "scatter"]
    rising = (picture.data["close"] >= picture.data["open"]).to_list()
    assert list(figure.data[1].marker.color) == [style.RISING if up else style.FALLING for up in rising]
    assert len(figure.data[2].x) == 9
    (shape,) = figure.layout.shapes
    assert (shape.x0.hour, shape.x1.hour) == (5, 11)
    png = picture.png()
    for color in (style.RISING, style.FALLING, style.FUNDING):
        assert has_color(png, color)
    monkeypatch.setattr(plotly.io.renderers, "default", "plotly_mimetype")
    assert "application/vnd.plotly.v1+json" in picture._repr_mimebundle_()


def test_candles_without_start_are_the_newest(faulty_lake: Path) -> None:
    lake = Lakehouse(faulty_lake)
    newest = lake.plot("BTCUSDT", "15m", market="um", funding=False)
    assert (newest.data.height, newest.data["open_time"][-1].isoformat()) == (240, "2025-01-02T23:45:00+00:00")
    before = lake.plot("BTCUSDT", "1h", market="um", end="2024-12-28")
    assert before.data["open_time"][-1].isoformat() == "2024-12-27T23:00:00+00:00"
    assert lake.plot("BTCUSDT", "tick:50000", market="um").data.height > 1


def test_candles_name_what_they_cannot_draw(faulty_lake: Path) -> None:
    lake = Lakehouse(faulty_lake)
    with pytest.raises(ValueError, match="nothing to draw"), pytest.warns(UserWarning, match="BTCUSD"):
        lake.plot("BTCUSD", market="um")
    with pytest.raises(ValueError, match="choose one, such as BTCUSDT, ETHUSDT"):
        lake.plot("*USDT", market="um")
    with pytest.raises(TypeError, match="one symbol"):
        lake.plot(["BTCUSDT"], market="um")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="market='um'"):
        lake.plot("BTCUSDT")
    with pytest.raises(ValueError, match=r"\.png or \.html"):
        lake.plot("BTCUSDT", market="um").save("chart.jpg")


def bars(*rows: tuple[int, int, int, int]) -> pl.DataFrame:
    """Bars as (hour of the day, segment, minutes, filled minutes)."""
    hours = [pl.datetime(2024, 1, 1, hour, time_zone="UTC") for hour, *_ in rows]
    frame = pl.DataFrame(rows, schema=["hour", "segment", "n_minutes", "n_filled"], orient="row")
    times = pl.select(pl.concat_list(hours).explode().alias("open_time"))["open_time"]
    return frame.with_columns(times, close_time=times + pl.duration(minutes=60, microseconds=-1))


def test_stretches_are_joined_and_told_apart() -> None:
    rows = bars((0, 0, 60, 0), (1, 0, 60, 60), (2, 0, 60, 30), (3, 0, 60, 29), (6, 0, 60, 0), (9, 1, 60, 0))
    assert [(each.kind, each.start.hour, each.end.hour) for each in stretches(rows)] == [
        ("filled", 1, 3),
        ("no bars", 4, 6),
        ("gap", 7, 9),
    ]
    assert stretches(bars((0, 0, 60, 0))) == []


@pytest.fixture
def _in_lake(faulty_lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(faulty_lake))


@pytest.mark.usefixtures("_in_lake")
@pytest.mark.parametrize("arguments", [("candles", "BTCUSDT", "--last", "2d"), ("coverage", "gold.bars_1h")])
@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.html", b"<!doctype html>")])
def test_the_shell_draws(tmp_path: Path, arguments: tuple[str, ...], name: str, start: bytes) -> None:
    result = CliRunner().invoke(app, ["plot", *arguments, "--market", "um", "--out", str(tmp_path / name)])
    assert (result.exit_code, result.stderr) == (0, "")
    assert name in result.stdout
    assert (tmp_path / name).read_bytes().startswith(start)


@pytest.mark.usefixtures("_in_lake")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("candles", "BTCUSDT", "--out", "a.jpg"), "end the name with .png or .html"),
        (("candles", "BTCUSDT", "--bars", "1y", "--out", "a.png"), "1y"),
        (("coverage", "silver.klines_1q", "--out", "a.png"), "klines_1m"),
    ],
)
def test_the_shell_refuses_with_words(arguments: tuple[str, ...], words: str) -> None:
    result = CliRunner().invoke(app, ["plot", *arguments, "--market", "um"])
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())


def test_without_plotly_the_error_says_what_to_install(faulty_lake: Path) -> None:
    code = (
        "import sys; sys.modules['plotly'] = None; from crypto_lakehouse import Lakehouse;"
        f"Lakehouse({str(faulty_lake)!r}).plot('BTCUSDT', market='um').html()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'crypto-lakehouse[plot]'" in result.stderr
