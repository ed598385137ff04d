"""The optional packages of an installation: which extra has a module, and the command that installs it.

``pyproject.toml`` lists the packages of each extra. The base installation reads a lake; ``platform`` builds one,
``plot`` draws pictures and ``serve`` serves it. Nothing here imports what it names.
"""

from __future__ import annotations

import shlex

from crypto_lakehouse.catalog.commands import PROGRAM

PLATFORM, PLOT, SERVE = "platform", "plot", "serve"

MODULES = {
    PLATFORM: (
        *("aiohttp", "dagster", "dagster_aws", "dagster_dg_cli", "dagster_duckdb", "dagster_postgres"),
        *("dagster_webserver", "isal", "psycopg2", "tenacity"),
        # Packages that come with those: click, sqlalchemy, alembic and yaml with Dagster, yarl with aiohttp.
        *("alembic", "click", "sqlalchemy", "yaml", "yarl"),
    ),
    PLOT: ("matplotlib", "PIL", "plotly"),
    # Starlette and anyio come with FastAPI.
    SERVE: ("anyio", "fastapi", "jinja2", "prometheus_client", "starlette", "uvicorn"),
}
"""Top-level modules of each extra that the code imports."""


def install_command(extra: str) -> str:
    """The command that installs an extra.

    >>> install_command("platform")
    "pip install 'crypto-lakehouse[platform]'"
    """
    return shlex.join(["pip", "install", f"{PROGRAM}[{extra}]"])


def explain_missing(error: ImportError) -> str | None:
    """What to install, in one sentence, if ``error`` is about a module of an extra; otherwise None."""
    module = (error.name or "").partition(".")[0]
    for extra, modules in MODULES.items():
        if isinstance(error, ModuleNotFoundError) and module in modules:
            return f"this needs {module}, which is not installed; install it with: {install_command(extra)}"
    return None
