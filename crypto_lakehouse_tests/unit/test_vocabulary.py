"""The check of words in ``make lint``: what it finds, where it looks, and what it prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from crypto_lakehouse_tests.vocabulary import ALLOWED, GENERATED, PLACES, WORDS, find_words, main

ROOT = Path(__file__).parents[2]


def _write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("word", WORDS)
def test_each_word_is_found_in_prose_at_any_case(word: str) -> None:
    for spelling in (word, word.capitalize(), word.upper()):
        (finding,) = find_words("a.md", f"A page.\nHere: {spelling}, and more.\n")
        assert (finding.line, finding.word) == (2, spelling)
        assert str(finding) == f"a.md:2: {spelling} -> {WORDS[word]}"


@pytest.mark.parametrize("identifier", ["_MENDED", "told_rows", "rows_told", "_Told", "isMended", "lacksDay"])
def test_parts_of_identifiers_are_found(identifier: str) -> None:
    assert len(find_words("a.py", f"{identifier} = 1")) == 1


@pytest.mark.parametrize("text", ["recommended", "amend", "besides", "commender", "untold", "a black sky", "renewed"])
def test_other_words_that_contain_one_are_not_found(text: str) -> None:
    assert find_words("a.md", text) == []


def test_a_run_lists_each_place_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path, "README.md", "One.\nIt lacks a day.\n")
    _write(tmp_path, "docs/specs/a.md", "A page beside it, written anew.\n")
    _write(tmp_path, "crypto_lakehouse/lake/a.py", "told = 1\n")
    for generated in GENERATED:
        _write(tmp_path, generated, "It lacks a day.\n")
    _write(tmp_path, "docs/images/a.svg", "It lacks a day.\n")
    assert main(tmp_path) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"crypto_lakehouse/lake/a.py:1: told -> {WORDS['told']}",
        f"README.md:2: lacks -> {WORDS['lacks']}",
        f"docs/specs/a.md:1: beside -> {WORDS['beside']}",
        f"docs/specs/a.md:1: anew -> {WORDS['anew']}",
    ]


def test_a_clean_tree_passes_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path, "README.md", "A day is missing.\n")
    _write(tmp_path, "crypto_lakehouse/a.py", "rows = 1\n")
    assert main(tmp_path) == 0
    assert capsys.readouterr().out == ""


def test_every_place_and_every_exception_exists() -> None:
    assert all((ROOT / place).exists() for place in (*PLACES, *GENERATED))
    for (path, word), reason in ALLOWED.items():
        assert word in (ROOT / path).read_text(encoding="utf-8").lower()
        assert reason
