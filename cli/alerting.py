"""Alerts as a job of the steward, and what `meterline alerts check` runs once."""

from collections.abc import Callable
from datetime import UTC, datetime

from alerts.check import AlertCheck, Checked, Outlet
from alerts.gauges import show
from alerts.spend import spend_so_far
from dataflows.kafka_reader import kafka_config
from metering.catalog_alerts import load_budgets
from metering.catalog_load import load_catalog
from metering.metrics import StewardMetrics
from metering.settings import Settings
from sinks.alert_topic import AlertTopic
from sinks.alert_webhook import AlertWebhook
from sinks.clickhouse import connect_clickhouse

_ANSWER_S = 900


def outlets_of(settings: Settings) -> list[Outlet]:
    """Where findings go: the topic, and the webhook if one is set. Raises `SettingsInvalid`."""
    found: list[Outlet] = [AlertTopic(kafka_config(settings), settings.alerts_topic)]
    if settings.alert_webhook:
        found.append(
            AlertWebhook(
                settings.alert_webhook,
                settings.alert_webhook_secret.get_secret_value(),
                is_private_allowed=settings.alert_webhook_private,
            )
        )
    return found


def check_alerts(settings: Settings, outlets: list[Outlet]) -> Checked:
    """Check once, with the catalog as it is now."""
    client = connect_clickhouse(settings, answer_s=_ANSWER_S)
    try:
        check = AlertCheck(
            client, load_catalog(settings.catalog), budgets=load_budgets(settings.catalog),
            outlets=outlets,
        )  # fmt: skip
        return check.run(datetime.now(UTC))
    finally:
        client.close()


def alerts_job(settings: Settings, metrics: StewardMetrics) -> Callable[[], None]:
    """The job `alerts` of the steward, every `settings.alert_every`."""
    outlets = outlets_of(settings)

    def run() -> None:
        show(check_alerts(settings, outlets), metrics)

    return run


def spend_job(settings: Settings, metrics: StewardMetrics) -> Callable[[], None]:
    """The job `spend` of the steward, every `settings.steward_checks_every`."""

    def run() -> None:
        client = connect_clickhouse(settings, answer_s=_ANSWER_S)
        try:
            found = spend_so_far(client, now=datetime.now(UTC))
        finally:
            client.close()
        metrics.spend.replace(found.amounts)
        metrics.spend_customers.replace(found.customers)
        metrics.usage_events.replace({(meter,): count for meter, count in found.events.items()})
        metrics.usage_customers.replace({(meter,): count for meter, count in found.active.items()})

    return run
