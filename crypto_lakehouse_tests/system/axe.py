"""The checks of axe-core for labels, contrast and structure of a page. Nothing here asserts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

_PACKAGE = "axe-core@4.14.1"
_FOLDER = Path.home() / ".cache" / "crypto-lakehouse-checks" / _PACKAGE


def axe_source() -> str:
    """The script, from npm, kept in the user's cache; the test is skipped where it cannot be installed."""
    script = _FOLDER / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed, which axe-core comes from")
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(_FOLDER), _PACKAGE]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if result.returncode:
            pytest.skip(f"npm cannot install {_PACKAGE}: {result.stderr[-300:]}")
    return script.read_text(encoding="utf-8")


def violations(page: Page, source: str) -> list[str]:
    """What axe finds wrong in the page as it is shown now: rule, element and reason."""
    # A page may not load scripts of others; the debugger may run them.
    page.evaluate(source)
    results: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']}: {node['target']}: {node.get('failureSummary', '')}"
        for rule in results["violations"]
        for node in rule["nodes"]
    ]
