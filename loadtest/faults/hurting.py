"""What a cell does: the victim stands right before its step, the target is hurt, all goes on.

A worker keeps nothing of its own, so `wiped` takes the place in the log from its group: everything
is read again. Where Kafka is wiped the events that were not read are gone, and the topic that is
created again is another log: workers have to refuse it, and what was counted has to stay right.
"""

import time
from collections.abc import Callable
from typing import Protocol

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from loadtest.faults.cells import Cell
from loadtest.faults.hurt_servers import slowed
from loadtest.faults.hurt_worker import HurtWorker
from loadtest.faults.world import World
from loadtest.meterline import CommandFailed
from loadtest.topics import workers_group

PATIENCE_S = 240.0
#: Longer than the group waits for a worker (6 s), so that its partitions move; servers shorter.
_WORKER_PAUSED_S, _SERVER_AWAY_S, _SLOW_S = 8.0, 2.0, 4.0
_REFUSED = 2
_ATTEMPTS = 40


class _ServerFault(Protocol):
    def __call__(self, world: World, name: str, *, victim: HurtWorker) -> None: ...


def hurt(world: World, cell: Cell, *, victim: HurtWorker) -> None:
    """Hurt the cell's target; returns when the victim runs again, or was replaced.

    Raises `CommandFailed` when a server does not come back.
    """
    if cell.target == "worker":
        _WORKER_FAULTS[cell.fault](world, victim)
    else:
        _SERVER_FAULTS[cell.fault](world, cell.target, victim=victim)
        world.check_addresses()


def expect_refusal(world: World) -> list[str]:
    """After Kafka was wiped: create the topic again; what is wrong with how workers take it."""
    world.create_topic()
    wrong = []
    for worker in world.workers:
        code = worker.wait_end(PATIENCE_S)
        if code != _REFUSED:
            wrong.append(f"expected the worker to end with {_REFUSED}, got {code}:\n{worker.said}")
    return wrong + world.unverified()


def _kill_worker(world: World, victim: HurtWorker) -> None:
    victim.kill()
    world.start_worker()


def _pause_worker(_world: World, victim: HurtWorker) -> None:
    time.sleep(_WORKER_PAUSED_S)
    victim.resume()


def _restart_worker(world: World, victim: HurtWorker) -> None:
    victim.resume()
    victim.stop()
    world.start_worker()


def _replay(world: World, _victim: HurtWorker) -> None:
    """All workers are killed, and their group forgets where it was."""
    for worker in world.workers:
        worker.kill()
    _forget_group(world)
    for _ in range(len(world.workers)):
        world.start_worker()


def _slow_worker(_world: World, victim: HurtWorker) -> None:
    with slowed(victim.pid):
        time.sleep(_SLOW_S)


def _kill_server(world: World, name: str, *, victim: HurtWorker) -> None:
    world.servers.kill(name)
    victim.resume()
    time.sleep(_SERVER_AWAY_S)
    world.servers.start(name)


def _pause_server(world: World, name: str, *, victim: HurtWorker) -> None:
    with slowed(world.servers.pid(name), running_s=0.0):
        victim.resume()
        time.sleep(_SERVER_AWAY_S)


def _restart_server(world: World, name: str, *, victim: HurtWorker) -> None:
    world.servers.stop(name)
    world.servers.start(name)
    victim.resume()


def _wipe_server(world: World, name: str, *, victim: HurtWorker) -> None:
    world.servers.kill(name)
    world.servers.delete_data(name)
    world.servers.start(name)
    if name == "clickhouse":  # as after a restore from a backup that was empty
        world.meterline.run("migrate")
    victim.resume()


def _slow_server(world: World, name: str, *, victim: HurtWorker) -> None:
    with slowed(world.servers.pid(name)):
        victim.resume()
        time.sleep(_SLOW_S)


_WORKER_FAULTS: dict[str, Callable[[World, HurtWorker], None]] = {
    "kill": _kill_worker,
    "pause": _pause_worker,
    "restart": _restart_worker,
    "wiped": _replay,
    "slow": _slow_worker,
}
_SERVER_FAULTS: dict[str, _ServerFault] = {
    "kill": _kill_server,
    "pause": _pause_server,
    "restart": _restart_server,
    "wiped": _wipe_server,
    "slow": _slow_server,
}


def _forget_group(world: World) -> None:
    """Delete the group; while its dead members are not missed yet it cannot be."""
    group = workers_group(world.namespace)
    admin = AdminClient({"bootstrap.servers": world.bootstrap_servers, "log_level": 2})
    for _ in range(_ATTEMPTS):
        try:
            admin.delete_consumer_groups([group], request_timeout=10)[group].result()
        except KafkaException:
            time.sleep(0.5)
        else:
            return
    msg = f"the group {group} could not be deleted"
    raise CommandFailed(msg)
