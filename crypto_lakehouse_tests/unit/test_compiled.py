"""Compiled loops give the results of plain Python, freshly compiled or cached."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crypto_lakehouse.transforms.gold.kernels.compiled import compiled


def ratios(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    made = np.empty(len(values))
    for row in range(len(values)):
        made[row] = values[row] / by[row]
    return made


@pytest.mark.requirement("D9")
def test_division_by_zero_is_that_of_ieee_754() -> None:
    made = compiled(ratios)(np.array([1.0, -1.0, 0.0, 1.0]), np.array([0.0, 0.0, 0.0, 3.0]))
    assert made[0] == np.inf
    assert made[1] == -np.inf
    assert np.isnan(made[2])
    assert made[3] == 1 / 3


@pytest.mark.requirement("D9")
def test_sums_run_in_the_written_order() -> None:
    def added(values: np.ndarray) -> float:
        total = 0.0
        for value in values:
            total += value
        return total

    values = np.random.default_rng(1).lognormal(0, 20, 999)
    assert compiled(added)(values) == added(values)


def test_code_is_compiled_even_without_a_writable_cache() -> None:
    names: dict[str, object] = {}
    # The function has no file, so Numba has no folder for its cache.
    exec("def twice(number):\n    return 2 * number", names)
    assert compiled(names["twice"])(21) == 42  # type: ignore[arg-type]


SHAPES = """
from typing import NamedTuple
import numpy as np

class {name}(NamedTuple):
    {fields[0]}: np.ndarray
    {fields[1]}: np.ndarray
"""
LOOPS = """
from crypto_lakehouse.transforms.gold.kernels.compiled import compiled

@compiled
def difference(rows):
    return rows.more[0] - rows.less[0]
"""
RUN = "import numpy as np, loops, shapes; print(loops.difference(shapes.{name}(more=np.ones(1), less=np.zeros(1))))"


@pytest.mark.parametrize(
    ("name", "fields"),
    [("Pair", ("less", "more")), ("Both", ("more", "less"))],
    ids=["columns in another order", "another name"],
)
def test_code_on_disk_is_not_used_for_columns_of_another_shape(
    tmp_path: Path, name: str, fields: tuple[str, str]
) -> None:
    (tmp_path / "loops.py").write_text(LOOPS)
    for shape, columns in (("Pair", ("more", "less")), (name, fields)):
        (tmp_path / "shapes.py").write_text(SHAPES.format(name=shape, fields=columns))
        ran = subprocess.run(
            [sys.executable, "-B", "-c", RUN.format(name=shape)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}", "NUMBA_CACHE_DIR": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.stdout.strip(), ran.returncode) == ("1.0", 0), ran.stderr
