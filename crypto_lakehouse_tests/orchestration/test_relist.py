"""The archive is listed again: replaced and new files of old days lead to runs of their partitions alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG
from crypto_lakehouse.orchestration.relist import RELISTING_JOB
from crypto_lakehouse_tests.orchestration.conftest import DAYS, Platform, failure_text
from crypto_lakehouse_tests.system.runs import WatchedServer, digests, variables

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F2.16")]

FILE = "data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-{}.zip"
BRONZE = dg.AssetKey(["bronze", "binance", "um", "klines_1m"])
COMMAND = [sys.executable, "-c", "from crypto_lakehouse.cli import app; app()"]


def _list_again(platform: Platform, **settings: str) -> dg.ExecuteInProcessResult:
    job = platform.defs(**settings).resolve_job_def(RELISTING_JOB)
    return job.execute_in_process(instance=platform.instance, raise_on_error=False)


def _tick(platform: Platform, cursor: str | None = None) -> tuple[list[dg.RunRequest], str | None]:
    """The requests of a tick, and the new cursor."""
    repository = platform.defs().get_repository_def()
    with dg.build_sensor_context(instance=platform.instance, repository_def=repository, cursor=cursor) as context:
        data = repository.get_sensor_def("relisting_sensor").evaluate_tick(context)
    return list(data.run_requests or []), data.cursor


def test_the_job_observes_and_the_sensor_requests_a_replaced_day_once(
    filled: Platform, replace_file: Callable[[Path, str], None]
) -> None:
    assert _tick(filled) == ([], None)
    assert _list_again(filled).success
    requests, cursor = _tick(filled)
    assert requests == []
    before = digests(filled.lake)
    replace_file(filled.archive, FILE.format(DAYS[1]))
    assert _list_again(filled).success
    (request,), cursor = _tick(filled, cursor)
    assert _tick(filled, cursor)[0] == []
    assert (request.tags[RANGE_START_TAG], request.tags[RANGE_END_TAG]) == (DAYS[1], DAYS[1])
    assert request.job_name == "update_binance_um_daily"
    assert request.run_config == {"ops": {BRONZE.to_python_identifier(): {"config": {"symbols": "BTCUSDT"}}}}
    result = (
        filled.defs()
        .resolve_job_def(request.job_name)
        .execute_in_process(
            instance=filled.instance,
            run_config=request.run_config,
            tags=dict(request.tags),
            asset_selection=list(request.asset_selection or []),
            raise_on_error=False,
        )
    )
    assert result.success, failure_text(result)
    changed = {path for path, digest in digests(filled.lake).items() if before.get(path) != digest}
    of_archive = {path for path in changed if path.startswith(("bronze", "silver"))}
    assert of_archive == {
        f"{layer}/klines_1m/exchange=binance/market=um/date={DAYS[1]}/part-0.parquet" for layer in ("bronze", "silver")
    }
    assert _list_again(filled).success
    assert _tick(filled, cursor)[0] == []


def test_a_table_that_cannot_be_listed_fails_the_job_and_no_other_table(
    filled: Platform, replace_file: Callable[[Path, str], None]
) -> None:
    replace_file(filled.archive, FILE.format(DAYS[0]))
    nowhere = {"archive_url": "http://127.0.0.1:1", "archive_listing_url": "http://127.0.0.1:1/listing"}
    result = _list_again(filled, **nowhere)
    assert not result.success
    assert "1 tables could not be listed: binance/um/klines_1m" in failure_text(result)


def test_the_command_prints_and_rebuilds_what_has_changed(
    filled: Platform, tmp_path: Path, replace_file: Callable[[Path, str], None]
) -> None:
    with WatchedServer(filled.archive) as server:
        more = {"LAKEHOUSE_TABLES": "klines_1m", "DAGSTER_HOME": str(tmp_path / "home")}
        environment = variables(server, filled.lake) | more

        def command(*words: str) -> str:
            ended = subprocess.run(
                [*COMMAND, "relist", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert ended.returncode == 0, ended.stdout + ended.stderr
            return ended.stdout

        assert "binance/um/klines_1m: nothing has changed" in command()
        # A file that appears in a stored day is new; so is a whole symbol, as all were chosen.
        late = filled.archive / FILE.format(DAYS[2]).replace("BTCUSDT", "LATEUSDT")
        late.parent.mkdir(parents=True)
        shutil.copyfile(filled.archive / FILE.format(DAYS[2]), late)
        replace_file(filled.archive, FILE.format(DAYS[0]))
        text = command("--dry-run")
        assert "binance/um/klines_1m: 1 new file, 1 replaced file in 2 partitions" in text
        assert f"  {DAYS[0]}: BTCUSDT\n  {DAYS[2]}: LATEUSDT\n" in text
        server.requests.clear()
        before = digests(filled.lake)
        late.unlink()
        command("--market", "um")
        assert server.zips() == [f"/{FILE.format(DAYS[0])}"]
        changed = {path for path, digest in digests(filled.lake).items() if before.get(path) != digest}
        assert {path for path in changed if path.startswith("bronze")} == {
            f"bronze/klines_1m/exchange=binance/market=um/date={DAYS[0]}/part-0.parquet"
        }
        assert "binance/um/klines_1m: nothing has changed" in command()


def test_files_of_symbols_that_no_run_chose_are_not_new(empty: Platform) -> None:
    chosen = {"symbols": "BTCUSDT"}
    assert empty.run("update_binance_um_daily", DAYS[0], DAYS[1], **chosen).success
    assert _list_again(empty).success
    assert _tick(empty)[0] == []
