"""The entry point of the command line, which handles signals from its start. The commands are in ``cli/main.py``."""

from __future__ import annotations

import sys

from crypto_lakehouse import interrupts


def main() -> None:
    """Run the command that the arguments name, and end the process."""
    # Libraries take seconds to load on a busy machine. A signal that raises an error in them prints a long traceback.
    interrupts.install()
    interrupts.defer()
    from crypto_lakehouse.cli import app

    if interrupts.received():
        interrupts.ignore()
        sys.exit(interrupts.exit_code())
    app()


if __name__ == "__main__":
    main()
