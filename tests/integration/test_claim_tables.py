"""The module's commands answer as the scripts do, keep what they hold, and refuse what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import redis

from deploy.localstack.stack import LocalStack
from metering.claim_packing import CLAIM_BYTES
from sinks.dedup_connection import connect_redis
from sinks.dedup_form import ClaimCommands, ClaimForm, claim_commands, form_of

_SEEDS = (1, 2, 3, 4)
_STEPS = 1_500
_STATE = "differ:{d0}"
_GENERATION = "gen:s:0"
_WINDOW = 100


@pytest.fixture
def own(tmp_path: Path) -> Iterator[LocalStack]:
    """A Redis with the module, of this test alone."""
    servers = LocalStack(tmp_path, environment={})
    try:
        servers.up(["redis"])
        yield servers
    finally:
        servers.down()


@pytest.fixture
def tables(own: LocalStack) -> Iterator[Any]:
    server: Any = connect_redis(own.service("redis").address)
    yield server
    server.close()


class Side:
    """One server, asked in one of the two forms."""

    def __init__(self, server: Any, form: ClaimForm) -> None:
        self.server = server
        self._commands: ClaimCommands = claim_commands(server, form)

    def ask(self, command: str, *args: str | int | bytes) -> bytes:
        """The reply, bytes in any case."""
        reply = getattr(self._commands, command)(keys=[_STATE], args=args, client=self.server)
        assert isinstance(reply, bytes)
        return reply

    def state(self) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
        """The shard's state, and how many claims it counts."""
        entries = self.server.hgetall(f"{_STATE}:entries")
        counts = {window: count for window, count in entries.items() if count != b"0"}
        return self.server.hgetall(_STATE), counts


class Driver:
    """Draws what is asked next: few buckets, fields and owners, so that they meet."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance

    def claims(self) -> bytes:
        chance = self._chance
        return b"".join(
            chance.choice((0, 1, 7, 600, 70_000)).to_bytes(4, "big")
            + chance.randrange(40).to_bytes(8, "little")
            + chance.randrange(6).to_bytes(9, "little")
            + chance.randrange(2).to_bytes(3, "little")
            for _ in range(chance.randrange(1, 40))
        )

    def step(self, window: int) -> tuple[str, tuple[str | int | bytes, ...]]:
        """A command and its arguments; some with a marker, generation or window that is not it."""
        chance = self._chance
        marker = chance.choices(("m", "other"), (30, 1))[0]
        at = window + chance.choices((-1, 0, 1), (1, 60, 2))[0]
        drawn = chance.random()
        if drawn < 0.7:
            generation = chance.choices((3, 2), (30, 1))[0]
            return "claim", (marker, _GENERATION, generation, at, self.claims())
        if drawn < 0.85:
            return "owned", (marker, self.claims())
        if drawn < 0.93:
            return "reassign", (marker, chance.randrange(2), self.claims())
        return "restore", (chance.choice(("token", "lost")), at, self.claims())


@pytest.mark.parametrize("seed", _SEEDS)
def test_every_reply_is_that_of_the_script(tables: Any, plain_redis: str, seed: int) -> None:
    plain: Any = connect_redis(plain_redis)
    plain.flushall()
    sides = [Side(tables, ClaimForm.TABLES), Side(plain, ClaimForm.HASHES)]
    state = {"marker": "m", _GENERATION: 3, "rebuild": "token"}
    if seed % 2:
        state |= {"newest": _WINDOW, "since": _WINDOW - 1}
    for side in sides:
        side.server.hset(_STATE, mapping=state)
    driver, kinds = Driver(Random(seed)), set()
    for number in range(_STEPS):
        window = int(tables.hget(_STATE, "newest") or _WINDOW)
        command, args = driver.step(window)
        ours, theirs = (side.ask(command, *args) for side in sides)
        assert ours == theirs, (seed, number, command, args)
        kinds.add((command, ours[:1]))
        assert sides[0].state() == sides[1].state(), (seed, number, command, args)
    assert {("claim", reply) for reply in (b"K", b"M", b"G", b"W")} < kinds
    assert {(command, b"M") for command in ("owned", "reassign", "restore")} < kinds
    plain.close()


def _fill(server: Any, count: int, *, first: int = 0, buckets: int = 997) -> list[bytes]:
    """Claim so many identities in calls of 4,096; what was sent."""
    server.hset(_STATE, mapping={"marker": "m", _GENERATION: 3, "newest": 5, "since": 5})
    chance, sent = Random(first), []
    for at in range(first, first + count, 4096):
        claims = b"".join(
            (number % buckets).to_bytes(4, "big") + chance.randbytes(8)
            + number.to_bytes(9, "little") + bytes(3)
            for number in range(at, min(at + 4096, first + count))
        )  # fmt: skip
        reply = server.execute_command("METERLINE.CLAIM", _STATE, "m", _GENERATION, 3, 5, claims)
        assert not any(reply[1:])
        sent.append(claims)
    return sent


@pytest.mark.parametrize("is_snapshot", [True, False])
def test_what_was_claimed_is_there_after_a_crash(
    own: LocalStack, tables: Any, is_snapshot: bool
) -> None:
    tables.config_set("aof-use-rdb-preamble", "yes" if is_snapshot else "no")
    sent = _fill(tables, 20_000)
    tables.bgrewriteaof()
    while tables.info("persistence")["aof_rewrite_in_progress"]:
        pass
    assert tables.info("persistence")["aof_last_bgrewrite_status"] == "ok"
    sent += _fill(tables, 5_000, first=20_000)
    gone = sent[0][: 10 * CLAIM_BYTES]
    tables.execute_command("METERLINE.REASSIGN", _STATE, "m", 0, gone)
    before = tables.execute_command("METERLINE.TABLE", f"{_STATE}:5")
    own.service("redis").kill()
    own.service("redis").start()
    after = tables.execute_command("METERLINE.TABLE", f"{_STATE}:5")
    assert after[:2] == before[:2] == [24_990, 997]
    held = [tables.execute_command("METERLINE.OWNED", _STATE, "m", claims)[1:] for claims in sent]
    assert b"".join(held) == bytes(10) + b"\1" * 24_990


def test_a_full_generation_takes_24_bytes_an_entry_and_gives_them_back(tables: Any) -> None:
    empty = tables.info("memory")["used_memory"]
    count = 24 * 9_973
    _fill(tables, count, buckets=9_973)
    used = tables.info("memory")["used_memory"] - empty
    table = tables.memory_usage(f"{_STATE}:5")
    assert table / count < 24
    assert used / count < 30, "with the server's buffers of this moment"
    assert tables.unlink(f"{_STATE}:5") == 1
    while tables.info("memory")["lazyfree_pending_objects"]:
        pass
    assert tables.info("memory")["used_memory"] - empty < used - 20 * count


def test_a_full_server_takes_no_claims(tables: Any) -> None:
    _fill(tables, 4096)
    tables.config_set("maxmemory", "1mb")
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        _fill(tables, 4096, first=4096)
    tables.config_set("maxmemory", "1gb")
    assert tables.execute_command("METERLINE.TABLE", f"{_STATE}:5")[0] == 4096


def test_what_is_wrong_is_refused_and_changes_nothing(tables: Any) -> None:
    _fill(tables, 10)
    tables.set(f"{_STATE}:6", "no table")
    tables.hset("n" * 600, "marker", "m")
    whole = bytes(CLAIM_BYTES)
    wrong: list[tuple[list[Any], str]] = [
        (["CLAIM", _STATE, "m", _GENERATION, 3, 5, whole[:-1]], "24 bytes each"),
        (["CLAIM", _STATE, "m", _GENERATION, 3, "five", whole], "window is a number"),
        (["CLAIM", _STATE, "m", _GENERATION, 3, 6, whole], "does not hold a table"),
        (["CLAIM", _STATE, "m", _GENERATION, 3, 5], "wrong number of arguments"),
        (["OWNED", _STATE, "m", whole + b"1"], "24 bytes each"),
        (["OWNED", "n" * 600, "m", whole], "too long"),
        (["REASSIGN", _STATE, "m", 1, b"1"], "24 bytes each"),
        (["TABLE", f"{_STATE}:6"], "does not hold a table"),
        (["FILL", f"{_STATE}:6", whole], "does not hold a table"),
    ]
    for (name, *arguments), told in wrong:
        with pytest.raises(redis.ResponseError, match=told):
            tables.execute_command(f"METERLINE.{name}", *arguments)
    assert tables.execute_command("METERLINE.TABLE", f"{_STATE}:5")[0] == 10
    assert tables.hget(_STATE, "newest") == b"5"
    assert tables.execute_command("METERLINE.TABLE", "nothing") == [0, 0, 0, 0]
    for no_state in (f"{_STATE}:6", "nothing"):
        assert tables.execute_command("METERLINE.OWNED", no_state, "m", whole) == b"M"


def test_the_form_is_that_of_the_servers(tables: Any, plain_redis: str) -> None:
    assert form_of(tables) is ClaimForm.TABLES
    assert form_of(connect_redis(plain_redis)) is ClaimForm.HASHES
