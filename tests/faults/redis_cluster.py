"""Three Redis servers that are one cluster, without replicas; each can be killed and come back."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry
from worker_process import wait_for

from deploy.localstack.ports import LOOPBACK, find_free
from deploy.localstack.redis_service import find_redis_server

_SERVERS, _SLOTS = 3, 16_384


class RedisCluster:
    """Its servers are numbers; data is in `folder`."""

    def __init__(self, folder: Path, *, module: Path | None) -> None:
        """Servers with a module, or without."""
        self._folder = folder
        self._module = module
        self._ports, self._bus_ports = find_free(_SERVERS), find_free(_SERVERS)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def has_module(self) -> bool:
        """Whether its servers have the module."""
        return self._module is not None

    @property
    def url(self) -> str:
        """Of one of them, which tells of the others."""
        return f"redis://{LOOPBACK}:{self._ports[0]}/0"

    def up(self) -> None:
        """Start them, and make them a cluster that has all slots."""
        for number in range(_SERVERS):
            self.start(number)
        borders = [_SLOTS * number // _SERVERS for number in range(_SERVERS + 1)]
        for number in range(_SERVERS):
            ask = self._client(number).execute_command
            ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            ask("CLUSTER", "ADDSLOTSRANGE", borders[number], borders[number + 1] - 1)
            ask("CLUSTER", "MEET", LOOPBACK, self._ports[0], self._bus_ports[0])
        wait_for("the cluster to have all slots", self._is_whole)

    def start(self, number: int) -> None:
        """Start one on its data."""
        folder = self._folder / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        options: dict[str, str | int | Path] = {
            "bind": LOOPBACK, "port": self._ports[number], "cluster-port": self._bus_ports[number],
            "dir": folder, "cluster-enabled": "yes", "cluster-node-timeout": 2000,
            "appendonly": "yes", "save": "", "maxmemory": "256mb",
            "maxmemory-policy": "noeviction",
        }  # fmt: skip
        if self._module is not None:
            options["loadmodule"] = self._module
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        with (folder / "log").open("ab") as log:
            self._processes[number] = subprocess.Popen(
                [str(find_redis_server()), *words], stdout=log, stderr=log
            )
        wait_for(f"server {number} of the cluster", lambda: self._is_answering(number))

    def kill(self, number: int) -> None:
        """SIGKILL; with it go the slots that it has."""
        self._processes[number].send_signal(signal.SIGKILL)
        self._processes[number].wait()

    def wipe(self, number: int) -> None:
        """Delete its keys; it must not run. Which slots it has, it still knows."""
        shutil.rmtree(self._folder / str(number) / "appendonlydir")

    def down(self) -> None:
        """End all that run."""
        for process in self._processes.values():
            process.kill()
            process.wait()

    def holder_of(self, tag: str) -> int:
        """Which server holds the keys with a hash tag."""
        return min(key_slot(tag.encode()) * _SERVERS // _SLOTS, _SERVERS - 1)

    def send(self, key: str, to: int) -> None:
        """Move one key as a cluster does that is moving its slot; the rest of the slot stays."""
        tag = key[key.index("{") + 1 : key.index("}")]
        slot, holder = key_slot(tag.encode()), self.holder_of(tag)
        names = [self._client(number).execute_command("CLUSTER", "MYID") for number in (holder, to)]
        self._client(to).execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[0])
        self._client(holder).execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[1])
        self._client(holder).execute_command("MIGRATE", LOOPBACK, self._ports[to], key, 0, 5000)

    def ask(self, number: int, *words: str | int | bytes) -> Any:
        """Have one server run a command."""
        return self._client(number).execute_command(*words)

    def keys(self, number: int) -> int:
        """How many keys a server holds."""
        return int(self._client(number).dbsize())

    def _client(self, number: int) -> Any:
        return redis.Redis(
            host=LOOPBACK, port=self._ports[number], socket_timeout=2, retry=Retry(NoBackoff(), 0)
        )

    def _is_answering(self, number: int) -> bool:
        try:
            return bool(self._client(number).ping())
        except redis.RedisError:
            return False

    def _is_whole(self) -> bool:
        states = [
            self._client(number).execute_command("CLUSTER INFO") for number in range(_SERVERS)
        ]
        return all("cluster_state:ok" in _text(state) for state in states) and all(
            f"cluster_known_nodes:{_SERVERS}" in _text(state) for state in states
        )


def _text(state: Any) -> str:
    if isinstance(state, dict):
        return "\r\n".join(f"{name}:{value}" for name, value in state.items())
    return state.decode() if isinstance(state, bytes) else str(state)
