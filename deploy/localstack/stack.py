"""The whole local stack in one object: three servers, and on request those that watch them.

From start to end:

    stack = LocalStack(Path(".meterline/stack"))
    stack.up()
    os.environ.update(stack.env())
    stack.service("redis").kill()
    stack.down()
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from deploy.localstack.alertmanager_service import AlertmanagerService
from deploy.localstack.clickhouse_service import ClickHouseService
from deploy.localstack.errors import StackError
from deploy.localstack.kafka_service import KafkaService
from deploy.localstack.prometheus_service import PrometheusService
from deploy.localstack.redis_service import RedisService
from deploy.localstack.service import Condition, Progress, Service, ignore_progress
from deploy.localstack.state import StateFile, hold

SERVICES: tuple[type[Service], ...] = (KafkaService, RedisService, ClickHouseService)
SERVICE_NAMES: tuple[str, ...] = tuple(service.name for service in SERVICES)
#: Started only when asked for: `up --with prometheus`.
WATCHING: tuple[type[Service], ...] = (AlertmanagerService, PrometheusService)
WATCHING_NAMES: tuple[str, ...] = tuple(service.name for service in WATCHING)

_LOCK_PATIENCE = timedelta(minutes=3)


@dataclass(frozen=True)
class ServiceStatus:
    """One line of `status`: `healthy` is the answer to a real request, for ours only."""

    name: str
    condition: Condition
    healthy: bool
    address: str | None
    pid: int | None
    log_file: Path


class LocalStack:
    """Kafka, Redis and ClickHouse of one data folder, all on loopback.

    A service whose variable (KAFKA_BOOTSTRAP_SERVERS, REDIS_URL, CLICKHOUSE_URL) is set in
    `environment` (default: this process's) is used as it is, never started or stopped.
    Safe to use from several processes on the same folder.
    """

    def __init__(self, data_dir: Path, *, environment: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self._state = StateFile(self.data_dir)
        variables = dict(os.environ) if environment is None else dict(environment)
        self._services = {
            service.name: service(root=self.data_dir, state=self._state, environment=variables)
            for service in (*SERVICES, *WATCHING)
        }

    def up(
        self,
        services: Sequence[str] = SERVICE_NAMES,
        *,
        progress: Progress = ignore_progress,
    ) -> None:
        """Start what does not run yet, all at once, and return when all answer.

        Data and ports of an earlier run are used again. Raises StackError naming every
        service that failed, with the end of its log; the others stay up.
        """
        wanted = [self.service(name) for name in services]
        with self._exclusive():
            ours = [service for service in wanted if service.condition() != "external"]
            for service in ours:
                service.keep_or_replace_ports()
            with ThreadPoolExecutor(max_workers=len(self._services)) as pool:
                running = [pool.submit(service.start, progress) for service in ours]
            failures = [error for future in running if (error := future.exception())]
        _raise_all(failures)

    def down(self, *, progress: Progress = ignore_progress) -> None:
        """End every process that this stack started; data and ports are kept."""
        with self._exclusive():
            ours = [s for s in self._services.values() if s.condition() == "up"]
            with ThreadPoolExecutor(max_workers=len(self._services)) as pool:
                running = [pool.submit(_stop, service, progress) for service in ours]
            failures = [error for future in running if (error := future.exception())]
        _raise_all(failures)

    def status(self) -> dict[str, ServiceStatus]:
        """Return the state of each service now, by name; what watches only while it runs."""
        found = {name: _status(service) for name, service in self._services.items()}
        return {
            name: status
            for name, status in found.items()
            if name in SERVICE_NAMES or status.condition != "down"
        }

    def env(self, services: Sequence[str] | None = None) -> dict[str, str]:
        """Return the variables that point a program at this stack, or at some `services` of it.

        Raises ServiceFailedError for a service that is not external and was never started.
        """
        running = (n for n in WATCHING_NAMES if self.service(n).condition() != "down")
        wanted = (*SERVICE_NAMES, *running) if services is None else services
        found: dict[str, str] = {}
        for service in map(self.service, wanted):
            found |= {service.variable: service.address, **service.further_variables()}
        return found

    def service(self, name: str) -> Service:
        """Return the handle of one service. Raises StackError for an unknown name."""
        if name not in self._services:
            message = f"no service is called {name!r}: use {', '.join(self._services)}"
            raise StackError(message)
        return self._services[name]

    def _exclusive(self) -> AbstractContextManager[None]:
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        return hold(self.data_dir / "stack.lock", patience=_LOCK_PATIENCE)


def _stop(service: Service, progress: Progress) -> None:
    progress(service.name, "stopping")
    service.stop()
    progress(service.name, "stopped")


def _status(service: Service) -> ServiceStatus:
    condition = service.condition()
    return ServiceStatus(
        name=service.name,
        condition=condition,
        healthy=condition == "up" and service.is_healthy(),
        address=None if condition == "down" else service.address,
        pid=service.pid if condition == "up" else None,
        log_file=service.log_file,
    )


def _raise_all(failures: Sequence[BaseException]) -> None:
    unexpected = [error for error in failures if not isinstance(error, StackError)]
    if unexpected:
        raise unexpected[0]
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise StackError("\n\n".join(str(error) for error in failures))
