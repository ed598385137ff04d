"""Pictures of breadth and correlation as a user makes them, on a lake of two symbols and three days."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from crypto_lakehouse import Lakehouse, LakeWarning
from crypto_lakehouse.cli.main import app
from crypto_lakehouse.lake.pictures import style
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
