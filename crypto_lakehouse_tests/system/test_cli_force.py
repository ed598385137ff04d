"""``--force`` rebuilds partitions whose inputs have not changed; the old name of the flag still works."""

from __future__ import annotations

from pathlib import Path

import pytest

from crypto_lakehouse_tests.system.test_cli import run, served

__all__ = ["served"]

BACKFILL = ("backfill", "--market", "um", "--table", "funding_rates", "--from", "2024-12-31", "--to", "2024-12-31")


def stamps(lake: Path) -> dict[str, int]:
    """When each silver and bronze file was written."""
    return {
        str(path): path.stat().st_mtime_ns
        for layer in ("bronze", "silver")
        for path in lake.glob(f"{layer}/**/*.parquet")
    }


@pytest.mark.requirement("F7.3", "P2")
def test_force_and_its_old_name_rebuild_an_unchanged_partition(
    tmp_path: Path, served: tuple[Path, dict[str, str]]
) -> None:
    _, settings = served

    def rebuilt(*options: str) -> set[str]:
        before = stamps(tmp_path / "lake")
        done = run(tmp_path, *BACKFILL, *options, **settings)
        assert done.returncode == 0, done.stdout + done.stderr
        after = stamps(tmp_path / "lake")
        assert len(after) == 2
        return {name for name, stamp in after.items() if before.get(name) != stamp}

    assert len(rebuilt()) == 2
    assert rebuilt() == set()
    assert len(rebuilt("--force")) == 2
    assert len(rebuilt("--remake")) == 2


@pytest.mark.requirement("F7.5")
def test_help_names_force_and_hides_its_old_name(tmp_path: Path) -> None:
    done = run(tmp_path, "backfill", "--help")
    assert done.returncode == 0
    assert "--force" in done.stdout
    assert "--remake" not in done.stdout
