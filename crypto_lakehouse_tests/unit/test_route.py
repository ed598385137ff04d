"""The route of a partition key in ``docs/architecture.md`` names functions that exist, and few names for one thing."""

from __future__ import annotations

import importlib
import inspect
import re
from functools import reduce
from pathlib import Path
from types import ModuleType

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
ROUTE = re.findall(r"^\| `([\w.]+)` \| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
MOST_NAMES = 12


def function_of(name: str) -> object:
    """The function of a dotted name below the package; raises AttributeError if there is none."""
    parts = name.split(".")
    module: ModuleType | None = None
    for number in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(("crypto_lakehouse", *parts[:number])))
        except ModuleNotFoundError:
            continue
        return reduce(getattr, parts[number:], module)
    raise AttributeError(name)


@pytest.mark.parametrize(("name", "partition"), ROUTE)
def test_a_function_of_the_route_uses_the_name_that_the_page_says(name: str, partition: str) -> None:
    source = inspect.getsource(function_of(name))  # type: ignore[arg-type]
    assert re.search(rf"\b{partition}\b", source)


def test_the_route_has_few_names_for_a_partition() -> None:
    text = PAGE.read_text(encoding="utf-8")
    listed = text.partition("These are ")[2].partition(".\n")[0]
    names = re.findall(r"`(\w+)`", listed)
    assert {partition for _, partition in ROUTE} <= set(names)
    assert len(names) <= MOST_NAMES
    assert len(ROUTE) > MOST_NAMES
