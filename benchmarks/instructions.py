"""Instructions that the parse of a fixed input takes, counted by callgrind: independent of the load of the machine.

``python -m benchmarks.instructions`` needs ``valgrind`` (Debian's package) and takes some minutes. It runs the parse of
forty fixed files once and three times under callgrind, and halves the difference, so that the start of Python and its
libraries does not count. The count depends on the processor's features and the versions of the libraries.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

from crypto_lakehouse.catalog.binance_files import KLINES
from crypto_lakehouse.transforms.parse import parse_csv, parse_joined

_FILES, _ROWS = 40, 1440
_COLLECTED = re.compile(r"Collected : (\d+)")


def fixed_files() -> list[bytes]:
    """Return forty days of one-minute klines, computed by a formula."""
    header = ",".join(KLINES.column_names)
    texts = []
    for file in range(_FILES):
        lines = [header]
        for minute in range(_ROWS):
            time = 1_733_011_200_000 + minute * 60_000
            low, volume = 100 + file + minute / 1000, (minute * 7919 + file) % 100_003 / 8
            prices = f"{low + 0.25:.4f},{low + 0.5:.4f},{low:.4f},{low + 0.125:.4f}"
            taken = f"{minute % 977},{volume / 2:.3f},{volume * low / 2:.6f},0"
            lines.append(f"{time},{prices},{volume:.3f},{time + 59_999},{volume * low:.6f},{taken}")
        texts.append("\n".join(lines).encode() + b"\n")
    return texts


def parse(way: str, times: int) -> None:
    """Parse the fixed files together or one by one."""
    texts = fixed_files()
    for _ in range(times):
        if way == "together":
            assert parse_joined(texts, KLINES) is not None
        else:
            assert sum(parse_csv(text, KLINES).rows.height for text in texts) == _FILES * _ROWS


def count(way: str, times: int) -> int:
    """Return the instructions of a process that parses the files ``times`` times."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-m"]
    # One thread: how often idle threads look for work is random.
    quiet = {**os.environ, "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    ran = subprocess.run(
        [*command, "benchmarks.instructions", way, str(times)], env=quiet, capture_output=True, text=True, check=True
    )
    found = _COLLECTED.search(ran.stderr)
    assert found is not None, ran.stderr
    return int(found[1])


def main() -> None:
    """Print the instructions per row of both ways."""
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed: apt-get install valgrind")
    for way in ("together", "one by one"):
        instructions = (count(way, 3) - count(way, 1)) / 2
        a_row = instructions / _FILES / _ROWS
        print(f"parse of {_FILES} files, {way}: {instructions:,.0f} instructions, {a_row:,.0f} a row")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        parse(sys.argv[1], int(sys.argv[2]))
    else:
        main()
