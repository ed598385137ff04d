"""``make notebook``: it builds the demo if there is none, and JupyterLab serves the notebooks with a kernel on it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jupyterlab", reason="JupyterLab is not installed: install the extra notebook")

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F6.5")]

ROOT = Path(__file__).parents[2]
NOTEBOOK = "notebooks/1_first_tour.ipynb"
TOKEN = "secret"


@dataclass(frozen=True)
class Jupyter:
    """A running server: its address, its folder, and where it keeps the connections of its kernels."""

    url: str
    folder: Path
    runtime: Path

    def request(self, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(f"{self.url}{path}", headers={"Authorization": f"token {TOKEN}"})
        if body is not None:
            request.data = json.dumps(body).encode()
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)


@pytest.fixture
def jupyter(tmp_path: Path) -> Iterator[Jupyter]:
    """The server of ``make notebook`` in a folder that looks like a checkout without a demo."""
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    runtime = tmp_path / "runtime"
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("LAKEHOUSE_", "DAGSTER_"))}
    environment = {
        **variables,
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        # The kernel must read with this checkout, installed or not.
        "PYTHONPATH": str(ROOT),
    }
    options = f"LAB=--no-browser --port=0 --IdentityProvider.token={TOKEN}"
    # The packages of this environment are those of the tests, so make must not install any.
    command = ["make", "--file", ROOT / "Makefile", "--assume-old", ".venv/.ready", "notebook", options]
    log = tmp_path / "make.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield Jupyter(_address(server, runtime, log), tmp_path, runtime)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _address(server: subprocess.Popen[bytes], runtime: Path, log: Path) -> str:
    while server.poll() is None:
        for state in runtime.glob("jpserver-*.json"):
            try:
                url = json.loads(state.read_text())["url"].rstrip("/")
                urllib.request.urlopen(f"{url}/api").close()
            except (ValueError, OSError):
                continue  # The file is being written, or the server does not answer yet.
            return str(url)
        time.sleep(0.2)
    pytest.fail(f"make notebook ended:\n{log.read_text(errors='replace')[-3000:]}")


def test_jupyterlab_opens_the_notebooks_on_a_new_demo_and_pip_works_in_them(jupyter: Jupyter) -> None:
    from jupyter_client import BlockingKernelClient

    listed = {entry["path"] for entry in jupyter.request("/api/contents/notebooks?content=1")["content"]}
    assert listed == {f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    page = urllib.request.urlopen(f"{jupyter.url}/lab/tree/{NOTEBOOK}?token={TOKEN}").read().decode()
    assert "JupyterLab" in page
    # No box asks whether to fetch news.
    assert re.search(r'"disabledExtensions": \[[^]]*apputils-extension:announcements"', page)

    session = jupyter.request(
        "/api/sessions", {"path": NOTEBOOK, "type": "notebook", "name": "", "kernel": {"name": "python3"}}
    )
    client = BlockingKernelClient(connection_file=str(jupyter.runtime / f"kernel-{session['kernel']['id']}.json"))
    client.load_connection_file()
    client.start_channels()
    client.wait_for_ready()
    cells = jupyter.request(f"/api/contents/{NOTEBOOK}")["content"]["cells"]
    first = next(cell["source"] for cell in cells if cell["cell_type"] == "code")
    shown: list[str] = []

    def note(message: dict[str, Any]) -> None:
        shown.append(message["content"].get("text", ""))

    for code in (first, "print(lake.uri)", "print(len(lake.tables()))", "%pip --version"):
        answer = client.execute_interactive(code, output_hook=note, timeout=None)
        assert answer["content"]["status"] == "ok", answer
    client.stop_channels()
    text = "".join(shown)
    assert f"{jupyter.folder / 'demo' / 'lake'}\n" in text
    assert "pip " in text
