"""`meterline doctor`: every fault that would break exact counting is named, with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from counting import answer, meterline, plant

from metering.settings import Settings
from sinks.dedup_connection import connect_redis


def _check(settings: Settings, area: str, name: str) -> dict[str, Any]:
    checks = answer(settings, "doctor")["checks"]
    found: dict[str, Any] = next(
        each for each in checks if each["area"] == area and each["name"].startswith(name)
    )
    return found


@pytest.fixture
def redis(settings: Settings) -> Iterator[Any]:
    """The session's Redis, with its settings put back afterwards."""
    server: Any = connect_redis(settings.redis_url.get_secret_value())
    names = ("maxmemory-policy", "appendonly", "hash-max-listpack-entries", "maxmemory")
    before = {name: server.config_get(name)[name] for name in names}
    yield server
    for name, value in before.items():
        server.config_set(name, value)


def _alter_topic(settings: Settings, topic: str, name: str, value: str) -> None:
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)


def test_a_fresh_deployment_has_no_failure(settings: Settings) -> None:
    done = meterline(settings, "doctor")
    assert done.returncode == 0, done.stdout
    assert "0 failures" in done.stdout
    assert "nothing is counted: start `meterline run`" in done.stdout


@pytest.mark.parametrize(
    ("name", "value", "check"),
    [
        ("message.timestamp.type", "CreateTime", "record timestamps"),
        ("cleanup.policy", "compact", "clean-up"),
    ],
)
def test_a_topic_that_cannot_be_counted_exactly_fails(
    settings: Settings, name: str, value: str, check: str
) -> None:
    _alter_topic(settings, settings.events_topic, name, value)
    found = _check(settings, "kafka", check)
    assert (found["level"], found["found"]) == ("fail", value)
    assert "kafka-configs.sh" in found["todo"]
    assert meterline(settings, "doctor").returncode == 1


def test_a_retention_shorter_than_a_day_and_one_beyond_the_window_warn(settings: Settings) -> None:
    for value, told in (("3600000", "lose events"), ("-1", "longer than the dedup window")):
        _alter_topic(settings, settings.events_topic, "retention.ms", value)
        found = _check(settings, "kafka", "retention")
        assert found["level"] == "warn"
        assert told in found["todo"]


def test_a_rejected_topic_that_takes_only_small_messages_fails(settings: Settings) -> None:
    _alter_topic(settings, settings.rejected_topic, "max.message.bytes", "1000000")
    assert _check(settings, "kafka", "rejected topic")["level"] == "fail"


def test_a_redis_that_may_forget_fails(settings: Settings, redis: Any) -> None:
    redis.config_set("maxmemory-policy", "allkeys-lru")
    found = _check(settings, "redis", "maxmemory-policy")
    assert (found["level"], found["found"]) == ("fail", "allkeys-lru")
    assert "noeviction" in found["todo"]


def test_a_redis_that_keeps_nothing_warns(settings: Settings, redis: Any) -> None:
    redis.config_set("appendonly", "no")
    assert _check(settings, "redis", "append-only")["level"] == "warn"
    assert "tables" in _check(settings, "redis", "claims are kept in")["found"]


def test_a_plain_redis_that_packs_nothing_warns(
    settings: Settings, plain_redis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", plain_redis)
    server: Any = connect_redis(plain_redis)
    assert _check(settings, "redis", "claims are kept in")["found"] == "hashes"
    assert _check(settings, "redis", "hash-max-listpack")["level"] == "ok"
    server.config_set("hash-max-listpack-entries", "32")
    assert _check(settings, "redis", "hash-max-listpack")["level"] == "warn"
    server.config_set("hash-max-listpack-entries", "512")


def test_a_redis_that_is_nearly_full_fails(settings: Settings, redis: Any) -> None:
    used = int(redis.info()["used_memory"])
    redis.config_set("maxmemory", used + 50_000)
    assert _check(settings, "redis", "memory")["level"] == "fail"


def test_a_table_that_is_not_durable_and_a_missing_migration_fail(settings: Settings) -> None:
    plant(settings, "ALTER TABLE usage_totals MODIFY SETTING fsync_after_insert = 0")
    assert "usage_totals" in _check(settings, "clickhouse", "durable inserts")["todo"]
    plant(settings, "DELETE FROM migrations WHERE name LIKE '0002%'")
    found = _check(settings, "clickhouse", "migrations")
    assert found["level"] == "fail"
    assert "meterline migrate" in found["todo"]


def test_an_edited_migration_fails(settings: Settings) -> None:
    plant(settings, "DELETE FROM migrations WHERE name LIKE '0001%'")
    plant(settings, "INSERT INTO migrations (name, checksum) VALUES ('0001_usage.sql', 'x')")
    assert "edited" in _check(settings, "clickhouse", "migrations")["todo"]


def test_servers_that_are_away_and_a_broken_catalog_are_all_named_at_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("CLICKHOUSE_URL", "http://default:@127.0.0.1:1/")
    done = meterline(settings, "doctor", "--catalog", "/nowhere")
    assert done.returncode == 1
    for told in ("Redis does not answer", "ClickHouse cannot serve now", "/nowhere/meters.yaml"):
        assert told in done.stdout


def test_wrong_settings_are_told_as_failures(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METERLINE_DEDUP_SHARDS", "many")
    done = meterline(settings, "doctor")
    assert done.returncode == 1
    assert "METERLINE_DEDUP_SHARDS" in done.stdout
