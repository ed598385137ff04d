"""Writes the tables of docs/deployment/cost.md from prices.toml: ``python deploy/cost/cost.py``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[1] / "docs" / "deployment" / "cost.md"
_START, _END = "<!-- computed -->\n", "<!-- end -->\n"


def costs(content: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """(what, arithmetic, USD a month) of each part."""
    price, lake, process = content["price"], content["lake"], content["processes"]
    hours = process["hours_a_month"]
    days = hours / 24
    files = lake["files_a_day"] * days

    def times(what: str, quantity: float, unit: str, name: str) -> tuple[str, str, float]:
        return what, f"{quantity:,.10g} {unit} x {price[name]:g}", quantity * price[name]

    yield times("raw, standard class", lake["raw_gb"], "GB", "s3_standard_gb_month")
    yield times("bronze, colder class", lake["bronze_gb"], "GB", "s3_glacier_instant_gb_month")
    yield times("silver, infrequent access", lake["silver_gb"], "GB", "s3_infrequent_gb_month")
    yield times("month files", lake["compacted_gb"], "GB", "s3_standard_gb_month")
    yield times("writing zips", round(files / 1000), "thousand PUTs", "s3_put_1000")
    yield times("processes, CPU", process["vcpu"] * hours, "vCPU-hours", "fargate_vcpu_hour")
    yield times("processes, memory", process["memory_gb"] * hours, "GB-hours", "fargate_gb_hour")
    run_hours = round(process["run_hours_a_day"] * days, 1)
    yield times("runs, CPU", process["run_vcpu"] * run_hours, "vCPU-hours", "fargate_vcpu_hour")
    yield times("runs, memory", process["run_memory_gb"] * run_hours, "GB-hours", "fargate_gb_hour")
    yield times("PostgreSQL", process["database_zones"] * hours, "hours", "rds_instance_hour")
    yield times("PostgreSQL, disk", process["database_zones"] * process["database_gb"], "GB", "rds_storage_gb_month")
    yield times("load balancer", hours, "hours", "load_balancer_hour")
    yield times("load balancer, one unit", hours, "hours", "load_balancer_unit_hour")
    yield times("NAT gateway", process["nat_gateways"] * hours, "hours", "nat_hour")
    yield times("NAT gateway, downloads", round(files * lake["zip_gb"], 1), "GB", "nat_gb")
    yield times("key", 1, "key", "kms_key_month")
    yield times("secret", 1, "secret", "secret_month")
    yield times("logs of processes", process["logs_gb_a_month"], "GB", "logs_gb")
    yield times("alarms", process["alarms"], "alarms", "alarm_month")


def page_part() -> str:
    """The computed part of the page."""
    content = tomllib.loads((FOLDER / "prices.toml").read_text(encoding="utf-8"))
    rows = list(costs(content))
    lines = [
        f"Prices of {content['region']}, {content['date']}, in USD a month.\n",
        "| what | quantity x price | USD |",
        "|---|---|---:|",
        *(f"| {what} | {arithmetic} | {cost:,.2f} |" for what, arithmetic, cost in rows),
        f"| **sum** | | **{sum(cost for _, _, cost in rows):,.2f}** |",
    ]
    return "\n".join(lines) + "\n"


def with_part(page: str) -> str:
    """The page with the computed part of today's prices."""
    before, _, rest = page.partition(_START)
    return f"{before}{_START}{page_part()}{_END}{rest.partition(_END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(with_part(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
