"""Claims as a transaction of plain commands: cheaper for the server than the script.

    WATCH state; HMGET state ...       sent ahead, after the call before
    HGET previous bucket ... (n)       only where an older generation is remembered
    MULTI; HSETNX bucket ... (n); EXEC

The state of a shard carries marker, newest window and generations. It changes with none of the
claims, so `EXEC` is refused exactly if something happened that the script would have refused or
looked at anew. What a transaction does not decide (refused as a whole, or an identity that is held
already) is left to the script, which is the one place that says who holds it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import redis
from numpy.typing import NDArray

from metering.claim_commands import found_in, get_commands, put_commands
from sinks.dedup_load import entries_key
from sinks.dedup_servers import server_of

_MULTI = b"*1\r\n$5\r\nMULTI\r\n"
_EXEC = b"*1\r\n$4\r\nEXEC\r\n"
_RECEIVE_BYTES = 1 << 18
_PUT_REPLY = 4  # ":1\r\n"
_FIELDS = ("marker", "newest", "since")


@dataclass(frozen=True, slots=True)
class Asked:
    """What has to hold for claims: the memory's marker, one partition's generation, the window."""

    marker: str
    assignment: str
    generation: int
    window: int


class ClaimTransactions:
    """One connection for each shard, for one thread.

    Raises what the client library raises; the connections are closed then, and the next call
    opens others, which check the server's run as every connection of the client does.
    """

    def __init__(self, client: redis.Redis, states: list[str]) -> None:
        """`client` says where and how to connect, in protocol 2; `states` are keys."""
        self._shards = [_ShardConnection(server_of(client, state), state) for state in states]

    def claim(self, asked: Asked, claims: list[NDArray[np.void]]) -> list[NDArray[np.bool_]]:
        """Which of the packed `claims`, by shard, are first, and stand; others stay undecided."""
        try:
            for shard, some in zip(self._shards, claims, strict=True):
                shard.send(asked, some)
            return [
                shard.receive(asked, len(some))
                for shard, some in zip(self._shards, claims, strict=True)
            ]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections."""
        for shard in self._shards:
            shard.close()


class _ShardConnection:
    def __init__(self, client: redis.Redis, state: str) -> None:
        pool: Any = client.connection_pool
        kind = type("ClaimConnection", (_Receiving, pool.connection_class), {})
        self._connection: Any = kind(**pool.connection_kwargs)
        self._state = state
        self._assignments: list[str] = []  # all that were asked for so far
        self._unread = 0
        self._sent: NDArray[np.void] | None = None
        self._held: NDArray[np.bool_] | None = None

    def send(self, asked: Asked, claims: NDArray[np.void]) -> None:
        since = self._since(asked) if len(claims) else None
        self._sent, self._held = None, None
        if since is None:
            return
        if since < asked.window:
            self._held = self._in_previous(asked.window - 1, claims)
        # An identity that the older generation holds is not claimed in the newest one.
        left = claims if self._held is None else claims[~self._held]
        if not len(left):
            return
        self._sent = left
        puts = put_commands(left, self._bucket_prefix(asked.window))
        self._connection.send_packed_command([_MULTI, puts, _EXEC], check_health=False)

    def receive(self, asked: Asked, count: int) -> NDArray[np.bool_]:
        first = np.zeros(count, np.bool_)
        if self._sent is not None:
            put = self._executed(len(self._sent))
            first[... if self._held is None else ~self._held] = put
        claimed = int(first.sum())
        if claimed:
            self._send_ahead("HINCRBY", entries_key(self._state), asked.window, claimed)
        self._arm()
        return first

    def close(self) -> None:
        self._connection.disconnect()

    def _bucket_prefix(self, window: int) -> bytes:
        return f"{self._state}:{window}:".encode()

    def _since(self, asked: Asked) -> int | None:
        """The first window of the memory; None where the state is not the one asked for."""
        if not self._connection.is_connected:
            self._connection.connect()
            self._unread = 0
        if asked.assignment not in self._assignments:
            self._assignments.append(asked.assignment)
            self._arm()
        elif not self._unread:
            self._arm()
        while self._unread > 1:
            self._unread -= 1
            self._connection.read_response()
        self._unread = 0
        marker, newest, since, *generations = self._connection.read_response()
        generation = generations[self._assignments.index(asked.assignment)]
        is_asked = (marker, newest, generation) == (
            asked.marker.encode(), b"%d" % asked.window, b"%d" % asked.generation,
        )  # fmt: skip
        return int(since) if is_asked and since else None

    def _arm(self) -> None:
        self._send_ahead("UNWATCH")  # a change that was seen must not refuse what comes next
        self._send_ahead("WATCH", self._state)
        self._send_ahead("HMGET", self._state, *_FIELDS, *self._assignments)

    def _send_ahead(self, *command: str | int) -> None:
        self._connection.send_command(*command, check_health=False)
        self._unread += 1

    def _in_previous(self, window: int, claims: NDArray[np.void]) -> NDArray[np.bool_]:
        gets = get_commands(claims, self._bucket_prefix(window))
        self._connection.send_packed_command([gets], check_health=False)
        replies = bytearray()
        while True:
            replies += self._connection.receive()
            found, count = found_in(replies, len(claims))
            if count < 0:
                raise redis.ResponseError(_error_in(replies))
            if count == len(claims):
                return found

    def _executed(self, count: int) -> NDArray[np.bool_]:
        """Which commands of the transaction put something; none where it was refused."""
        queued = b"+OK\r\n" + b"+QUEUED\r\n" * count
        replies = bytearray()
        self._receive_lines(replies, count + 2)
        outcome = bytes(replies[len(queued) :])
        if not replies.startswith(queued) or outcome[:1] != b"*":
            raise redis.ResponseError(_error_in(replies))
        if outcome == b"*-1\r\n":
            return np.zeros(count, np.bool_)
        self._receive_lines(replies, count + 2 + count)
        answers = np.frombuffer(replies, np.uint8)[-_PUT_REPLY * count :]
        if _error_in(replies) or not (answers[::_PUT_REPLY] == ord(":")).all():
            raise redis.ResponseError(_error_in(replies))
        put: NDArray[np.bool_] = answers[1::_PUT_REPLY] == ord("1")
        return put

    def _receive_lines(self, replies: bytearray, count: int) -> None:
        while replies.count(b"\n") < count:
            replies += self._connection.receive()


class _Receiving:
    """Lets a connection give what the server sends, as it comes."""

    _sock: Any

    def receive(self) -> bytes:
        """Some bytes, at least one. Raises `redis.ConnectionError` and `redis.TimeoutError`."""
        try:
            got: bytes = self._sock.recv(_RECEIVE_BYTES)
        except TimeoutError as error:
            msg = "timeout while reading from the server"
            raise redis.TimeoutError(msg) from error
        if not got:
            msg = "the server closed the connection"
            raise redis.ConnectionError(msg)
        return got


def _error_in(replies: bytearray) -> str:
    """The first error among replies of one line each; "" if there is none."""
    if replies.startswith(b"-"):
        at = 0
    else:
        at = replies.find(b"\n-") + 1
        if not at:
            return ""
    line = bytes(replies[at + 1 : replies.find(b"\r", at)])
    return line.decode("utf-8", "replace")
