"""Apache Kafka: one process that is broker and controller, on loopback."""

from __future__ import annotations

import base64
import subprocess
import uuid
from datetime import timedelta
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.localstack.errors import ServiceFailedError
from deploy.localstack.kafka_jars import fetch_jars, find_java
from deploy.localstack.ports import LOOPBACK
from deploy.localstack.service import Progress, Service

_CONFIG = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={log_dir}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
# A killed broker may come back as soon as the controller has missed it for this long.
broker.session.timeout.ms=2500
broker.heartbeat.interval.ms=500
# One machine, few clients: fewer threads and smaller buffers than the server defaults.
num.network.threads=2
num.io.threads=4
background.threads=2
num.recovery.threads.per.data.dir=2
log.cleaner.dedupe.buffer.size=33554432
log.segment.bytes=268435456
"""

_LOGGING = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {log_dir}/kafka-server.log
appender.file.filePattern = {log_dir}/kafka-server.log.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = [%d] %p %m (%c)%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d] %p %m (%c)%n
appender.console.filter.threshold.type = ThresholdFilter
appender.console.filter.threshold.level = error
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
rootLogger.appenderRef.console.ref = console
"""

_BROKER_FLAGS = ("-Xms512m", "-Xmx768m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError")
# The format tool lives for a second: compiling its code well would be wasted.
_TOOL_FLAGS = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class KafkaService(Service):
    """One broker. Topics are created by whoever needs them; there is no auto-create."""

    name = "kafka"
    variable = "KAFKA_BOOTSTRAP_SERVERS"
    port_count = 2

    def prepare(self, progress: Progress) -> None:
        """Fetch the jars, write the configuration, and format the storage the first time."""
        find_java()
        progress(self.name, "fetching its jars (first time only)")
        fetch_jars(self._environment)
        progress(self.name, "preparing")
        port, controller_port = self._state.service(self.name).ports
        self._config_file.write_text(
            _CONFIG.format(
                host=LOOPBACK, port=port, controller_port=controller_port, log_dir=self._log_dir
            )
        )
        self._logging_file.write_text(_LOGGING.format(log_dir=self.log_file.parent))
        if not (self._log_dir / "meta.properties").exists():
            progress(self.name, "formatting its storage")
            self._format()

    def command(self) -> list[str]:
        """Run the broker on java."""
        return self._java(_BROKER_FLAGS, "kafka.Kafka", str(self._config_file))

    def is_healthy(self) -> bool:
        """List the brokers of the cluster."""
        client = AdminClient(
            {
                "bootstrap.servers": self.own_address(),
                "socket.connection.setup.timeout.ms": 1000,
                "log_level": 0,
            }
        )
        try:
            return len(client.list_topics(timeout=1.0).brokers) > 0
        except KafkaException:
            return False

    def own_address(self) -> str:
        """Return `host:port`."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def _config_file(self) -> Path:
        return self.folder / "server.properties"

    @property
    def _logging_file(self) -> Path:
        return self.folder / "log4j2.properties"

    @property
    def _log_dir(self) -> Path:
        return self.folder / "data"

    def _format(self) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        config = str(self._config_file)
        # Joined by "=", as one id in 64 begins with a dash.
        arguments = (
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={cluster_id}",
            "-c",
            config,
        )
        result = subprocess.run(
            self._java(_TOOL_FLAGS, *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timedelta(minutes=2).total_seconds(),
            check=False,
        )
        if result.returncode != 0:
            message = f"kafka could not format {self._log_dir}:\n{result.stdout}{result.stderr}"
            raise ServiceFailedError(message)

    def _java(self, flags: tuple[str, ...], *arguments: str) -> list[str]:
        jars = fetch_jars(self._environment)
        logging = f"-Dlog4j2.configurationFile=file:{self._logging_file}"
        return [find_java(), *flags, logging, "-cp", f"{jars}/*", *arguments]
