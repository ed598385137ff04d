"""The example notebook, run by a real kernel over a small lake."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crypto_lakehouse.schemas import schema_of

nbformat = pytest.importorskip("nbformat", reason="needs the extra 'notebook'")
nbclient = pytest.importorskip("nbclient", reason="needs the extra 'notebook'")

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "explore.ipynb"


def put_day(root: Path, table: str, day: datetime, step: timedelta) -> None:
    layer, name = table.split(".")
    count = timedelta(days=1) // step
    times = [day + step * i for i in range(count)]
    close = [100 + 5 * math.sin(i / 7) for i in range(count)]
    frame = pl.DataFrame(
        {
            "symbol": "AAAUSDT",
            "open_time": times,
            "close_time": [at + step - timedelta(microseconds=1) for at in times],
            "open": [100.0, *close[:-1]],
            "high": [106.0] * count,
            "low": [94.0] * count,
            "close": close,
            "base_volume": [10.0] * count,
            "quote_volume": [1000.0] * count,
        },
        schema_overrides={
            "open_time": pl.Datetime("us", "UTC"),
            "close_time": pl.Datetime("us", "UTC"),
        },
    )
    empty = pl.DataFrame(schema_of(layer, name).arrow.empty_table())
    folder = root / layer / name / "exchange=binance" / "market=um" / f"date={day:%Y-%m-%d}"
    folder.mkdir(parents=True)
    pl.concat([empty, frame], how="diagonal").write_parquet(folder / "part-0.parquet")


@pytest.mark.requirement("F6.5")
@pytest.mark.parametrize("folder", [".", "notebooks"])
@pytest.mark.parametrize(
    ("uri", "place"), [(None, "{root}/lake"), ("./demo/lake", "{root}/demo/lake"), ("file:///a/lake", "/a/lake")]
)
def test_notebook_reads_the_same_lake_from_either_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, uri: str | None, place: str
) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path / folder)
    monkeypatch.delenv("LAKEHOUSE_LAKE_URI", raising=False)
    if uri is not None:
        monkeypatch.setenv("LAKEHOUSE_LAKE_URI", uri)
    first = next(cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code")
    names: dict[str, Any] = {}
    exec(first.source, names)
    assert names["lake"].uri == place.format(root=tmp_path)


@pytest.mark.requirement("F6.5")
def test_notebook_runs_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)):
        put_day(tmp_path, "gold.bars_1h", day, timedelta(hours=1))
        put_day(tmp_path, "silver.klines_1m", day, timedelta(minutes=1))
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(tmp_path))
    # The kernel starts in another folder; it must read with this checkout, installed or not.
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    monkeypatch.delenv("LAKEHOUSE_S3_ENDPOINT_URL", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "the notebook is kept without outputs"

    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=str(tmp_path))

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    figures = [output.data["application/vnd.plotly.v1+json"] for output in outputs if "plotly" in str(output)]
    assert [trace["type"] for trace in figures[-1]["data"]] == ["candlestick", "bar"]
    assert "AAAUSDT on um" in str(figures[-1]["layout"]["title"])
