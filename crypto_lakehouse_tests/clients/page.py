"""The snippets of ``docs/start/libraries.md``, which the tests of this folder run as they stand on the page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "start" / "libraries.md"
_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Section:
    """The commands and the Python of a section. The page has the symbol BTCUSDT, a test perhaps another."""

    commands: tuple[str, ...]
    python: str


def section(heading: str, symbol: str) -> Section:
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert text, heading
    blocks = _BLOCK.findall(text.replace("BTC", symbol.removesuffix("USDT")))
    commands = tuple(code for language, code in blocks if language == "sh")
    return Section(commands, "\n".join(code for language, code in blocks if language == "python"))


def versions() -> dict[str, str]:
    """The versions on the page, by package."""
    return dict(re.findall(r"^\| ([\w.-]+) \| .+ \| ([\w.]+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
