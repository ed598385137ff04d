"""Binds the numbered requirements in ``docs/specs`` to the tests that prove them.

Here: reading the specification files, the pytest plugin that checks ``@pytest.mark.requirement(...)``, and
the table that ``make specs`` prints (``python -m crypto_lakehouse_tests.traceability``). Not here: requirements,
which are prose in ``docs/specs``, and tests of the platform.

A requirement is a ``### <id> <title>`` heading with an ``Acceptance:`` list. It is *done*, and must have a
passing test, unless a line ``Planned for: <theme>`` says otherwise. Nobody writes whether it passes: that is
computed.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest

SPEC_DIR = Path("docs/specs")
SPEC_FILES = {
    "F": "functional-requirements.md",
    "T": "technical-requirements.md",
    "D": "data-requirements.md",
    "P": "performance-requirements.md",
}
CACHE_KEY = "traceability/outcomes"
PROPERTY = "requirement"

_HEADING = re.compile(r"^### (?P<id>[A-Z][0-9]+(?:\.[0-9]+)?) (?P<title>\S.*)$")
_PLANNED = re.compile(r"^Planned for: (?P<theme>\S.*)$", re.MULTILINE)
_ACCEPTANCE = re.compile(r"^Acceptance:\n+- \S", re.MULTILINE)


class SpecError(ValueError):
    """A specification file breaks the form; the message names file, line and remedy."""


@dataclass(frozen=True)
class Requirement:
    """One numbered requirement; ``planned_for`` is the theme that will build it, None when it is done."""

    id: str
    title: str
    planned_for: str | None = None


class Verdict(StrEnum):
    """What the tests of one requirement say together."""

    PASSED = "passed"
    FAILED = "FAILED"
    SKIPPED = "not shown here"
    NOT_RUN = "not run"
    NO_TEST = "NO TEST"
    PLANNED = "planned"


def parse_spec(text: str, name: str, letter: str) -> list[Requirement]:
    """The requirements of one file, in order. Raises SpecError on a bad heading, id or acceptance list."""
    requirements = []
    next_line = 1
    for section in re.split(r"^(?=### )", text, flags=re.MULTILINE):
        where = f"{name}:{next_line}"
        next_line += section.count("\n")
        if not section.startswith("### "):
            continue
        heading = section.splitlines()[0]
        match = _HEADING.match(heading)
        if match is None or not match["id"].startswith(letter):
            raise SpecError(f"{where}: {heading!r} should read '### {letter}<number> <title>'")
        if _ACCEPTANCE.search(section) is None:
            raise SpecError(f"{where}: {match['id']} has no criteria; add 'Acceptance:' and a list under it")
        planned = _PLANNED.search(section)
        theme = planned["theme"] if planned else None
        requirements.append(Requirement(match["id"], match["title"].strip(), theme))
    return requirements


def load_requirements(root: Path) -> dict[str, Requirement]:
    """All requirements in ``root/docs/specs`` by id. Raises SpecError on a missing file or repeated id."""
    found: dict[str, Requirement] = {}
    for letter, file_name in SPEC_FILES.items():
        path = root / SPEC_DIR / file_name
        if not path.is_file():
            raise SpecError(f"{path} is missing; requirements whose ids begin with {letter} belong there")
        for requirement in parse_spec(path.read_text(encoding="utf-8"), str(SPEC_DIR / file_name), letter):
            if requirement.id in found:
                raise SpecError(f"{SPEC_DIR / file_name}: {requirement.id} is defined twice; renumber one")
            found[requirement.id] = requirement
    return found


def claimed_ids(item: pytest.Item) -> tuple[object, ...]:
    """The arguments of every requirement mark on a test, in order and without repeats."""
    return tuple(dict.fromkeys(arg for mark in item.iter_markers(PROPERTY) for arg in mark.args))


def claim_errors(item: pytest.Item, requirements: Mapping[str, Requirement]) -> list[str]:
    """What is wrong with the marks of one test, one line each."""
    errors = []
    if any(not mark.args or mark.kwargs for mark in item.iter_markers(PROPERTY)):
        errors.append(f"{item.nodeid}: a requirement mark needs ids, as in @pytest.mark.requirement('F1.2')")
    for claimed in claimed_ids(item):
        requirement = requirements.get(claimed) if isinstance(claimed, str) else None
        if requirement is None:
            errors.append(f"{item.nodeid}: unknown requirement {claimed!r}; define it in {SPEC_DIR} or correct the id")
        elif requirement.planned_for is not None:
            errors.append(
                f"{item.nodeid}: {claimed} is planned for {requirement.planned_for!r}; "
                "if it is built now, remove its 'Planned for' line, otherwise remove the mark"
            )
    return errors


def verdict(requirement: Requirement, outcomes: Iterable[str | None]) -> Verdict:
    """Combine the outcomes of a requirement's tests ('passed', 'failed', 'skipped'; None: did not run)."""
    seen = Counter(outcomes)
    if requirement.planned_for is not None:
        return Verdict.PLANNED
    if not seen:
        return Verdict.NO_TEST
    if seen["failed"]:
        return Verdict.FAILED
    if seen["passed"]:
        return Verdict.PASSED
    return Verdict.NOT_RUN if seen[None] else Verdict.SKIPPED


def whole_suite_selected(config: pytest.Config) -> bool:
    """Whether this run was asked for every test: only then does a missing proof mean something."""
    narrowing = ("keyword", "markexpr", "lf", "stepwise", "deselect", "ignore", "ignore_glob", "collectonly")
    if any(config.getoption(name, default=None) for name in narrowing):
        return False
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        wanted = {(config.rootpath / path).resolve() for path in config.getini("testpaths") or ["."]}
        return {(config.invocation_params.dir / arg).resolve() for arg in config.args} >= wanted
    return True


class Traceability:
    """The pytest plugin. Under pytest-xdist the workers check marks and the controller judges the run."""

    def __init__(self, requirements: Mapping[str, Requirement]) -> None:
        self.requirements = requirements
        self.outcomes: dict[str, str] = {}
        self.claims: dict[str, set[str]] = {}
        self.failures: list[str] = []
        self.warnings: list[str] = []
        self.counts: Counter[Verdict] = Counter()

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Turn a wrong mark into a collection error, which xdist workers report as any other."""
        report = yield
        items = [node for node in report.result or () if isinstance(node, pytest.Item)]
        errors = [error for item in items for error in claim_errors(item, self.requirements)]
        if errors:
            report.outcome, report.longrepr, report.result = "failed", "\n".join(errors), []
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Let the ids travel with the reports: an xdist controller never sees the items."""
        for item in items:
            item.user_properties.extend((PROPERTY, claimed) for claimed in claimed_ids(item))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Show in a failure what the test was to prove."""
        report = yield
        titles = [
            f"{one.id} {one.title}" for claimed in claimed_ids(item) if (one := self.requirements.get(str(claimed)))
        ]
        if report.failed and titles:
            report.sections.append(("Requirements of this test", "\n".join(titles)))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst outcome over setup, call and teardown; an expected failure proves nothing."""
        claimed = {str(value) for name, value in report.user_properties if name == PROPERTY}
        if not claimed:
            return
        self.claims[report.nodeid] = claimed
        failed = report.failed or (report.skipped and hasattr(report, "wasxfail"))
        now = "failed" if failed else report.outcome
        severity = ("passed", "skipped", "failed")
        before = self.outcomes.get(report.nodeid, "passed")
        self.outcomes[report.nodeid] = max(before, now, key=severity.index)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Store the outcomes and, after a whole run, fail it for requirements that nothing proves."""
        config = session.config
        if hasattr(config, "workerinput") or config.getoption("collectonly"):
            return
        complete = exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.TESTS_FAILED,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        )
        complete = complete and not session.shouldfail and not session.shouldstop and whole_suite_selected(config)
        cache = getattr(config, "cache", None)
        if cache is not None:
            cache.set(CACHE_KEY, self.outcomes if complete else {**cache.get(CACHE_KEY, {}), **self.outcomes})
        if not complete:
            return
        for requirement in self.requirements.values():
            self._judge(requirement)
        if self.failures and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _judge(self, requirement: Requirement) -> None:
        tests = sorted(test for test, claimed in self.claims.items() if requirement.id in claimed)
        result = verdict(requirement, [self.outcomes[test] for test in tests])
        self.counts[result] += 1
        label = f"{requirement.id} {requirement.title}"
        if result is Verdict.NO_TEST:
            self.failures.append(
                f"{label}: no test claims it; write one with @pytest.mark.requirement({requirement.id!r}), "
                "or give it a 'Planned for' line"
            )
        elif result is Verdict.FAILED:
            broken = ", ".join(test for test in tests if self.outcomes[test] == "failed")
            self.failures.append(f"{label}: not proven, because of {broken}")
        elif result is Verdict.SKIPPED:
            self.warnings.append(f"{label}: not shown here, all its tests were skipped ({', '.join(tests)})")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what is proven, what could not be shown here, and what fails the run."""
        if not self.counts:
            return
        terminalreporter.section("requirements")
        for line in self.warnings:
            terminalreporter.write_line(f"WARNING {line}", yellow=True)
        for line in self.failures:
            terminalreporter.write_line(f"ERROR {line}", red=True)
        summary = ", ".join(f"{count} {result.value}" for result, count in self.counts.items())
        terminalreporter.write_line(f"{self.counts.total()} requirements: {summary}")


def pytest_configure(config: pytest.Config) -> None:
    """Read the specifications once; a malformed one ends the run before any test."""
    try:
        requirements = load_requirements(config.rootpath)
    except SpecError as error:
        raise pytest.UsageError(str(error)) from error
    config.pluginmanager.register(Traceability(requirements), "requirement-traceability")


class _Collected:
    """Takes part in ``pytest --collect-only`` and keeps what the table needs."""

    def __init__(self) -> None:
        self.tests: dict[str, tuple[object, ...]] = {}
        self.outcomes: dict[str, str] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.tests = {item.nodeid: claimed_ids(item) for item in session.items}
        cache = getattr(session.config, "cache", None)
        self.outcomes = cache.get(CACHE_KEY, {}) if cache is not None else {}


def table(
    requirements: Mapping[str, Requirement],
    tests: Mapping[str, tuple[object, ...]],
    outcomes: Mapping[str, str],
) -> str:
    """The traceability table as text: id, last result and title, with the tests of each underneath."""
    lines = [f"{'id':<6} {'last result':<15} requirement", f"{'-' * 6} {'-' * 15} {'-' * 60}"]
    for requirement in requirements.values():
        mine = [test for test, claimed in tests.items() if requirement.id in claimed]
        result = verdict(requirement, [outcomes.get(test) for test in mine])
        theme = f" (planned for: {requirement.planned_for})" if requirement.planned_for else ""
        lines.append(f"{requirement.id:<6} {result.value:<15} {requirement.title}{theme}")
        # One line per test function: the parameters of a big table would hide the rest.
        cases = Counter(test.split("[", 1)[0] for test in mine)
        lines.extend(f"{'':23}- {test}" + (f" x{count}" if count > 1 else "") for test, count in cases.items())
    return "\n".join(lines)


def main(root: Path) -> int:
    """Print the table without running a test. Returns 0, or 1 when the specifications or marks are wrong."""
    collected, output = _Collected(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = pytest.main(["--collect-only", "-q", f"--rootdir={root}"], plugins=[collected])
    try:
        requirements = load_requirements(root)
    except SpecError as error:
        print(error, file=sys.stderr)
        return 1
    print(table(requirements, collected.tests, collected.outcomes))
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        print(f"\nThe tests could not all be collected:\n{output.getvalue()}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))
