"""Every setting of a worker, in one frozen tree, read from the environment and checked at once.

Variables start with `METERLINE_`, except the addresses of the three servers, which keep the names
that the local stack prints. A value may come from a file: `NAME_FILE=/path` is read for `NAME`.
"""

import os
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from metering.errors import SettingsInvalid

_NAME = r"^[a-z][a-z0-9_]{0,31}$"


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        msg = f"expected a duration above zero, got {value}"
        raise ValueError(msg)
    return value


def _seconds(value: object) -> object:
    """A bare number is a number of seconds."""
    if isinstance(value, str) and value.replace(".", "", 1).isdigit():
        return timedelta(microseconds=int(Decimal(value) * 1_000_000))
    return value


Duration = Annotated[timedelta, BeforeValidator(_seconds), AfterValidator(_positive)]


class Settings(BaseSettings):
    """One deployment. Durations are ISO 8601 (`PT5M`, `P32D`) or seconds."""

    model_config = SettingsConfigDict(
        env_prefix="METERLINE_", frozen=True, extra="ignore", populate_by_name=True
    )

    kafka_bootstrap_servers: str = Field(
        "127.0.0.1:9092",
        validation_alias=AliasChoices("KAFKA_BOOTSTRAP_SERVERS", "kafka_bootstrap_servers"),
    )
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        validation_alias=AliasChoices("REDIS_URL", "redis_url"),
    )
    clickhouse_url: SecretStr = Field(
        SecretStr("http://default:@127.0.0.1:8123/"),
        validation_alias=AliasChoices("CLICKHOUSE_URL", "clickhouse_url"),
    )
    #: Names the deployment (live, sandbox): prefixes topics, Redis keys and the database.
    namespace: str = Field("", pattern=r"^([a-z][a-z0-9_]{0,31})?$")
    #: Base name of the ClickHouse database, before the namespace's prefix.
    database_name: str = Field("meterline", pattern=_NAME)
    #: ClickHouse cluster name; empty for one server.
    cluster: str = Field("", pattern=r"^[A-Za-z0-9_]*$")
    #: Base name of the consumer group, before the namespace's prefix.
    consumer_group: str = Field("meterline", min_length=1)
    catalog: Path = Path("catalog")
    #: Extra librdkafka properties (`security.protocol`, ...), as JSON.
    kafka_properties: dict[str, str | int | bool] = Field(default_factory=dict)

    #: Key of the identity hash, shared by all workers of a deployment; never change it.
    identity_key: SecretStr = SecretStr("meterline")
    #: How much later than it occurred an event may arrive and still be on time.
    allowed_lateness: Duration = timedelta(minutes=5)
    #: How often a worker looks whether the catalog folder was changed.
    catalog_poll: Duration = timedelta(seconds=10)
    #: Percent of all subscriptions that may be gone at once in a changed catalog; more is refused.
    catalog_lost_percent_max: int = Field(50, ge=0, le=100)
    #: How far ahead of the record timestamp an event may claim to have occurred.
    future_tolerance: Duration = timedelta(minutes=5)

    #: Length of one of the two generations of the dedup memory.
    dedup_window: Duration = timedelta(days=32)
    #: Events that one generation is laid out for: sets how many small buckets there are.
    dedup_events_max: int = Field(8_000_000, ge=1000)
    #: Redis Cluster hash tags the memory is spread over; a rebuild is needed to change it.
    dedup_shards: int = Field(4, ge=1, le=4096)
    #: How much of raw history is claimed again when Redis restarted but kept its data.
    dedup_tail: Duration = timedelta(minutes=15)

    batch_events_max: int = Field(16_000, ge=1, le=100_000)
    batch_wait: Duration = timedelta(milliseconds=50)
    #: At most so many rows wait in memory, of which one of totals counts for three of events. A
    #: flush is cut when its oldest event waits this long, or all are there and half are totals;
    #: rows of events that fill the room go ahead of them.
    flush_rows_max: int = Field(800_000, ge=1, le=4_000_000)
    flush_wait: Duration = timedelta(milliseconds=400)
    #: The same while catching up: longer flushes hold fewer rows of totals for each event.
    flush_wait_behind: Duration = timedelta(seconds=6)
    #: Batches whose claims may be under way at once.
    claims_in_flight_max: int = Field(8, ge=1, le=64)
    #: (customer, meter, group, period) units that the ledger keeps; more are read again.
    ledger_units_max: int = Field(1_200_000, ge=1000)

    #: How long after its end, by the watermark, a billing period may be closed.
    close_grace: Duration = timedelta(hours=1)
    #: How often the steward looks for late usage, how often it checks what is stored, and over how
    #: many closed months.
    steward_every: Duration = timedelta(minutes=15)
    steward_checks_every: Duration = timedelta(minutes=5)
    steward_months: int = Field(3, ge=1, le=60)

    #: Who acts, for the audit log; empty is the system's user.
    actor: str = ""
    #: Up to which amount the author of a correction may apply it: one for every currency, or by
    #: currency (`USD=500 JPY=70000`).
    approval_threshold: str = Field("100", pattern=r"^[A-Z0-9=., ]*$")

    #: How often the steward looks for spikes, drops, silence and thresholds.
    alert_every: Duration = timedelta(minutes=5)
    #: Where findings are posted to, beside the topic; empty for nowhere.
    alert_webhook: str = ""
    #: What messages to the webhook are signed with.
    alert_webhook_secret: SecretStr = SecretStr("")
    #: Whether the webhook may be an address of the own network, without https.
    alert_webhook_private: bool = False

    #: Where the archive is: a folder, or a URI of an object store (`s3://bucket/prefix`).
    archive: str = ""
    #: A file of the archive is written when so many bytes of messages wait for it ...
    archive_file_bytes_max: int = Field(64 << 20, ge=1, le=1 << 30)
    #: ... or the oldest waits this long.
    archive_file_wait: Duration = timedelta(minutes=5)
    #: Bytes of messages that wait over all partitions; beyond, the largest file is written.
    archive_waiting_bytes_max: int = Field(512 << 20, ge=1)

    #: Where `/metrics`, `/healthz` and `/readyz` are served; port 0 picks a free one.
    http_host: str = "127.0.0.1"
    http_port: int = Field(9464, ge=0, le=65535)
    #: Folder in which a process says where Prometheus finds its metrics; none when not set.
    metrics_targets: Path | None = None

    @property
    def database(self) -> str:
        """ClickHouse database of this namespace."""
        return f"{self.namespace}_{self.database_name}" if self.namespace else self.database_name

    @property
    def events_topic(self) -> str:
        """Kafka topic that usage events are read from."""
        return f"{self._topic_prefix}usage.events"

    @property
    def rejected_topic(self) -> str:
        """Kafka topic that rejected events are written to."""
        return f"{self._topic_prefix}usage.rejected"

    @property
    def alerts_topic(self) -> str:
        """Kafka topic that findings are written to."""
        return f"{self._topic_prefix}usage.alerts"

    @property
    def group_id(self) -> str:
        """Consumer group of the workers of this namespace."""
        return f"{self._topic_prefix}{self.consumer_group}"

    @property
    def archive_group_id(self) -> str:
        """Consumer group of the processes that archive; it commits nothing."""
        return f"{self.group_id}.archive"

    @property
    def redis_prefix(self) -> str:
        """First part of every Redis key of this namespace."""
        return f"meterline:{self.namespace or 'default'}"

    @property
    def _topic_prefix(self) -> str:
        return f"{self.namespace}." if self.namespace else ""


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment, `overrides` first.

    Raises `SettingsInvalid` with one sentence per fault: the variable, what was expected, what
    came. Secrets are never part of a sentence.
    """
    _read_secret_files()
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsInvalid(
            [
                f"setting {_variable(str(fault['loc'][0]))}: {fault['msg']}"
                for fault in error.errors(include_input=False)
            ]
        ) from None
    except SettingsError as error:
        field = str(error).partition('field "')[2].partition('"')[0]
        msg = f"setting {_variable(field)}: expected JSON, got text that is not"
        raise SettingsInvalid([msg]) from None


def _variable(field: str) -> str:
    return field.upper() if field.upper() in _ADDRESSES else f"METERLINE_{field.upper()}"


def _read_secret_files() -> None:
    for name, path in list(os.environ.items()):
        target = name.removesuffix("_FILE")
        if name == target or not (name.startswith("METERLINE_") or target in _ADDRESSES):
            continue
        try:
            os.environ.setdefault(target, Path(path).read_text(encoding="utf-8").strip())
        except OSError as error:
            msg = f"setting {name}: expected a readable file at {path}, got: {error.strerror}"
            raise SettingsInvalid([msg]) from None


_ADDRESSES = ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL", "CLICKHOUSE_URL")
