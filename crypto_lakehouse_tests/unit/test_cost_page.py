"""The page of costs has the arithmetic of today's prices.toml."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COST = runpy.run_path(str(ROOT / "deploy" / "cost" / "cost.py"))


@pytest.mark.requirement("T13")
def test_the_page_is_up_to_date() -> None:
    page = COST["PAGE"].read_text(encoding="utf-8")
    assert COST["with_part"](page) == page, "run: python deploy/cost/cost.py"


@pytest.mark.requirement("T13")
def test_the_sum_is_that_of_the_rows() -> None:
    rows = [line.split("|") for line in COST["page_part"]().splitlines() if line.startswith("| ")][1:]
    *parts, total = (float(row[3].strip(" *").replace(",", "")) for row in rows)
    assert total == pytest.approx(sum(parts), abs=0.01 * len(parts))
    for row in rows[:-1]:
        quantity, price = row[2].split(" x ")
        assert float(quantity.split()[0].replace(",", "")) * float(price) == pytest.approx(
            float(row[3].replace(",", "")), abs=0.01
        )
