"""What a run came to: the form in which the truth and ClickHouse's answer are compared."""

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import orjson

CONFLICT_CODE = "identity_must_not_repeat_with_other_payload"


class TotalKey(NamedTuple):
    """Names one hourly total; `window_start` is Unix seconds UTC, `group` canonical JSON."""

    customer_id: str
    meter: str
    group: str
    window_start: int


class Total(NamedTuple):
    """One hourly total: the aggregated quantity and the number of events in it."""

    quantity: Decimal
    events: int


@dataclass(frozen=True)
class Outcome:
    """Every number of a run.

    `accepted` is what raw history holds; `late` and `disregarded` are parts of it (`late` is None
    where it is not known). `rejected` is by code and includes conflicts. `totals` hold what was
    accepted and not disregarded.
    """

    accepted: int = 0
    duplicates: int = 0
    suppressed: int = 0
    disregarded: int = 0
    late: int | None = None
    rejected: dict[str, int] = field(default_factory=dict)
    totals: dict[TotalKey, Total] = field(default_factory=dict)

    @property
    def conflicts(self) -> int:
        """Events that repeated an identity with another payload."""
        return self.rejected.get(CONFLICT_CODE, 0)

    @property
    def rejected_without_conflicts(self) -> int:
        """Events that were rejected for what they are, not for whom they repeat."""
        return sum(self.rejected.values()) - self.conflicts

    @property
    def accounted(self) -> int:
        """Events that ended somewhere: the left side of the law of conservation."""
        return self.accepted + self.duplicates + self.suppressed + sum(self.rejected.values())

    def save(self, path: Path) -> None:
        """Write it as JSON; `load` reads the same value back."""
        numbers = {name: value for name, value in vars(self).items() if name != "totals"}
        rows = [(*key, str(total.quantity), total.events) for key, total in self.totals.items()]
        path.write_bytes(orjson.dumps({**numbers, "totals": rows}))


def load_outcome(path: Path) -> Outcome:
    """The outcome that `Outcome.save` wrote."""
    content = orjson.loads(path.read_bytes())
    totals = {
        TotalKey(customer, meter, group, window): Total(Decimal(quantity), events)
        for customer, meter, group, window, quantity, events in content.pop("totals")
    }
    return Outcome(**content, totals=totals)
