"""The exceptions of Meterline, and which of them may pass by themselves.

    MeterlineError
    +- TransientError            waiting or starting again may help; nothing is lost
    |  +- DependencyDown         Kafka, Redis or ClickHouse does not answer
    |  +- AssignmentLost         another worker holds the partition now: drop what is in flight
    |  +- DedupMemoryLost        Redis is not the memory that was adopted: rebuild, then go on
    |  +- RowsLost               ClickHouse holds less than this worker wrote: resume from there
    |  +- ClaimsForgotten        two generations passed since this worker's first claim: start anew
    |  +- PeriodIncomplete       usage of a period that is to be closed may still be on its way
    |  +- BillingLeaseLost       another process closes, adjusts or re-rates now
    +- PermanentError            a person has to act
       +- SettingsInvalid        settings or catalog are wrong; every fault is listed
       +- OffsetsNotThere        the log does not hold the offset to resume from
       |  +- LogBeginsLater      ... because its beginning is gone; a person may accept that
       +- TopicUnfit             the topic lacks what exactness needs

Bad *input* is never an exception: it is a `Rejection`. Only the composer (`dataflows/runner.py`
and `cli/`) acts on the classes.
"""


class MeterlineError(Exception):
    """Base of all errors that Meterline raises on purpose; the text is meant for the user."""

    exit_code = 1


class TransientError(MeterlineError):
    """May pass by itself; the worker drops what is in flight and resumes where it is durable."""

    exit_code = 75


class DependencyDown(TransientError):
    """A server does not answer, or answers that it cannot serve now.

    The text begins with the server's name: Kafka, Redis or ClickHouse.
    """

    @property
    def server(self) -> str:
        """Which server, as the label of a metric: kafka, redis, clickhouse."""
        return str(self).partition(" ")[0].strip(",").lower()


class AssignmentLost(TransientError):
    """The partition has a newer generation: somebody else reads it."""


class DedupMemoryLost(TransientError):
    """The dedup memory in Redis is not the one that was adopted."""


class ClaimsForgotten(TransientError):
    """The memory has moved two generations past this worker's first claim.

    Claims of that age are forgotten, and some of this worker's may not be in raw history yet.
    """


class RowsLost(TransientError):
    """ClickHouse holds less of a partition than this worker wrote: it was restored, or emptied.

    What the worker remembers is not what is stored; it starts anew from what is durable.
    """


class BillingLeaseLost(TransientError):
    """Another process bills: it did not let go in time, or took over from this one."""


class PeriodIncomplete(TransientError):
    """A billing period is to be closed, and its totals are not complete yet."""


class PermanentError(MeterlineError):
    """Will not pass by itself; the message says what to do."""

    exit_code = 2


class SettingsInvalid(PermanentError):
    """Settings or catalog are wrong. `faults` lists all of them, one sentence each."""

    def __init__(self, faults: list[str]) -> None:
        """Keep every fault; the text shows them one a line."""
        super().__init__("\n".join(faults))
        self.faults = faults


class OffsetsNotThere(PermanentError):
    """The log does not hold the offset to resume from; going on would lose events silently."""


class LogBeginsLater(OffsetsNotThere):
    """The log begins after the offset to resume from: offsets `wanted` .. `low` - 1 are gone."""

    def __init__(self, message: str, *, wanted: int, low: int) -> None:
        """Both are offsets of one partition."""
        super().__init__(message)
        self.wanted = wanted
        self.low = low


class TopicUnfit(PermanentError):
    """The topic lacks what exactness needs (timestamps by the broker, for one)."""
