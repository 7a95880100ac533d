"""Whether a database may be rebuilt into: it is empty, or such a rebuild was interrupted.

The mark is a row of `streams` of the kind `rebuild`, which becomes `rebuilt` at the end.
"""

from clickhouse_connect.driver.client import Client

from metering.errors import PermanentError
from sinks.clickhouse import clickhouse_errors
from sinks.progress import REBUILD, Progress

#: What a rebuild writes; all else (prices, invoices, the audit log) may be there before.
_TABLES = (
    "usage_events", "usage_totals", "duplicate_events", "rejected_events", "suppressed_events",
    "offset_gaps", "watermarks", "streams",
)  # fmt: skip


class RebuildState:
    """The state of one database."""

    def __init__(self, client: Client, *, uri: str, until: str) -> None:
        """From which archive, and until which moment ("" for all of it)."""
        self._client = client
        self._progress = Progress(client)
        self._uri = uri
        self._until = until
        self._mark = self._progress.stream(REBUILD)

    @property
    def is_finished(self) -> bool:
        """All of it was done before."""
        return self._mark is not None and self._mark.kind == "rebuilt"

    @property
    def is_interrupted(self) -> bool:
        """A part of it was done before."""
        return self._mark is not None and self._mark.kind == "rebuild"

    def check(self) -> None:
        """Raises `PermanentError` unless the database is empty, or is this very rebuild's."""
        if self._mark is not None:
            known = (self._mark.topic, self._mark.topic_id)
            if known != (self._uri, self._until):
                msg = (
                    f"database {self._client.database}: expected to go on rebuilding from "
                    f"{known[0]} until {known[1] or 'its end'}, got {self._uri} until "
                    f"{self._until or 'its end'}; drop the database to begin anew"
                )
                raise PermanentError(msg)
            return
        held = [f"{name} ({count} rows)" for name, count in self._rows() if count]
        if held:
            msg = (
                f"database {self._client.database}: expected an empty one to rebuild into, got "
                f"{', '.join(held)}. Name another with --into, or drop it"
            )
            raise PermanentError(msg)

    def start(self) -> None:
        """From now on the database is this rebuild's."""
        self._progress.register(REBUILD, "rebuild", topic=self._uri, topic_id=self._until)

    def finish(self) -> None:
        """Everything is durable."""
        self._progress.register(REBUILD, "rebuilt", topic=self._uri, topic_id=self._until)

    def _rows(self) -> list[tuple[str, int]]:
        sql = " UNION ALL ".join(f"SELECT '{name}', count() FROM {name}" for name in _TABLES)
        with clickhouse_errors("looking whether the database is empty"):
            rows = self._client.query(sql).result_rows
        return sorted((str(name), int(count)) for name, count in rows)
