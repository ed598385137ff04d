"""``make prod-check`` where nothing can be installed: it checks what it can, and names the rest with its reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crypto_lakehouse_tests.prod_check import CHECKS, ROOT


@pytest.mark.slow
@pytest.mark.requirement("T13")
def test_what_cannot_be_installed_is_skipped_with_its_reason(tmp_path: Path) -> None:
    nowhere = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}
    variables = {**os.environ, **nowhere, "XDG_CACHE_HOME": str(tmp_path), "PATH": str(tmp_path)}
    command = [sys.executable, "-m", "crypto_lakehouse_tests.prod_check"]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(CHECKS)
    assert lines[0].startswith("ok      YAML files")
    assert all(line.startswith("skipped ") for line in lines[1:])
    assert "skipped Dockerfile: hadolint: its packages cannot be installed: ERROR: No matching distribution" in lines[1]
    assert "skipped compose.yaml: dclint: npm is not installed" in lines
    assert "skipped Helm: template: helm is not installed" in lines
