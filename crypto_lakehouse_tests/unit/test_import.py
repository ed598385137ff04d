"""The cost of importing the package, in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

NAME = "MIMALLOC_PURGE_DELAY"


@pytest.mark.requirement("T6")
def test_importing_the_package_loads_no_dagster() -> None:
    code = "import sys, crypto_lakehouse; print([m for m in sys.modules if m.split('.')[0].startswith('dagster')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.requirement("P3")
@pytest.mark.parametrize(("given", "used"), [(None, "10000"), ("5", "5")])
def test_arrow_keeps_memory_for_the_next_day_unless_the_user_says_otherwise(given: str | None, used: str) -> None:
    code = "import crypto_lakehouse, os, pyarrow; print(os.environ[NAME], pyarrow.default_memory_pool().backend_name)"
    environment = {key: value for key, value in os.environ.items() if key != NAME}
    if given:
        environment[NAME] = given
    command = [sys.executable, "-c", code.replace("NAME", repr(NAME))]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.split() == [used, "mimalloc"]
