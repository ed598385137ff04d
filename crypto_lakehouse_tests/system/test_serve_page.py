"""The snippets of ``docs/api/rest.md`` run against a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from crypto_lakehouse.api.app import endpoints
from crypto_lakehouse.api.config import ServeConfig
from crypto_lakehouse_tests.system.served import Served
from crypto_lakehouse_tests.system.test_pages import ROOT, snippets

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F9.1", "F9.3", "T12")]

PAGE = ROOT / "docs" / "api" / "rest.md"
ADDRESS = "http://127.0.0.1:8000"


def test_the_snippets_of_the_page_run(served_lake: Path, tmp_path: Path) -> None:
    parts = [snippet for snippet in snippets(PAGE) if not snippet.reason]
    assert {part.language for part in parts} == {"sh", "python"}
    with Served(served_lake, tmp_path) as server:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        for part in parts:
            code = part.code.replace(ADDRESS, server.url)
            command = [sys.executable, "-c", code]
            if part.language == "sh":
                command = ["bash", "-euxo", "pipefail", "-c", code.replace("curl ", "curl --no-progress-meter ")]
            result = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                cwd=tmp_path,
                env=server.environment | {"PATH": path},
            )
            assert result.returncode == 0, result.stderr[-2000:]
            assert "Traceback" not in result.stderr
        audits = [line for line in server.log.splitlines() if '"crypto_lakehouse.audit"' in line]
        # The page asks for one table that does not exist, and for bars that it has.
        wrong = [line for line in audits if re.search(r'"status": [45]', line)]
        assert [line for line in wrong if "unknown-name" not in line] == []
        assert any('"status": 304' in line for line in audits)
        assert any('"who": "dashboard"' in line for line in audits)


def test_the_page_names_every_endpoint_and_status(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    app = endpoints(ServeConfig(str(tmp_path), str(tmp_path / "tokens.json")))
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(operations) == 16
    assert {name for name, _ in operations if f"`{name}`" not in text} == set()
    statuses = {status for _, operation in operations for status in operation["responses"]} - {"200", "500"}
    assert {status for status in statuses if status not in text} == set()
