"""Kafka: the topics are what exactness needs, and the group keeps up."""

from datetime import timedelta
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource

from cli.checks.result import Check, judged
from dataflows.kafka_reader import kafka_config
from metering.errors import DependencyDown
from metering.settings import Settings
from sinks.consumer_group import ConsumerGroup, GroupView
from sinks.topics import REJECTED_BYTES_MAX

AREA = "kafka"
_TIMEOUT_S = 8.0
_RETENTION_MIN = timedelta(days=1)
_LAG_WARN = 1_000_000


def check_kafka(settings: Settings) -> list[Check]:
    """All of it. Raises `DependencyDown` when Kafka does not answer."""
    admin = AdminClient({**kafka_config(settings), "socket.timeout.ms": 6000})
    try:
        existing = admin.list_topics(timeout=_TIMEOUT_S).topics
        checks = []
        for topic in (settings.events_topic, settings.rejected_topic):
            missing = topic not in existing
            checks.append(
                judged(
                    AREA, f"topic {topic}",
                    "missing" if missing else f"{len(existing[topic].partitions)} partitions",
                    fail="create it with `meterline migrate`" if missing else "",
                )
            )  # fmt: skip
        if settings.events_topic not in existing:
            return checks
        checks += _check_events(settings, admin)
        if settings.rejected_topic in existing:
            checks.append(_check_rejected(settings, admin))
    except KafkaException as error:
        msg = f"Kafka at {settings.kafka_bootstrap_servers}: {error.args[0].str()}"
        raise DependencyDown(msg) from error
    group = ConsumerGroup(
        kafka_config(settings), group=settings.group_id, topic=settings.events_topic
    )
    return checks + _check_group(settings, group.view())


def _check_events(settings: Settings, admin: AdminClient) -> list[Check]:
    topic = settings.events_topic
    configs = _configs(admin, topic)
    found = admin.describe_topics(TopicCollection([topic]), request_timeout=_TIMEOUT_S)
    replicas = min(len(p.replicas) for p in found[topic].result(_TIMEOUT_S).partitions)
    stamps, policy = configs["message.timestamp.type"], configs["cleanup.policy"]
    alter = f"kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config "
    return [
        judged(
            AREA, "record timestamps", stamps,
            fail="" if stamps == "LogAppendTime"
            else f"late is decided by them: {alter}message.timestamp.type=LogAppendTime",
        ),
        judged(
            AREA, "clean-up", policy,
            fail="" if policy == "delete"
            else f"compaction loses events of the same key: {alter}cleanup.policy=delete",
        ),
        _check_retention(settings, int(configs["retention.ms"]), alter),
        judged(
            AREA, "replicas", str(replicas),
            warn="" if replicas > 1
            else "a broker that is lost takes events along: use 3 in production",
        ),
    ]  # fmt: skip


def _check_retention(settings: Settings, retention_ms: int, alter: str) -> Check:
    retention = timedelta(milliseconds=retention_ms)
    found = "for ever" if retention < timedelta(0) else str(retention)
    warn = ""
    if timedelta(0) <= retention < _RETENTION_MIN:
        warn = f"workers that are away for longer lose events: {alter}retention.ms=604800000"
    elif retention < timedelta(0) or retention > settings.dedup_window:
        warn = (
            f"longer than the dedup window ({settings.dedup_window}): reading from the very start "
            "again is exact, and slow, because old events are looked up in raw history"
        )
    return judged(AREA, "retention", found, warn=warn)


def _check_rejected(settings: Settings, admin: AdminClient) -> Check:
    size = int(_configs(admin, settings.rejected_topic)["max.message.bytes"])
    return judged(
        AREA, "rejected topic takes", f"messages up to {size} bytes",
        fail="" if size >= REJECTED_BYTES_MAX
        else f"a large rejected message would stop the worker: kafka-configs.sh --alter "
        f"--entity-type topics --entity-name {settings.rejected_topic} --add-config "
        f"max.message.bytes={REJECTED_BYTES_MAX}",
    )  # fmt: skip


def _check_group(settings: Settings, group: GroupView) -> list[Check]:
    lag = sum(each.lag for each in group.partitions)
    lost = [
        f"{settings.events_topic}[{each.partition}]: committed {each.committed}, the log holds "
        f"{each.low} to {each.high}"
        for each in group.partitions
        if each.committed is not None and not each.low <= each.committed <= each.high
    ]
    return [
        judged(
            AREA, f"group {settings.group_id}", f"{group.state}, {group.members} members",
            warn="" if group.members else "nothing is counted: start `meterline run`",
        ),
        judged(
            AREA, "lag", f"{lag} records",
            warn="" if lag < _LAG_WARN else "start more workers, up to the number of partitions",
        ),
        judged(
            AREA, "committed offsets", "; ".join(lost) or "all in the log",
            fail="start a worker: it says what is missing and how to go on" if lost else "",
        ),
    ]  # fmt: skip


def _configs(admin: AdminClient, topic: str) -> dict[str, str]:
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    futures = admin.describe_configs([resource], request_timeout=_TIMEOUT_S)
    entries: dict[str, Any] = futures[resource].result(_TIMEOUT_S)
    return {name: str(entry.value) for name, entry in entries.items()}
