"""The program with stages that sleep: ``python -m benchmarks.sleeping SECONDS COMMAND ...``.

Each partition takes SECONDS longer to store, without a core. So it shows how chunks are divided among processes, also
on a machine with few cores. Processes that the program starts load this module as well, so their stages sleep too.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from crypto_lakehouse.orchestration import io_manager

_SECONDS = float(sys.argv[1])
_store = io_manager.store_partition


def _sleep_and_store(*arguments: Any) -> Any:
    time.sleep(_SECONDS)
    return _store(*arguments)


io_manager.store_partition = _sleep_and_store  # type: ignore[assignment]

if __name__ == "__main__":
    from crypto_lakehouse.cli import app

    app(args=sys.argv[2:])
