"""The pages for operators name tests, runbooks and files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.requirement("T13")

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs" / "deployment" / "runbooks"


def test_the_tests_of_the_threat_model_exist() -> None:
    page = (ROOT / "docs" / "architecture" / "security.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:unit|system|orchestration)/\w+\.py)::(\w+)`", page)
    assert len(named) > 20
    for file, test in named:
        text = (ROOT / "crypto_lakehouse_tests" / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {test}\(", text, re.MULTILINE), f"{file}::{test}"


def test_every_threat_names_its_test_or_says_that_it_has_none() -> None:
    page = (ROOT / "docs" / "architecture" / "security.md").read_text(encoding="utf-8")
    rows = [row.split(" | ") for row in re.findall(r"^\| (.+) \|$", page, re.MULTILINE)]
    threats = [row for row in rows if row != ["threat", "what is done", "test"]]
    assert len(threats) > 20
    for row in threats:
        assert len(row) == 3, row
        assert re.search(r"`|none", row[2]), row


def test_every_alarm_has_a_runbook_that_the_list_names() -> None:
    alarms = (ROOT / "deploy" / "terraform" / "alarms.tf").read_text(encoding="utf-8")
    descriptions = re.findall(r'alarm_description += "(.+)"', alarms)
    assert len(descriptions) == alarms.count('resource "aws_cloudwatch_metric_alarm"')
    listed = set(re.findall(r"\]\(([\w\-]+)\.md\)", (RUNBOOKS / "index.md").read_text(encoding="utf-8")))
    for description in descriptions:
        (name,) = re.findall(r"Runbook: ([\w\-]+)\.$", description)
        assert name in listed
    assert listed == {path.stem for path in RUNBOOKS.glob("*.md")} - {"index"}


def test_variables_on_the_pages_are_those_of_the_files() -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "deployment").rglob("*.md"))
    compose = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    for name in set(re.findall(r"`((?:PROXY|WORKER|REDIS)_[A-Z]+(?:_[A-Z]+)*)`", pages)):
        assert name in compose, name
    for path in set(re.findall(r"`(deploy/[\w./\-]+)`", pages)) - {"deploy/certificates/rds.pem"}:
        assert (ROOT / path).exists(), path
