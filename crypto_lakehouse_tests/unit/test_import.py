"""What a notebook pays for: importing the package, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.requirement("T6")
def test_importing_the_package_loads_no_dagster() -> None:
    code = "import sys, crypto_lakehouse; print([m for m in sys.modules if m.split('.')[0].startswith('dagster')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
