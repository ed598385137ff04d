"""The command line. ``main.py`` has the app; each group of commands has a file."""

from crypto_lakehouse.cli.main import app

__all__ = ["app"]
