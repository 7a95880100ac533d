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
_CUSTOMERS = (SPIKING, "steady-customer", "busy-customer")
_WEEKS = 9
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
    for number, customer in enumerate(_CUSTOMERS):
        for ago in range(hours, 0, -1):
            usual = (number + 1) * (30 + 15 * ((hours - ago) % 24 in range(8, 18)))
            quantity = round(usual * random.uniform(0.8, 1.2))
            if customer == SPIKING and ago <= _SPIKE_HOURS:
                quantity *= _SPIKE_TIMES
            event = {
                "id": f"hour-{ago}", "customer_id": customer, "meter": METER,
                "quantity": quantity, "occurred_at": (end - ago * _HOUR).isoformat(),
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
