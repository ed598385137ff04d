"""Runs of the command line in Dagster's records: of which code location, with which tags, and executed again."""

import dagster as dg
import pytest
from dagster._core.storage.tags import TagType, get_tag_type
from dagster._core.workspace.load import location_origins_from_yaml_paths

from crypto_lakehouse.catalog import Cadence, feed
from crypto_lakehouse.orchestration.assets.common import asset_key
from crypto_lakehouse.orchestration.launch import Plan
from crypto_lakehouse.orchestration.processes import PROCESS_TAG, report_dead_runs
from crypto_lakehouse.orchestration.runs import run_chunks
from crypto_lakehouse_tests.orchestration.conftest import DAYS, Platform
from crypto_lakehouse_tests.orchestration.test_processes import of_a_dead_process
from crypto_lakehouse_tests.system.test_cli import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F7.3")]


def _backfill(platform: Platform) -> dg.DagsterRun:
    minutes = feed("binance", "um", "klines_1m")
    wish = Plan(minutes, Cadence.DAILY, (asset_key("bronze", minutes.market, "klines_1m"),), DAYS)
    (outcome,) = run_chunks(wish, [DAYS], platform.defs(), platform.instance, symbols="")
    assert not outcome.error
    run = platform.instance.get_run_by_id(outcome.run_id)
    assert run is not None
    return run


def test_a_run_is_of_the_code_location_of_the_workspace(empty: Platform) -> None:
    run = _backfill(empty)
    assert run.status is dg.DagsterRunStatus.SUCCESS
    [location] = location_origins_from_yaml_paths([str(REPOSITORY / "workspace.yaml")])
    assert run.remote_job_origin is not None
    provenance = run.remote_job_origin.repository_origin
    assert provenance.code_location_origin.location_name == location.location_name
    assert provenance.repository_name == empty.defs().get_repository_def().name
    assert run.remote_job_origin.job_name == run.job_name == "update_binance_um_daily"


def test_tags_say_what_is_made_and_the_process_is_hidden(empty: Platform) -> None:
    tags = _backfill(empty).tags
    assert tags["lakehouse/table"] == "binance/um/klines_1m"
    assert tags["lakehouse/partitions"] == f"{DAYS[0]} to {DAYS[-1]}"
    shown = {name for name in tags if get_tag_type(name) is not TagType.HIDDEN}
    assert PROCESS_TAG in tags.keys() - shown
    assert not [name for name in shown if "process" in name]


def test_a_run_that_is_executed_again_elsewhere_lives_on_without_the_first_process(empty: Platform) -> None:
    parent = _backfill(empty)
    job = empty.defs().resolve_job_def(parent.job_name)
    # The UI's Re-execute takes over all tags of the parent.
    again = empty.instance.create_run_for_job(
        job,
        tags={**parent.tags, PROCESS_TAG: of_a_dead_process()},
        parent_run_id=parent.run_id,
        root_run_id=parent.run_id,
        status=dg.DagsterRunStatus.STARTED,
    )
    assert report_dead_runs(empty.instance) == []
    assert empty.instance.get_run_by_id(again.run_id).status is dg.DagsterRunStatus.STARTED  # type: ignore[union-attr]
