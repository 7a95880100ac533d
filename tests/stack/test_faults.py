from __future__ import annotations

from collections.abc import Callable

import psutil
import pytest
import redis
from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from deploy.localstack.errors import ServiceFailedError
from deploy.localstack.stack import LocalStack

Connect = Callable[..., Client]


def broker(stack: LocalStack) -> dict[str, str | int | float | bool]:
    return {"bootstrap.servers": stack.env()["KAFKA_BOOTSTRAP_SERVERS"], "log_level": 0}


@pytest.mark.parametrize("name", ["kafka", "redis", "clickhouse"])
def test_a_killed_service_starts_again_on_its_port(stack: LocalStack, name: str) -> None:
    service = stack.service(name)
    port, pid = service.port, service.pid

    service.kill()
    assert service.condition() == "down"
    assert not service.is_healthy()
    service.start()

    assert service.is_healthy()
    assert service.port == port
    assert service.pid != pid


@pytest.mark.parametrize("name", ["kafka", "redis", "clickhouse"])
def test_a_paused_service_does_not_answer_until_it_is_resumed(stack: LocalStack, name: str) -> None:
    service = stack.service(name)
    pid = service.pid

    service.pause()
    assert psutil.Process(pid).status() == psutil.STATUS_STOPPED
    assert not service.is_healthy()
    assert service.condition() == "up"
    service.resume()

    service.start()  # waits until it answers again
    assert service.pid == pid


def test_a_paused_service_can_be_stopped(fragile_stack: LocalStack) -> None:
    fragile_stack.up(["redis"])
    fragile_stack.service("redis").pause()

    fragile_stack.service("redis").stop()

    assert fragile_stack.service("redis").condition() == "down"


def test_a_service_that_does_not_run_cannot_be_killed(fragile_stack: LocalStack) -> None:
    with pytest.raises(ServiceFailedError, match="redis is not running"):
        fragile_stack.service("redis").kill()


def test_wiping_redis_empties_it_and_changes_nothing_else(
    stack: LocalStack, connect: Connect
) -> None:
    others_before = {name: stack.service(name).pid for name in ("kafka", "clickhouse")}
    with connect(stack) as client:
        client.command("CREATE OR REPLACE TABLE kept (a UInt8) ENGINE = MergeTree ORDER BY a")
        client.command("INSERT INTO kept VALUES (7)")
    redis.Redis.from_url(stack.env()["REDIS_URL"]).set("identity", "seen")
    env_before = stack.env()

    stack.service("redis").wipe()

    assert stack.env() == env_before
    assert redis.Redis.from_url(stack.env()["REDIS_URL"]).dbsize() == 0
    assert {name: stack.service(name).pid for name in others_before} == others_before
    with connect(stack) as client:
        assert client.query("SELECT a FROM kept").result_rows == [(7,)]


def test_a_wiped_clickhouse_comes_back_empty(stack: LocalStack, connect: Connect) -> None:
    with connect(stack) as client:
        client.command("CREATE OR REPLACE TABLE gone (a UInt8) ENGINE = MergeTree ORDER BY a")

    stack.service("clickhouse").wipe()

    with connect(stack) as client:
        assert client.command("EXISTS TABLE gone") == 0


def test_acknowledged_redis_writes_survive_a_kill(stack: LocalStack) -> None:
    with redis.Redis.from_url(stack.env()["REDIS_URL"]) as client:
        for number in range(1000):
            client.set(f"identity:{number}", "seen")

    stack.service("redis").kill()
    stack.service("redis").start()

    with redis.Redis.from_url(stack.env()["REDIS_URL"]) as client:
        assert client.exists(*(f"identity:{number}" for number in range(1000))) == 1000


def test_acknowledged_kafka_messages_survive_a_kill_and_not_a_wipe(stack: LocalStack) -> None:
    bootstrap = broker(stack)
    admin = AdminClient(bootstrap)
    for created in admin.create_topics([NewTopic("usage", 1, 1)]).values():
        created.result()
    producer = Producer({**bootstrap, "acks": "all"})
    for number in range(100):
        producer.produce("usage", str(number).encode(), partition=0)
    assert producer.flush(10) == 0

    stack.service("kafka").kill()
    stack.service("kafka").start()
    consumer = Consumer({**bootstrap, "group.id": "test", "enable.auto.commit": False})
    consumer.assign([TopicPartition("usage", 0, 0)])
    messages = consumer.consume(100, timeout=20)
    consumer.close()
    stack.service("kafka").wipe()

    assert [message.value() for message in messages] == [str(n).encode() for n in range(100)]
    assert "usage" not in AdminClient(bootstrap).list_topics(timeout=5).topics


def test_kafka_creates_no_topic_by_itself(stack: LocalStack) -> None:
    bootstrap = broker(stack)

    topic = AdminClient(bootstrap).list_topics("not-created", timeout=5).topics["not-created"]

    assert topic.error is not None
    assert topic.error.name() == "UNKNOWN_TOPIC_OR_PART"
