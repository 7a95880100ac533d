"""The load test gives a Redis of its own the memory that its load takes."""

from __future__ import annotations

import pytest
import redis

from deploy.localstack.stack import LocalStack
from loadtest.dedup_room import make_room, planned_for
from loadtest.meterline import CommandFailed


def test_redis_gets_room_for_the_load_and_no_more_than_there_is(
    fragile_stack: LocalStack,
) -> None:
    fragile_stack.up(["redis"])
    url = fragile_stack.service("redis").address
    with redis.Redis.from_url(url) as store:

        def limit() -> int:
            return int(store.config_get("maxmemory")["maxmemory"])

        before = limit()
        make_room(url, 1_000_000)
        assert limit() == before, "it was enough"
        make_room(url, 50_000_000)
        raised = limit()
        assert raised > before
        assert raised >= 31 * 50_000_000, "of what an entry was measured to take"
        with pytest.raises(CommandFailed, match=r"1,000,000,000,000 identities .* GiB"):
            make_room(url, 10**12)
        assert limit() == raised


def test_a_redis_that_is_away_is_told_of() -> None:
    with pytest.raises(CommandFailed, match="Redis"):
        make_room("redis://127.0.0.1:1", 10**9)


def test_workers_are_told_of_large_loads_unless_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variable = "METERLINE_DEDUP_EVENTS_MAX"
    monkeypatch.delenv(variable, raising=False)
    assert planned_for(1_000_000) == {}
    assert planned_for(180_000_000) == {variable: "180000000"}
    monkeypatch.setenv(variable, "5000")
    assert planned_for(180_000_000) == {}
