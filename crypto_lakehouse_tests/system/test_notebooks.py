"""The notebooks, run by real kernels over the lake of the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crypto_lakehouse_tests.system.test_cli import run

nbformat = pytest.importorskip("nbformat", reason="needs the extra 'notebook'")
nbclient = pytest.importorskip("nbclient", reason="needs the extra 'notebook'")

pytestmark = pytest.mark.requirement("F6.5")

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
# What a notebook shows: pieces of the text of its outputs, and its interactive figures by the type of their traces.
SHOWS = {
    "1_first_tour.ipynb": (["gold", "millions"], ["candlestick"]),
    "2_backfill_and_coverage.ipynb": (
        ["LTCUSDT", "crypto-lakehouse backfill --market um --table klines_1m --from 2024-12-25 --to 2025-01-07"],
        ["heatmap", "heatmap"],
    ),
    "3_funding_and_basis.ipynb": (["2025-01-05 08:00:00.006"], ["scatter", "scatter"]),
    "4_momentum.ipynb": (["net return"], ["scatter", "heatmap", "scatter"]),
    "5_data_quality.ipynb": (["source_sha256", "traded minutes"], ["candlestick"]),
    "6_machine_learning.ipynb": (["rank correlation in the test", "features of the past have changed"], []),
    "7_known_by.ipynb": (["49 decisions, 49 equal signals", "use a bar of the future"], []),
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo."""
    folder = tmp_path_factory.mktemp("demo")
    made = run(folder, "demo", "--folder", ".", "--end", "2025-01-05")
    assert made.returncode == 0, made.stdout + made.stderr
    return folder


@pytest.mark.parametrize("name", NOTEBOOKS)
@pytest.mark.parametrize("folder", [".", "notebooks"])
@pytest.mark.parametrize(
    ("uri", "place"), [(None, "{root}/demo/lake"), ("./mine/lake", "{root}/mine/lake"), ("file:///a/lake", "/a/lake")]
)
def test_a_notebook_reads_the_same_lake_from_either_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, folder: str, uri: str | None, place: str
) -> None:
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / folder)
    monkeypatch.delenv("LAKEHOUSE_LAKE_URI", raising=False)
    if uri is not None:
        monkeypatch.setenv("LAKEHOUSE_LAKE_URI", uri)
    first = next(cell for cell in nbformat.read(FOLDER / name, as_version=4).cells if cell.cell_type == "code")
    names: dict[str, Any] = {}
    exec(first.source, names)
    assert names["lake"].uri == place.format(root=tmp_path)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_shows(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(demo / "lake"))
    # The kernel starts in another folder; it must read with this checkout, installed or not.
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    monkeypatch.delenv("LAKEHOUSE_S3_ENDPOINT_URL", raising=False)
    notebook = nbformat.read(FOLDER / name, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "notebooks are kept without outputs"

    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=str(tmp_path))

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    texts, traces = SHOWS[name]
    shown = "\n".join(str(output.get("text") or output.data) for output in outputs)
    assert [text for text in texts if text not in shown] == []
    figures = [output.data["application/vnd.plotly.v1+json"] for output in outputs if "plotly" in str(output)]
    assert [figure["data"][0]["type"] for figure in figures] == traces
    assert list(tmp_path.iterdir()) == []
