"""One spike among customers as usual: weeks of hourly usage, of which one grows beyond itself."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import orjson

from loadtest.oracle import Difference

METER = "workflow_runs"
SPIKING = "spiking-customer"
_CUSTOMERS = (SPIKING, "steady-customer")
_WEEKS = 10
_HOUR = timedelta(hours=1)
#: The last hours, in which one customer uses so many times as much.
_SPIKE_HOURS, _SPIKE_TIMES = 3, 8
_ANOMALIES = frozenset({"spike", "drop", "silence"})


def write_history(path: Path, *, until: datetime, seed: int) -> int:
    """Events of the weeks up to the whole hour before `until`, as NDJSON; how many there are."""
    end = until.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    random = Random(seed)
    hours = _WEEKS * 7 * 24
    lines = []
    for customer in _CUSTOMERS:
        for ago in range(hours, 0, -1):
            is_day = (end - ago * _HOUR).hour in range(8, 18)
            events = random.randint(9, 11) * (2 if is_day else 1)
            if customer == SPIKING and ago <= _SPIKE_HOURS:
                events *= _SPIKE_TIMES
            moment = end - ago * _HOUR
            for number in range(events):
                event = {
                    "id": f"hour-{ago}-{number}", "customer_id": customer, "meter": METER,
                    "quantity": random.randint(1, 5),
                    "occurred_at": (moment + number * _HOUR / events).isoformat(),
                }  # fmt: skip
                lines.append(orjson.dumps(event))
    path.write_bytes(b"\n".join(lines) + b"\n")
    return len(lines)


def anomalies(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Spikes, drops and silences among what a check found."""
    return [each for each in document["changes"] if each["kind"] in _ANOMALIES]


def spike_differences(found: list[Mapping[str, Any]]) -> list[Difference]:
    """Where that is anything but the one spike."""
    got = sorted((each["kind"], each["customer_id"], each["meter"]) for each in found)
    expected = [("spike", SPIKING, METER)]
    return [] if got == expected else [Difference("anomalies", str(expected), str(got))]
