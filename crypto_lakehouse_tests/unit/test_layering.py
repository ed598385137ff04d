"""The layers of the architecture, checked on the real imports of the source."""

from __future__ import annotations

import ast
import graphlib
import tomllib
from pathlib import Path

import pytest

# Found by path: source is read here, never run.
PACKAGE = Path(__file__).parents[2] / "crypto_lakehouse"
NAME = PACKAGE.name

ALLOWED = {
    "catalog": {"catalog"},
    "schemas": {"schemas", "catalog"},
    "transforms": {"transforms", "schemas", "catalog"},
    "archive": {"archive", "catalog"},
    "rest": {"rest", "archive", "catalog"},
    "exchange_api": {"exchange_api", "catalog"},
    "sample": {"sample", "exchange_api", "archive", "catalog"},
    # The reader computes bars of any kind by the same transforms that made the stored ones.
    "lake": {"lake", "transforms", "schemas", "catalog"},
    "api": {"api", "exchange_api", "lake", "schemas", "catalog"},
    "pipeline": {"pipeline", "archive", "rest", "lake", "transforms", "schemas", "catalog"},
    "symbol_settings": {"symbol_settings", "catalog"},
    "alert_settings": {"alert_settings", "catalog"},
    "settings": {"settings", "symbol_settings", "alert_settings", "catalog"},
    "interrupts": set(),
    "concurrency": {"concurrency"},
}
# Wherever work takes long, threads share it and ask whether a signal has come.
OF_EVERY_ROOM = {"interrupts", "concurrency"}
MAY_IMPORT_DAGSTER = {"orchestration", "definitions", "cli"}


def imported_modules(path: Path, source: str) -> set[str]:
    """Absolute dotted names a module imports anywhere, functions and type-checking blocks included."""
    package = [NAME, *path.relative_to(PACKAGE).parts[:-1]]
    names: set[str] = set()
    for node in ast.walk(ast.parse(source, filename=str(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from crypto_lakehouse import lake` names a package only in its alias.
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.requirement("T2")
@pytest.mark.parametrize("layer", sorted(ALLOWED))
def test_a_layer_imports_only_what_lies_below_it(layer: str) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in modules()
        if package_of(path) == layer
        for name in sorted(imported_modules(path, path.read_text(encoding="utf-8")))
        if name.split(".")[0] == NAME and name.split(".")[1] not in ALLOWED[layer] | OF_EVERY_ROOM
    ]
    assert not wrong


@pytest.mark.requirement("T2")
@pytest.mark.parametrize(
    ("folder", "above"),
    [
        ("lake.storage", "lake.reader"),
        ("transforms.silver", "transforms.gold"),
        ("transforms.gold.kernels", "transforms.checks"),
        ("pipeline.bronze", "pipeline.gold"),
        ("pipeline.bronze", "pipeline.silver"),
    ],
)
def test_a_folder_does_not_import_what_lies_above_it(folder: str, above: str) -> None:
    paths = sorted((PACKAGE / folder.replace(".", "/")).rglob("*.py"))
    assert paths
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in paths
        for name in sorted(imported_modules(path, path.read_text(encoding="utf-8")))
        if f"{name}.".startswith(f"{NAME}.{above}.")
    ]
    assert not wrong


@pytest.mark.requirement("T2")
def test_no_modules_import_each_other_in_a_circle() -> None:
    paths = {".".join([NAME, *path.relative_to(PACKAGE).with_suffix("").parts]): path for path in modules()}
    graph = {
        name: {
            module
            for imported in imported_modules(path, path.read_text(encoding="utf-8"))
            for module in (imported, imported.rpartition(".")[0])
            if module in paths
        }
        for name, path in paths.items()
    }
    assert sum(map(len, graph.values())) > len(graph)
    # Raises CycleError, which names the modules of the circle.
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.requirement("T1", "T2")
def test_only_the_registries_import_the_modules_of_an_exchange() -> None:
    """The sample archive is Binance's, so it may too."""
    allowed = {"catalog/exchanges.py", "archive/sources.py", "api/exchanges.py"}
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in modules()
        if path.relative_to(PACKAGE).as_posix() not in allowed
        and package_of(path) != "sample"
        and not path.name.startswith("binance")
        for name in sorted(imported_modules(path, path.read_text(encoding="utf-8")))
        if ".binance" in name
    ]
    assert not wrong


@pytest.mark.requirement("T2")
def test_only_orchestration_definitions_and_cli_import_dagster() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in modules()
        if package_of(path) not in MAY_IMPORT_DAGSTER
        for name in sorted(imported_modules(path, path.read_text(encoding="utf-8")))
        if name.split(".")[0].startswith("dagster")
    ]
    assert not wrong


@pytest.mark.requirement("T2")
def test_one_module_imports_private_members_of_dagster_and_the_version_is_bounded() -> None:
    private = [
        f"{path.relative_to(PACKAGE)}"
        for path in modules()
        if any(name.startswith("dagster._") for name in imported_modules(path, path.read_text(encoding="utf-8")))
    ]
    assert private == ["orchestration/private_dagster.py"]
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    of_dagster = [one for one in project["optional-dependencies"]["platform"] if one.startswith("dagster")]
    assert len(of_dagster) == 6
    assert all("<" in one for one in of_dagster)


@pytest.mark.requirement("T2")
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import crypto_lakehouse.lake.reader.lakehouse", "crypto_lakehouse.lake.reader.lakehouse"),
        ("from crypto_lakehouse import lake", "crypto_lakehouse.lake"),
        ("from ..lake import reader", "crypto_lakehouse.lake.reader"),
        ("from . import binance", "crypto_lakehouse.catalog.binance"),
        ("def f():\n    import dagster", "dagster"),
    ],
)
def test_every_way_to_import_is_seen(source: str, expected: str) -> None:
    assert expected in imported_modules(PACKAGE / "catalog" / "model.py", source)
