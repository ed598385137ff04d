"""The part of ``arctic.py`` that runs in the environment of ArcticDB: it has no package of this project.

    python arctic_worker.py FOLDER KEY

stores the columns of ``FOLDER`` (one ``.npy`` file each, ``open_time`` in microseconds) under the key in a database in
the same folder, and says its version. Then it reads what each line of its input asks for, and answers with the number
of rows: ``all``, ``columns NAME ...`` or ``range START END`` (ISO times, both inclusive).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import arcticdb  # type: ignore[import-not-found]
import numpy as np
import pandas as pd


def main() -> None:
    """Store the columns, then answer until the input ends."""
    folder, key = Path(sys.argv[1]), sys.argv[2]
    library = arcticdb.Arctic(f"lmdb://{folder / 'database'}").get_library("minutes", create_if_missing=True)
    columns: dict[str, Any] = {}
    for path in sorted(folder.glob("*.npy")):
        values = np.load(path)
        columns[path.stem] = values.astype(object) if values.dtype.kind == "U" else values
    index = pd.to_datetime(columns.pop("open_time"), unit="us", utc=True).rename("open_time")
    columns["close_time"] = pd.to_datetime(columns["close_time"], unit="us", utc=True)
    library.write(key, pd.DataFrame(columns, index=index))
    print(arcticdb.__version__, flush=True)
    for line in sys.stdin:
        word, *values = line.split()
        asked: dict[str, Any] = {}
        if word == "columns":
            asked["columns"] = values
        elif word == "range":
            asked["date_range"] = tuple(pd.Timestamp(value, tz="UTC") for value in values)
        print(len(library.read(key, **asked).data), flush=True)


if __name__ == "__main__":
    main()
