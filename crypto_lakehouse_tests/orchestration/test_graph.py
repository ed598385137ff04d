"""What depends on what is said once: the registry of gold tables, Dagster's graph and backfills agree."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from crypto_lakehouse.catalog import parse_partition
from crypto_lakehouse.definitions import build_defs
from crypto_lakehouse.orchestration.launch import plan
from crypto_lakehouse.schemas.gold import gold_tables
from crypto_lakehouse.settings import Settings

EVERYTHING = {"env": "test", "tables": "*", "bars": "1h:5m,1d,dollar:1000000", "markets": "spot,um,cm,option"}
TODAY = date(2026, 1, 1)
SNAPSHOT = Path(__file__).with_name("definitions.txt")


@pytest.fixture(scope="module")
def everything() -> dg.Definitions:
    return build_defs(Settings.load(**EVERYTHING))


def roots(defs: dg.Definitions, key: dg.AssetKey) -> set[dg.AssetKey]:
    """The bronze assets that an asset is made from, those of its own cadence."""
    graph = defs.resolve_asset_graph()
    partitions = graph.get(key).partitions_def
    ancestors = graph.get_ancestor_asset_keys(key) | {key}
    return {one for one in ancestors if one.path[0] == "bronze" and graph.get(one).partitions_def is partitions}


@pytest.mark.requirement("F5.1", "F7.3")
def test_a_backfill_builds_what_the_graph_of_dagster_makes_from_its_files_alone(everything: dg.Definitions) -> None:
    graph, settings = everything.resolve_asset_graph(), Settings.load(**EVERYTHING)
    # Month files, and tables with a job of their own, are built when somebody asks for them.
    apart = {table.name for table in gold_tables(settings.bars_kinds) if table.job}
    layered = [
        key for key in graph.materializable_asset_keys if key.path[0] != "compacted" and key.path[-1] not in apart
    ]
    files_of = {key: roots(everything, key) for key in layered}
    for feed in settings.feeds:
        day = feed.first_date if feed.covers(feed.first_date) else parse_partition("2024-01-01", feed.cadence)[0]
        assets = plan(feed.exchange, feed.market.name, feed.table, day, day, settings, TODAY).assets
        bronze = dg.AssetKey(["bronze", feed.exchange, feed.market.name, feed.table])
        assert set(assets) == {key for key, files in files_of.items() if files == {bronze}}, feed.name
        assert len(assets) == len(set(assets))


@pytest.mark.requirement("F5.1", "F7.3")
def test_a_backfill_of_a_gold_table_builds_the_tables_of_its_asset(everything: dg.Definitions) -> None:
    graph, settings = everything.resolve_asset_graph(), Settings.load(**EVERYTHING)
    day = date(2023, 6, 1)
    for table in gold_tables(settings.bars_kinds):
        key = dg.AssetKey(["gold", "binance", "um", table.name])
        assert set(plan("binance", "um", table.name, day, day, settings, TODAY).assets) == set(
            graph.assets_def_for_key(key).keys
        )


def lines(defs: dg.Definitions) -> Iterator[str]:
    """One line for each asset with its inputs, each check, job, schedule and sensor."""
    graph = defs.resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        inputs = " ".join(sorted(parent.to_user_string() for parent in graph.get(key).parent_keys))
        yield f"asset {key.to_user_string()} <- {inputs}".strip()
    for check in graph.asset_check_keys:
        yield f"check {check.asset_key.to_user_string()}:{check.name}"
    for kind, named in (("job", defs.jobs), ("schedule", defs.schedules), ("sensor", defs.sensors)):
        for one in named or ():
            yield f"{kind} {one.name}"
    for definition in graph.assets_defs:
        if definition.keys:
            yield f"op {definition.node_def.name}"


@pytest.mark.requirement("F5.1")
def test_names_that_stored_records_hold_do_not_change() -> None:
    """To accept a change, write the lines of the failure into the file: Dagster's records know the old names."""
    settings = Settings.load(env="test", markets="um", tables="klines_1m,klines_1h,funding_rates,trades,open_interest")
    assert sorted(lines(build_defs(settings))) == SNAPSHOT.read_text(encoding="utf-8").splitlines()
