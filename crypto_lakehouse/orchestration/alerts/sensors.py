"""The sensors of alerts: one for each channel, with a memory of its own, and one for the dead man's signal.

Without ``LAKEHOUSE_ALERT_*`` there are none. A channel that does not answer gets its messages at a later tick.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg

from crypto_lakehouse.catalog.automation import Automation
from crypto_lakehouse.orchestration.alerts.channels import Channel, DeliveryError, channels, heartbeat
from crypto_lakehouse.orchestration.alerts.problems import Watched, problems
from crypto_lakehouse.orchestration.alerts.rules import Problem, State, notices, settled
from crypto_lakehouse.settings import Settings

_SECONDS = 60


def alert_sensors(watched: Watched, settings: Settings) -> list[dg.SensorDefinition]:
    """The sensors of the channels that the settings name."""
    found = [_channel_sensor(channel, watched, settings) for channel in channels(settings)]
    return [*found, _heartbeat_sensor(settings)] if settings.alert_heartbeat_url else found


def deliver(
    channel: Channel, before: State, present: list[Problem], now: datetime
) -> tuple[State, int, DeliveryError | None]:
    """Send what is due. Returns what the channel knows now, how many messages it took, and why it took no more."""
    state, sent = settled(before, present), 0
    for notice in notices(before, present, now):
        try:
            channel.send(notice, now)
        except DeliveryError as error:
            return state, sent, error
        state, sent = notice.state, sent + 1
    return state, sent, None


def _channel_sensor(channel: Channel, watched: Watched, settings: Settings) -> dg.SensorDefinition:
    grace = timedelta(hours=settings.alert_late_hours)

    @dg.sensor(
        name=f"alert_{channel.name}_sensor",
        minimum_interval_seconds=_SECONDS,
        default_status=_status(settings),
        description=f"Sends new and recovered problems to {channel.name}: failed runs and checks, late dates, sensors"
        " that gave up, silent daemons.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        present = problems(context.instance, watched, now, grace)
        state, sent, fault = deliver(channel, State.of_json(context.cursor), present, now)
        if fault is not None:
            # The tick must not fail: its cursor would be lost, and messages that were sent would be sent again.
            context.log.error(str(fault))
        reason = str(fault) if fault else f"{sent} messages sent; {len(state.open)} open"
        return dg.SensorResult(skip_reason=reason, cursor=state.to_json())

    return sensor


def _heartbeat_sensor(settings: Settings) -> dg.SensorDefinition:
    @dg.sensor(
        name="alert_heartbeat_sensor",
        minimum_interval_seconds=_SECONDS,
        default_status=_status(settings),
        description="Requests LAKEHOUSE_ALERT_HEARTBEAT_URL: when that stops, the daemon is dead or cut off.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        try:
            heartbeat(settings)
        except DeliveryError as error:
            context.log.error(str(error))
            return dg.SkipReason(str(error))
        return dg.SkipReason("the heartbeat was taken")

    return sensor


def _status(settings: Settings) -> dg.DefaultSensorStatus:
    runs = Automation.ALERTS in settings.automations
    return dg.DefaultSensorStatus.RUNNING if runs else dg.DefaultSensorStatus.STOPPED
