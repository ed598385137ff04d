"""Alerts by real failures of real runs, received by real servers: each is sent once, is grouped, and recovers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RemoteInstigatorOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, SensorInstigatorData
from dagster._daemon.types import DaemonHeartbeat

from crypto_lakehouse.orchestration.alerts.problems import given_up, silent_daemons
from crypto_lakehouse.orchestration.alerts.rules import Kind
from crypto_lakehouse.settings import Settings
from crypto_lakehouse_tests.orchestration.conftest import DAYS, Platform
from crypto_lakehouse_tests.orchestration.receivers import Mailbox, Webhook, smtp_server, webhook
from crypto_lakehouse_tests.orchestration.test_checks import _check as run_checks
from crypto_lakehouse_tests.orchestration.test_sensors import JOB, NOWHERE, UM_1M, _execute, _tick
from crypto_lakehouse_tests.orchestration.test_sensors import SENSOR as FEED_SENSOR

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F5.3")]

ROOT = Path(__file__).parents[2]
SECRET = "canary/T0KEN/hunter2secret"
# Both list the archive, which is not there.
FAILED = ["bronze/binance/um/klines_1m", "gold/binance/um/instruments"]


class Sensor:
    """An alert sensor that keeps its cursor between ticks, as the daemon does."""

    def __init__(self, platform: Platform, name: str, **settings: Any) -> None:
        self._platform, self._name, self._settings, self._cursor = platform, name, settings, None

    def tick(self) -> str:
        """One tick; returns why it requested no run."""
        repository = self._platform.defs(**self._settings).get_repository_def()
        with dg.build_sensor_context(
            instance=self._platform.instance, repository_def=repository, cursor=self._cursor
        ) as context:
            data = repository.get_sensor_def(self._name).evaluate_tick(context)
        self._cursor = data.cursor
        assert not data.run_requests
        return data.skip_message or ""


@pytest.fixture(autouse=True)
def _stored_records(empty: Platform, tmp_path: Path) -> Iterator[None]:
    """Records in SQLite, because an instance in memory has no states of sensors."""
    records = tmp_path / "records"
    records.mkdir()
    with dg.DagsterInstance.local_temp(str(records)) as instance:
        empty.instance = instance
        yield


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook(f"/{SECRET}") as kept:
        yield kept


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with smtp_server() as kept:
        yield kept


def _of(hook: Webhook, kind: Kind) -> list[dict[str, Any]]:
    return [body for body in hook.bodies if body["kind"] == kind]


def test_a_failed_run_is_one_message_of_all_its_dates_and_recovers(empty: Platform, hook: Webhook) -> None:
    sensor = Sensor(empty, "alert_webhook_sensor", alert_webhook_url=hook.url)
    sensor.tick()
    assert not hook.bodies
    assert not empty.run(JOB, DAYS[0], DAYS[-1], **NOWHERE).success
    sensor.tick()
    sensor.tick()
    (alert,) = _of(hook, Kind.RUN_FAILED)
    assert alert["status"] == "alert"
    assert [cause["subject"] for cause in alert["causes"]] == FAILED
    cause = alert["causes"][0]
    assert cause["items"] == list(DAYS)
    assert cause["text"].startswith("binance/um/klines_1m: cannot list")
    assert f"{DAYS[0]} to {DAYS[-1]}" in alert["text"]
    assert cause["run_id"]
    # The same dates fail again: no other message.
    assert not empty.run(JOB, DAYS[0], DAYS[-1], **NOWHERE).success
    sensor.tick()
    assert len(_of(hook, Kind.RUN_FAILED)) == 1
    # Some dates are repaired, then all.
    assert empty.run(JOB, DAYS[0], DAYS[0]).success
    sensor.tick()
    assert len(_of(hook, Kind.RUN_FAILED)) == 1
    assert empty.run(JOB, DAYS[1], DAYS[-1]).success
    sensor.tick()
    sensor.tick()
    _, recovered = _of(hook, Kind.RUN_FAILED)
    assert recovered["status"] == "recovered"
    assert [cause["subject"] for cause in recovered["causes"]] == FAILED
    # It fails once more: a new cause.
    assert not empty.run(JOB, DAYS[0], DAYS[0], **NOWHERE, retries=1).success
    sensor.tick()
    assert [body["status"] for body in _of(hook, Kind.RUN_FAILED)] == ["alert", "recovered", "alert"]


def test_a_failed_check_is_sent_once_and_recovers(filled: Platform, hook: Webhook) -> None:
    sensor = Sensor(filled, "alert_webhook_sensor", alert_webhook_url=hook.url)
    assert filled.run(JOB, DAYS[0], DAYS[-1]).success
    sensor.tick()
    assert not _of(hook, Kind.CHECK_FAILED)
    (path,) = (filled.lake / "silver" / "klines_1m").rglob(f"market=um/date={DAYS[1]}/part-0.parquet")
    whole = path.read_bytes()
    rows = pl.read_parquet(path, hive_partitioning=False)
    pl.concat([rows, rows.head(1)]).write_parquet(path)
    run_checks(filled)
    sensor.tick()
    sensor.tick()
    (alert,) = _of(hook, Kind.CHECK_FAILED)
    (cause,) = [cause for cause in alert["causes"] if cause["subject"] == "silver/binance/um/klines_1m"]
    assert "primary_key" in cause["items"]
    path.write_bytes(whole)
    run_checks(filled)
    sensor.tick()
    assert [body["status"] for body in _of(hook, Kind.CHECK_FAILED)] == ["alert", "recovered"]


def test_late_dates_of_a_market_are_one_message(filled: Platform, hook: Webhook) -> None:
    sensor = Sensor(filled, "alert_webhook_sensor", alert_webhook_url=hook.url)
    sensor.tick()
    assert not _of(hook, Kind.DATE_LATE), "nothing is recorded yet"
    assert filled.run(JOB, DAYS[0], DAYS[-1]).success
    sensor.tick()
    sensor.tick()
    (alert,) = _of(hook, Kind.DATE_LATE)
    (cause,) = alert["causes"]
    assert cause["subject"] == "binance um"
    assert {"bronze.klines_1m", "silver.klines_1m", "gold.continuous_1m", "gold.bars_1d"} <= set(cause["items"])
    assert "2025-01-01 is stored" in cause["text"]
    # Yesterday arrives in every table; here by events, because the archive of the test ends in 2025.
    yesterday = f"{datetime.now(UTC).date() - timedelta(days=1)}"
    for item in cause["items"]:
        layer, table = item.split(".")
        event = dg.AssetMaterialization([layer, "binance", "um", table], partition=yesterday)
        filled.instance.report_runless_asset_event(event)
    sensor.tick()
    assert [body["status"] for body in _of(hook, Kind.DATE_LATE)] == ["alert", "recovered"]


def test_a_sensor_that_gave_up_is_named_with_its_dates(empty: Platform) -> None:
    requests, _ = _tick(empty)
    assert _execute(empty, requests, retries="1", **NOWHERE) == [False, False]
    defs = empty.defs(sensor_attempts=1)
    repository = defs.get_repository_def()
    resources = {name: (defs.resources or {})[name] for name in ("lake", "archive")}

    def cursor() -> str:
        with dg.build_sensor_context(
            instance=empty.instance, repository_def=repository, resources=resources
        ) as context:
            return repository.get_sensor_def(FEED_SENSOR).evaluate_tick(context).cursor or ""

    watched = _watched(FEED_SENSOR)
    _remember(empty.instance, cursor())
    assert [(p.subject, p.item) for p in given_up(empty.instance, watched)] == [(FEED_SENSOR, day) for day in DAYS]
    assert empty.run(JOB, DAYS[0], DAYS[-1]).success
    _remember(empty.instance, cursor())
    assert not list(given_up(empty.instance, watched))


def _watched(sensor: str) -> Any:
    from crypto_lakehouse.orchestration.alerts.problems import Watched

    return Watched(feeds=[(UM_1M, [])], feed_sensors=[sensor])


def _remember(instance: dg.DagsterInstance, cursor: str) -> None:
    """Store the cursor of the feed's sensor where the daemon stores it."""
    from crypto_lakehouse.orchestration.own_runs import _origin

    origin = RemoteInstigatorOrigin(_origin(JOB).repository_origin, FEED_SENSOR)
    state = InstigatorState(
        origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, SensorInstigatorData(cursor=cursor)
    )
    if instance.get_instigator_state(origin.get_id(), origin.get_selector().get_id()) is None:
        instance.add_instigator_state(state)
    else:
        instance.update_instigator_state(state)


def test_a_daemon_without_heartbeats_is_silent_until_it_sends_one(empty: Platform) -> None:
    instance = empty.instance
    assert not list(silent_daemons(instance)), "a daemon that never ran is not missed"
    now = datetime.now(UTC)
    for at, silent in ((now, []), (now - timedelta(days=1), ["scheduler"]), (now, [])):
        instance.add_daemon_heartbeat(DaemonHeartbeat(at.timestamp(), "SCHEDULER", "one", []))
        assert [problem.item for problem in silent_daemons(instance)] == silent


def test_messages_that_were_refused_are_sent_later_and_name_no_secret(
    empty: Platform, hook: Webhook, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    sensor = Sensor(empty, "alert_slack_sensor", alert_slack_url=hook.url)
    assert not empty.run(JOB, DAYS[0], DAYS[-1], **NOWHERE).success
    hook.statuses = [500, 302]
    reasons = [sensor.tick(), sensor.tick()]
    assert "slack did not take the message: it answered HTTP 500" in reasons[0]
    assert "HTTP 302" in reasons[1]
    assert not hook.bodies
    assert "1 messages sent" in sensor.tick()
    (body,) = hook.bodies
    assert set(body) == {"text"}
    assert "bronze/binance/um/klines_1m" in body["text"]
    assert hook.paths == [f"/{SECRET}"]
    shown = "\n".join((caplog.text, *reasons, *capfd.readouterr(), *_records(empty.instance)))
    assert "HTTP 500" in shown
    assert "hunter2secret" not in shown


def _records(instance: dg.DagsterInstance) -> Iterator[str]:
    for record in instance.get_run_records():
        yield repr(record)
        yield from (repr(entry) for entry in instance.all_logs(record.dagster_run.run_id))


def test_mail_has_subject_text_and_runbook(empty: Platform, mailbox: Mailbox) -> None:
    mail = {
        "alert_smtp_url": f"smtp://me:p%40ss@127.0.0.1:{mailbox.port}",
        "alert_email_from": "lake@example.com",
        "alert_email_to": "a@example.com, b@example.com",
        "alert_ui_url": "https://dagster.example.com",
    }
    sensor = Sensor(empty, "alert_email_sensor", **mail)
    result = empty.run(JOB, DAYS[0], DAYS[-1], **NOWHERE)
    mailbox.is_refusing = True
    assert "the server answered 451" in sensor.tick()
    mailbox.is_refusing = False
    sensor.tick()
    sensor.tick()
    (sent,) = mailbox.mails
    assert set(mailbox.logins) == {("me", "p@ss")}
    assert sent["Subject"] == "[alert] run failed: 2 subjects"
    assert sent["To"] == "a@example.com, b@example.com"
    text = sent.get_content()
    assert f"https://dagster.example.com/runs/{result.run_id}" in text
    assert "Runbook: docs/deployment/runbooks/run-failed.md" in text


def test_the_heartbeat_is_requested_at_each_tick(empty: Platform, hook: Webhook) -> None:
    sensor = Sensor(empty, "alert_heartbeat_sensor", alert_heartbeat_url=hook.url)
    assert sensor.tick() == "the heartbeat was taken"
    hook.statuses = [503]
    assert "it answered HTTP 503" in sensor.tick()
    assert sensor.tick() == "the heartbeat was taken"
    assert hook.paths == [f"/{SECRET}"] * 2


def test_without_settings_there_is_no_alert_sensor_and_in_local_none_starts(empty: Platform, hook: Webhook) -> None:
    def sensors(**settings: Any) -> dict[str, dg.DefaultSensorStatus]:
        found = empty.defs(**settings).get_repository_def().sensor_defs
        return {sensor.name: sensor.default_status for sensor in found if sensor.name.startswith("alert_")}

    assert sensors(env="prod") == {}
    stopped, running = dg.DefaultSensorStatus.STOPPED, dg.DefaultSensorStatus.RUNNING
    assert sensors(env="local", alert_slack_url=hook.url) == {"alert_slack_sensor": stopped}
    assert sensors(env="prod", alert_slack_url=hook.url) == {"alert_slack_sensor": running}
    assert sensors(env="prod", alert_slack_url=hook.url, automation="schedules") == {"alert_slack_sensor": stopped}


def test_every_kind_of_alert_has_a_runbook() -> None:
    for kind in Kind:
        assert (ROOT / "docs" / "deployment" / "runbooks" / f"{kind}.md").is_file()


def test_secrets_of_alerts_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_ALERT_SLACK_URL", f"https://hooks.example.com/{SECRET}")
    settings = Settings.load()
    assert "hunter2secret" not in f"{settings!r} {settings} {settings.masked()} {settings.model_dump()}"
