"""The cost of importing the package, in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NAME = "MIMALLOC_PURGE_DELAY"


# Each takes a tenth of a second or more to import.
HEAVY = {
    "dagster",
    "duckdb",
    "pandas",
    "plotly",
    "matplotlib",
    "polars",
    "pyarrow",
    "numpy",
    "aiohttp",
    "boto3",
    "pydantic",
}


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("code", ["import crypto_lakehouse", "from crypto_lakehouse.cli import app"])
def test_neither_the_package_nor_the_help_of_a_command_loads_what_is_slow_to_import(code: str) -> None:
    ask = f"{code}; import sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(result.stdout.split())


@pytest.mark.requirement("T6")
def test_a_read_into_polars_loads_neither_pandas_nor_what_computes_and_queries(sample_lake: Path) -> None:
    read = f"from crypto_lakehouse import Lakehouse; lake = Lakehouse({str(sample_lake)!r})"
    code = f"{read}; rows = lake.read('silver.klines_1m', market='um', format='polars'); assert rows.height"
    ask = f"{code}; import sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", ask], capture_output=True, text=True, check=True)
    assert {"dagster", "duckdb", "pandas", "plotly", "matplotlib", "numba"}.isdisjoint(result.stdout.split())


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


@pytest.mark.requirement("T6")
@pytest.mark.parametrize(
    "statement",
    ["import crypto_lakehouse", "from crypto_lakehouse import Lakehouse, LakeError, LakeWarning; Lakehouse('nowhere')"],
)
def test_importing_loads_few_packages(statement: str) -> None:
    code = (
        "import sys; before = set(sys.modules); " + statement + "\n"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(tops - set(sys.stdlib_module_names)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert not loaded & {"dagster", "duckdb", "pandas", "plotly", "aiohttp", "numba", "pydantic", "typer"}
    assert loaded == {"crypto_lakehouse"} or "Lakehouse" in statement
