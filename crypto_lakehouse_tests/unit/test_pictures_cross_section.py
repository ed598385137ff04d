"""Pictures of breadth and correlation as a user makes them, on a lake of two symbols and three days."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from crypto_lakehouse import Lakehouse, LakeWarning
from crypto_lakehouse.cli.main import app
from crypto_lakehouse.lake.pictures import style
from crypto_lakehouse.lake.pictures.picture import Picture
from crypto_lakehouse_tests.unit.test_pictures import has_color

pytestmark = pytest.mark.requirement("F6.17")


def test_breadth_is_drawn_by_both_libraries(sample_lake: Path) -> None:
    picture = Lakehouse(sample_lake).plot_breadth(interval="4h", market="um", average=3)
    rows = picture.data
    assert (rows["symbols"].max(), rows["averaged"].max()) == (2, 2)
    assert (rows["advancing"] + rows["declining"] <= rows["symbols"]).all()
    above, up, down = picture.figure.data
    assert (above.type, up.type, down.type) == ("scatter", "bar", "bar")
    assert list(up.y) == rows["advancing"].to_list()
    assert list(down.y) == [-count for count in rows["declining"]]
    png = picture.png()
    for color in (style.RISING, style.FALLING, style.FUNDING):
        assert has_color(png, color)


def test_breadth_without_any_mean_warns(sample_lake: Path) -> None:
    words = "no symbol of binance/um has 20 1d bars in a row in this range"
    with pytest.warns(LakeWarning, match=words) as caught:
        Lakehouse(sample_lake).plot_breadth(market="um")
    assert Path(caught[0].filename) == Path(__file__)


def labels(picture: Picture) -> list[str]:
    figure = picture._matplotlib(None)
    return [label.get_text() for label in figure.axes[-1].get_xticklabels()]


def test_labels_of_times_name_the_month_of_the_first_one_and_of_no_later_bar(sample_lake: Path) -> None:
    lake, december = Lakehouse(sample_lake), {"market": "um", "start": "2024-12-30", "end": "2025-01-01"}
    candles: Any = lake.plot("BTCUSDT", "1h", **december)
    breadth: Any = lake.plot_breadth(interval="4h", average=3, **december)
    for drawn in (candles, breadth):
        first, *others = labels(drawn)
        assert first == "00:00\n2024-12-30" or (drawn is breadth and first.endswith("2024-12-30"))
        assert any(label == "00:00\n2024-12-31" for label in others)
        assert not any("2025" in label for label in others)
    coverage: Any = lake.plot_coverage("gold.bars_1h", market="um", start="2024-12-30", end="2025-01-02")
    assert labels(coverage) == ["30\nDec 2024", "31", "01\nJan 2025"]
    one_month: Any = lake.plot_coverage("silver.funding_rates", market="um", start="2024-12", end="2025-01")
    assert labels(one_month) == ["Dec\n2024"]


def test_a_folder_that_does_not_exist_is_named(sample_lake: Path, tmp_path: Path) -> None:
    picture = Lakehouse(sample_lake).plot_breadth(interval="4h", market="um", average=3)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*new for the picture x\.png: create it first"):
        picture.save(tmp_path / "new" / "x.png")


def test_a_range_of_breadth_has_the_rows_of_the_whole(sample_lake: Path) -> None:
    lake = Lakehouse(sample_lake)
    whole = lake.plot_breadth(interval="4h", market="um", average=5).data
    for part in ({"start": "2024-12-31"}, {"last": "2d"}, {"end": "2025-01-02", "last": "2d"}):
        rows = lake.plot_breadth(interval="4h", market="um", average=5, **part).data  # type: ignore[arg-type]
        assert rows.equals(whole.filter(pl.col("open_time") >= pl.datetime(2024, 12, 31, time_zone="UTC")))


def test_correlations_are_those_of_numpy(sample_lake: Path) -> None:
    lake = Lakehouse(sample_lake)
    picture = lake.plot_correlation(interval="1h", market="um")
    closes = lake.panel("close", interval="1h", market="um", format="numpy")
    returns = closes.values[1:] / closes.values[:-1] - 1  # type: ignore[union-attr]
    expected = np.corrcoef(returns.T)
    assert np.allclose(picture.data["correlation"].to_numpy().reshape(2, 2), expected)
    (heatmap,) = picture.figure.data
    assert (list(heatmap.x), heatmap.zmin, heatmap.zmax) == (["BTCUSDT", "ETHUSDT"], -1, 1)
    assert has_color(picture.png(), style.CORRELATION[-1][1])


@pytest.mark.parametrize(
    ("method", "arguments", "words"),
    [
        ("plot_breadth", {"interval": "1w"}, "no symbol of binance/um has two 1w bars in a row"),
        ("plot_breadth", {"average": 1}, "2 or more"),
        ("plot_breadth", {"interval": "tick:5"}, "an interval such as '1d'"),
        (
            "plot_correlation",
            {"symbols": "BTCUSDT"},
            "1 symbol of binance/um has 1d bars in this range: choose several",
        ),
        ("plot_correlation", {"interval": "2x"}, "2x"),
    ],
)
def test_what_cannot_be_drawn_is_an_error(
    sample_lake: Path, method: str, arguments: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        getattr(Lakehouse(sample_lake), method)(market="um", **arguments)


@pytest.mark.parametrize(
    "arguments", [("breadth", "--interval", "4h", "--average", "3"), ("correlation", "--interval", "1h")]
)
@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.html", b"<!doctype html>")])
def test_the_shell_draws_them(
    sample_lake: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    name: str,
    start: bytes,
) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(sample_lake))
    out = tmp_path / name
    result = CliRunner().invoke(app, ["plot", *arguments, "--market", "um", "--last", "2d", "--out", str(out)])
    assert (result.exit_code, result.stderr) == (0, "")
    assert out.read_bytes().startswith(start)


@pytest.mark.parametrize("method", ["plot_breadth", "plot_correlation"])
@pytest.mark.parametrize("times", [{"last": "2d"}, {"start": "2020-01", "end": "2020-02"}, {}])
def test_an_unknown_symbol_and_a_range_without_bars_are_errors(
    sample_lake: Path, method: str, times: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match="no symbol of binance/um"), pytest.warns(LakeWarning):
        getattr(Lakehouse(sample_lake), method)("NONEUSDT", market="um", **times)
    with pytest.raises(ValueError, match="no symbol of binance/um"), pytest.warns(LakeWarning):
        getattr(Lakehouse(sample_lake), method)(market="um", start="2020-01", end="2020-02")
