"""Templates and files of the page, all of them in this package: nothing is loaded from other hosts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

_FOLDER = Path(__file__).parent
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".txt": "text/plain"}
# The address of a file has a digest of it, so an update has another address.
_CACHE = "public, max-age=31536000, immutable"

FILES: Mapping[str, Path] = {path.name: path for path in sorted((_FOLDER / "static").iterdir())}
"""Scripts, styles and pictures by name."""

LOGIN = "/page/login"
OPEN_PAGES = frozenset({LOGIN, *(f"/page/static/{name}" for name in FILES)})
"""Paths that need no token: the login form and what it is made of."""


def html(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """The answer with a page. Browsers do not keep it."""
    text = _templates().get_template(template).render(values)
    return HTMLResponse(text, status, {"Cache-Control": "private, no-store"})


def file_answer(name: str) -> Response:
    """The answer with a file of FILES."""
    path = FILES[name]
    return Response(path.read_bytes(), 200, {"Cache-Control": _CACHE}, _TYPES[path.suffix])


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["file"] = _address
    environment.filters["size"] = _size
    environment.filters["cell"] = _cell
    return environment


@cache
def _address(name: str) -> str:
    digest = hashlib.sha256(FILES[name].read_bytes()).hexdigest()[:12]
    return f"/page/static/{name}?v={digest}"


def _size(number: int) -> str:
    """Bytes in a unit that people read.

    >>> _size(900), _size(48231), _size(5 * 1024**3)
    ('900 B', '47.1 kB', '5.0 GB')
    """
    size, units = float(number), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f} B" if units[0] == "B" else f"{size:.1f} {units[0]}"


def _cell(value: Any) -> str:
    """A value in a table; missing ones are empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
