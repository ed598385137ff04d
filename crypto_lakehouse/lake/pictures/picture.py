"""A picture: its data, drawn as a Plotly figure, an HTML page or a PNG, in memory or as a file.

What is on a picture is decided in ``candles.py``, ``coverage.py`` and ``cross_section.py``.
"""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crypto_lakehouse.catalog.extras import PLOT, install_command
from crypto_lakehouse.lake.storage.store import LakeError

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".html")
_DPI = 110


class MissingLibrary(LakeError):
    """A library that draws is not installed. The message says how to install it."""


def require(library: str) -> None:
    """Import plotly or matplotlib. Raises MissingLibrary that names the extra."""
    try:
        importlib.import_module(library)
    except ImportError:
        raise MissingLibrary(
            f"pictures need {library}, which is not installed; install it with: {install_command(PLOT)}"
        ) from None


class Picture(ABC):
    """A picture of the lake. Notebooks show it as an interactive figure.

    Parameters
    ----------
    title
        The line above the picture.
    data
        The rows that are drawn.
    """

    def __init__(self, title: str, data: pl.DataFrame) -> None:
        self.title = title
        self.data = data

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.title!r}, {self.data.height} rows)"

    @abstractmethod
    def _plotly(self) -> go.Figure: ...

    @abstractmethod
    def _matplotlib(self, size: tuple[float, float] | None) -> Figure: ...

    @property
    def figure(self) -> go.Figure:
        """The picture as a new Plotly figure, which can be changed."""
        require("plotly")
        return self._plotly()

    def html(self) -> str:
        """The picture as one HTML page that needs no network."""
        return str(self.figure.to_html(include_plotlyjs=True))

    def png(self, size: tuple[float, float] | None = None) -> bytes:
        """The picture as PNG, drawn by matplotlib without a browser; ``size`` is width and height in inches."""
        require("matplotlib")
        import io
        import warnings

        from matplotlib.backends.backend_agg import FigureCanvasAgg

        figure, buffer = self._matplotlib(size), io.BytesIO()
        FigureCanvasAgg(figure)
        with warnings.catch_warnings():
            # Some symbols have letters that matplotlib's own font does not have.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
        return buffer.getvalue()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to a file whose name ends with ``.png`` or ``.html``, and return its path.

        Raises ValueError for another ending, OSError if the file cannot be written.
        """
        target = Path(path)
        check_suffix(target)
        if not target.parent.is_dir():
            raise FileNotFoundError(
                f"there is no folder {target.parent} for the picture {target.name}: create it first"
            )
        target.write_bytes(self.png() if target.suffix.lower() == ".png" else self.html().encode())
        return target

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:
        return self.figure._repr_mimebundle_(include, exclude)


def check_suffix(path: Path) -> None:
    """Raise ValueError unless the name of the file ends with ``.png`` or ``.html``."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} does not say the kind of picture: end the name with {' or '.join(SUFFIXES)}")
