"""Reads next to ArcticDB, in an environment of its own: one symbol of one-minute klines over years, and one day of it.

It is an area of ``reads.py``. ArcticDB keeps a symbol's rows as the user wrote them, on the local disk (LMDB). The
environment stays in the user's cache folder; where it cannot be made, the rows are skipped with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.install import clean_environment, fresh_environment, pip
from benchmarks.measure import Result, interleaved

_WORKER = Path(__file__).with_name("arctic_worker.py")
_WISH = 2


def against_arctic(
    rows: pl.DataFrame, six: list[str], day: datetime, ours: Mapping[str, Callable[[], object]], folder: Path
) -> Iterator[Result]:
    """Yield the time of ``ours`` over ArcticDB's for ``all``, ``six`` columns and the ``day``.

    ``rows`` are those of the symbol, in order of time; ``folder`` is new and gets ArcticDB's database.
    """
    python = _environment()
    if python is None:
        return
    with _arctic(python, rows, folder) as (version, ask):
        end = day + timedelta(days=1, microseconds=-1)
        questions = {
            "all": ("all", rows.height),
            # The index comes with any columns.
            "six": (f"columns {' '.join(name for name in six if name != 'open_time')}", rows.height),
            "day": (f"range {day:%Y-%m-%dT%H:%M:%S} {end:%Y-%m-%dT%H:%M:%S.%f}", 1440),
        }

        def read(question: str, count: int) -> None:
            assert ask(question) == count

        theirs = {f"arctic {name}": lambda asked=asked: read(*asked) for name, asked in questions.items()}
        seconds = interleaved({**ours, **theirs}, rounds=11)
    words = {
        "all": "two years of one symbol, all columns to pandas, over ArcticDB",
        "six": "two years of one symbol, 6 columns to Polars, over ArcticDB's to pandas",
        "day": "one day of one symbol, all columns to pandas, over ArcticDB",
    }
    for name, text in words.items():
        mine, their = seconds[name], seconds[f"arctic {name}"]
        detail = f"{1000 * mine:.0f} ms, ArcticDB {version} {1000 * their:.0f} ms"
        yield Result(f"reads: {text}", mine / their, _WISH, at_most=True, detail=detail, is_wish=True)


def _environment() -> Path | None:
    """Return the interpreter of an environment with ArcticDB; make it if it is missing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "crypto-lakehouse" / f"arcticdb-{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    try:
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.parent.mkdir(parents=True, exist_ok=True)
            fresh_environment(Path(sys.executable), folder)
            pip(python, "install", "arcticdb")
            (folder / "ready").touch()
    except (OSError, subprocess.CalledProcessError) as error:
        reason = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1]
        print(f"skipping the comparison with ArcticDB: it cannot be installed in {folder}: {reason}")
        return None
    return python


@contextmanager
def _arctic(python: Path, rows: pl.DataFrame, folder: Path) -> Iterator[tuple[str, Callable[[str], int]]]:
    """Store the rows in ArcticDB in another process; yield its version, and a function that asks it to read."""
    folder.mkdir()
    for column in rows.iter_columns():
        values = column.dt.epoch("us") if column.dtype.is_temporal() else column
        array = values.to_numpy()
        np.save(folder / f"{column.name}.npy", array.astype(str) if column.dtype == pl.String else array)
    command = [str(python), str(_WORKER), str(folder), str(rows["symbol"][0])]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean_environment()
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        asked, answers = worker.stdin, worker.stdout

        def ask(question: str) -> int:
            print(question, file=asked, flush=True)
            return int(answers.readline())

        try:
            yield answers.readline().strip(), ask
        finally:
            asked.close()
            worker.wait()
