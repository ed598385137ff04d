"""The traceability plugin, tried on small suites of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crypto_lakehouse_tests.traceability import (
    SPEC_FILES,
    Requirement,
    SpecError,
    Verdict,
    load_requirements,
    parse_spec,
    verdict,
)

ROOT = Path(__file__).parents[2]
SPECS = {
    "F": "### F1.1 Alpha\nAcceptance:\n- it works\n\n### F1.2 Beta\nAcceptance:\n- it works\n",
    "T": "",
    "D": "",
    "P": "### P1 Gamma\nPlanned for: speed\n\nAcceptance:\n- it flies\n",
}
ALL_PROVEN = """
import pytest

@pytest.mark.requirement("F1.1", "F1.2")
def test_all():
    pass
"""

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F8.1")]


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    specs = pytester.path / "docs" / "specs"
    specs.mkdir(parents=True)
    for letter, name in SPEC_FILES.items():
        (specs / name).write_text(SPECS[letter], encoding="utf-8")
    pytester.makeini("[pytest]\naddopts = --strict-markers\nmarkers =\n    requirement(*ids): ids\n")
    pytester.makeconftest('pytest_plugins = ["crypto_lakehouse_tests.traceability"]')
    return pytester


def run(suite: pytest.Pytester, *args: str) -> pytest.RunResult:
    return suite.runpytest_subprocess(*args)


def test_a_fully_proven_suite_passes(suite: pytest.Pytester) -> None:
    suite.makepyfile(ALL_PROVEN + "\ndef test_unmarked(): pass\n")
    result = run(suite)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["3 requirements: 2 passed, 1 planned"])


@pytest.mark.parametrize("args", [(), ("-n2",), (".",)])
def test_a_done_requirement_without_a_test_fails_the_whole_run(suite: pytest.Pytester, args: tuple[str]) -> None:
    suite.makepyfile(ALL_PROVEN.replace(', "F1.2"', ""))
    result = run(suite, *args)
    assert result.ret == 1
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["ERROR F1.2 Beta: no test claims it*"])


@pytest.mark.parametrize("body", ["assert False", "pytest.xfail('known')"])
def test_a_failing_test_is_named_with_its_requirement(suite: pytest.Pytester, body: str) -> None:
    suite.makepyfile(ALL_PROVEN.replace("pass", body))
    result = run(suite)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ERROR F1.2 Beta: not proven, because of *::test_all"])


def test_a_failing_teardown_is_no_proof(suite: pytest.Pytester) -> None:
    fixture = "\n@pytest.fixture(autouse=True)\ndef broken():\n    yield\n    assert False\n"
    suite.makepyfile(ALL_PROVEN + fixture)
    result = run(suite)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ERROR F1.1 Alpha: not proven*"])


@pytest.mark.parametrize("args", [(), ("-n2",)])
def test_skipped_proofs_are_a_warning(suite: pytest.Pytester, args: tuple[str]) -> None:
    suite.makepyfile(ALL_PROVEN.replace("pass", "pytest.skip('no files')"))
    result = run(suite, *args)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["WARNING F1.1 Alpha: not shown here*", "3 requirements: 2 not shown here, 1 planned"])


@pytest.mark.parametrize("xdist", [(), ("-n2",)])
@pytest.mark.parametrize("selection", [(), ("-k", "other")])
@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ('("F9.9")', "*unknown requirement 'F9.9'*"),
        ("(12)", "*unknown requirement 12*"),
        ('("P1")', "*P1 is planned for 'speed'*"),
        ("()", "*a requirement mark needs ids*"),
    ],
)
def test_a_wrong_mark_is_a_collection_error(
    suite: pytest.Pytester, mark: str, message: str, selection: tuple[str], xdist: tuple[str]
) -> None:
    suite.makepyfile(
        ALL_PROVEN + f"\n@pytest.mark.requirement{mark}\ndef test_wrong(): pass\n\ndef test_other(): pass\n"
    )
    result = run(suite, *selection, *xdist)
    assert result.ret != 0
    result.stdout.fnmatch_lines([message])


@pytest.mark.parametrize(
    "args",
    [
        ("-k", "all"),
        ("-m", "requirement"),
        ("test_part.py",),
        ("--lf",),
        ("--deselect", "none"),
        ("-k", "all", "-n2"),
    ],
)
def test_a_part_of_the_suite_is_not_judged(suite: pytest.Pytester, args: tuple[str]) -> None:
    suite.makepyfile(test_part=ALL_PROVEN.replace(', "F1.2"', ""))
    result = run(suite, *args)
    assert result.ret == 0
    assert "F1.2" not in result.stdout.str()


def test_the_table_is_printed_without_running_tests(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_part=ALL_PROVEN.replace(', "F1.2"', ""),
        test_bomb="import pytest\n\n@pytest.mark.requirement('F1.2')\ndef test_bomb():\n    open('ran', 'w')\n",
    )
    run(suite, "test_part.py")
    command = [sys.executable, "-m", "crypto_lakehouse_tests.traceability"]
    printed = subprocess.run(command, cwd=suite.path, capture_output=True, text=True, check=True).stdout
    assert not (suite.path / "ran").exists()
    assert [line.split() for line in printed.splitlines()[2:]] == [
        ["F1.1", "passed", "Alpha"],
        ["-", "test_part.py::test_all"],
        ["F1.2", "not", "run", "Beta"],
        ["-", "test_bomb.py::test_bomb"],
        ["P1", "planned", "Gamma", "(planned", "for:", "speed)"],
    ]


def test_a_malformed_specification_ends_the_run(suite: pytest.Pytester) -> None:
    (suite.path / "docs/specs" / SPEC_FILES["D"]).write_text("intro\n\n### Time units\n", encoding="utf-8")
    result = run(suite)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*data-requirements.md:3: '### Time units' should read*"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("### F1 Title\n\nprose only\n", "F1 has no criteria"),
        ("### T1 Title\nAcceptance:\n- a\n", "should read '### F<number> <title>'"),
        ("### F1 Title\nAcceptance:\n- a\n\n### F2\n", "spec.md:5"),
    ],
)
def test_a_broken_section_says_where_and_what(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message.replace("<", r"\<")):
        parse_spec(text, "spec.md", "F")


def test_missing_files_and_repeated_ids_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is missing"):
        load_requirements(tmp_path)
    (tmp_path / "docs/specs").mkdir(parents=True)
    for letter, name in SPEC_FILES.items():
        (tmp_path / "docs/specs" / name).write_text(SPECS[letter].replace("F1.2", "F1.1"), encoding="utf-8")
    with pytest.raises(SpecError, match=r"F1\.1 is defined twice"):
        load_requirements(tmp_path)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([], Verdict.NO_TEST),
        (["passed", "skipped"], Verdict.PASSED),
        (["passed", "failed"], Verdict.FAILED),
        (["skipped"], Verdict.SKIPPED),
        (["skipped", None], Verdict.NOT_RUN),
    ],
)
def test_outcomes_combine(outcomes: list[str | None], expected: Verdict) -> None:
    assert verdict(Requirement("F1", "Title"), outcomes) is expected


def test_the_specifications_of_this_project_are_well_formed() -> None:
    requirements = load_requirements(ROOT)
    assert {requirement_id[0] for requirement_id in requirements} == set(SPEC_FILES)
