"""The files of deploy/dagster: Dagster accepts each, and their common parts are equal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from dagster._config import Shape, validate_config
from dagster._core.instance.config import dagster_instance_config_schema

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "deploy" / "dagster").glob("*/dagster.yaml"))
OWN = {"run_launcher", "concurrency"}


def _content(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.requirement("T13")
@pytest.mark.parametrize("path", [ROOT / "dagster.yaml", *FILES], ids=lambda path: path.parent.name)
def test_dagster_accepts_the_file(path: Path) -> None:
    result = validate_config(Shape(dagster_instance_config_schema()), _content(path))
    assert not result.errors


@pytest.mark.requirement("T13")
def test_the_common_parts_are_equal() -> None:
    first, *others = [{k: v for k, v in _content(path).items() if k not in OWN} for path in FILES]
    assert len(others) == 2
    assert all(other == first for other in others)
    here = _content(ROOT / "dagster.yaml")
    for part in ("storage", "local_artifact_storage", "compute_logs", "telemetry", "nux"):
        assert here[part] == first[part]
    for path in FILES:
        assert _content(path)["concurrency"]["pools"] == here["concurrency"]["pools"]


def _snake(content: Any) -> Any:
    """Keys as Dagster writes them, from those of the chart."""
    if not isinstance(content, dict):
        return content
    return {re.sub("[A-Z]", lambda match: f"_{match[0].lower()}", key): _snake(part) for key, part in content.items()}


@pytest.mark.requirement("T13")
def test_the_values_of_the_chart_say_the_same() -> None:
    values, here = _content(ROOT / "deploy" / "helm" / "values.yaml"), _content(FILES[0])
    daemon = values["dagsterDaemon"]
    monitoring = _snake(daemon["runMonitoring"])
    assert here["run_monitoring"].items() <= monitoring.items()
    assert _snake(daemon["runRetries"]) == here["run_retries"]
    assert {**_snake(values["retention"]), "enabled": True} == {**here["retention"], "enabled": True}
    assert values["additionalInstanceConfig"]["concurrency"]["pools"] == here["concurrency"]["pools"]
    logs = values["computeLogManager"]["config"]["customComputeLogManager"]
    assert logs == here["compute_logs"]
    assert values["telemetry"] == here["telemetry"]


@pytest.mark.requirement("T13")
def test_the_values_of_the_chart_hold_no_secret_and_no_moving_tag() -> None:
    text = (ROOT / "deploy" / "helm" / "values.yaml").read_text(encoding="utf-8")
    assert not re.findall(r"(?i)password: *\S|secret_access_key: *\S|:latest|tag: latest", text)
