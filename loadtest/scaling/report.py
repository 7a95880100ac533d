"""What scaling out came to: a row for each number of workers, beside what the cores allowed."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from loadtest.figures import number_text
from loadtest.load.profiles import Profile
from loadtest.scaling.rows import Row
from loadtest.scaling.stretch import Stretch

_MISSING = "-"
_SHOWN_MAX = 20
_SPEED = (
    "workers", "events/s, with all that happened", "times one", "events/s, undisturbed",
    "times one", "the cores allow events/s", "reached of what was possible", "totals, verify",
)  # fmt: skip
_COST = (
    "workers", "CPU us/event: workers", "servers", "cores used: workers", "servers",
    "other programs", "partitions held again after",
)  # fmt: skip


@dataclass(frozen=True)
class Scaled:
    """All of it; `command` repeats it, `cores` is how many there are for everything.

    `machine` is filled in when the servers run, `rows` as they are done.
    """

    started_at: datetime
    command: str
    profile: Profile
    seed: int
    cores: int
    machine: dict[str, str]
    rows: list[Row]

    @property
    def is_right(self) -> bool:
        """Every number of every row is exact."""
        return not any(row.differences for row in self.rows)

    def tables(self) -> list[str]:
        """Markdown: speeds and ratios, then costs."""
        speeds = [_line(_SPEED), _rule(_SPEED), *(_line(self._speed(row)) for row in self.rows)]
        costs = [_line(_COST), _rule(_COST), *(_line(_cost(row)) for row in self.rows)]
        notes = [self._fullest()] if self.profile.giant and self.rows else []
        notes += [
            f"Workers: {row.workers}. There was no undisturbed part; costs are of all of it."
            for row in self.rows
            if row.steady is None
        ]
        notes += [
            f"Workers: {row.workers}. Everything was durable before these were over:"
            f" {', '.join(row.idle)}."
            for row in self.rows
            if row.idle
        ]
        return [*speeds, "", *costs, *(line for note in notes for line in ("", note))]

    def save(self, folder: Path) -> list[Path]:
        """Write `scale.json` and `scale.md`; returns their paths."""
        paths = [folder / "scale.json", folder / "scale.md"]
        paths[0].write_text(json.dumps(self._document(), indent=1) + "\n", encoding="utf-8")
        paths[1].write_text(self._page(), encoding="utf-8")
        return paths

    def possible_speed(self, row: Row) -> float | None:
        """So many times the speed of one worker, or less where the cores allow less.

        Undisturbed both; None where one of them is not known.
        """
        one = self._one()
        if one is None or one.steady is None or row.steady is None:
            return None
        allowed = row.steady.allowed_speed(self.cores)
        return None if allowed is None else min(row.workers * one.steady.speed, allowed)

    def _one(self) -> Row | None:
        return next((row for row in self.rows if row.workers == 1), None)

    def _times_one(self, row: Row) -> tuple[float | None, float | None]:
        """Speed by that of one worker: of the whole, and undisturbed."""
        one = self._one()
        if one is None:
            return None, None
        is_steady = row.steady is not None and one.steady is not None
        steady = _steady(row).speed / _steady(one).speed if is_steady else None
        return row.whole.speed / one.whole.speed, steady

    def _reached(self, row: Row) -> float | None:
        possible = self.possible_speed(row)
        return _steady(row).speed / possible if possible else None

    def _fullest(self) -> str:
        share = max(row.fullest for row in self.rows)
        return f"The fullest partition holds {share:.1%} of the events, for one worker at a time."

    def _speed(self, row: Row) -> tuple[str, ...]:
        whole, steady = self._times_one(row)
        return (
            str(row.workers),
            _text(row.whole.speed),
            _text(whole),
            _text(_speed_of(row.steady)),
            _text(steady),
            _text(None if row.steady is None else row.steady.allowed_speed(self.cores)),
            _text(self._reached(row)),
            f"{len(row.differences)} differ" if row.differences else "exact",
        )

    def _document(self) -> dict[str, Any]:
        return {
            "started_at": self.started_at.isoformat(), "command": self.command,
            "profile": self.profile.name, "seed": self.seed,
            "cores": self.cores, "machine": dict(self.machine),
            "verdict": "exact" if self.is_right else "numbers differ",
            "rows": [
                {
                    **asdict(row),
                    "differences": [each._asdict() for each in row.differences],
                    "events_per_second": row.whole.speed,
                    "events_per_second_undisturbed": _speed_of(row.steady),
                    "times_one": self._times_one(row)[0],
                    "times_one_undisturbed": self._times_one(row)[1],
                    "possible_events_per_second": self.possible_speed(row),
                    "reached_of_possible": self._reached(row),
                }
                for row in self.rows
            ],
        }  # fmt: skip

    def _page(self) -> str:
        lines = [
            f"# Scale-out of {self.started_at:%Y-%m-%d %H:%M} UTC", "",
            f"Profile {self.profile.name}, seed {self.seed}, {self.cores} cores for everything.",
            "", f"    {self.command}", "", *self.tables(),
        ]  # fmt: skip
        for row in self.rows:
            lines += ["", *differences_of(row)] if row.differences else []
        lines += ["", "| machine | |", "| --- | --- |"]
        lines += [_line((name, text)) for name, text in self.machine.items()]
        return "\n".join(lines) + "\n"


def differences_of(row: Row) -> list[str]:
    """What is not exact, the first of them."""
    told = [
        f"{row.workers} workers: {each.what}: expected {each.expected}, got {each.got}"
        for each in row.differences[:_SHOWN_MAX]
    ]
    more = len(row.differences) - _SHOWN_MAX
    return [*told, f"... {more} more"] if more > 0 else told


def _cost(row: Row) -> tuple[str, ...]:
    part = _steady(row)
    again = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in row.took_s.items())
    used = (_text(each) for each in part.cores_used().values())
    return (str(row.workers), _text(part.workers_us), _text(part.servers_us), *used, again)


def _steady(row: Row) -> Stretch:
    """The part without disturbance, all of it where there is none."""
    return row.steady or row.whole


def _speed_of(part: Stretch | None) -> float | None:
    return None if part is None else part.speed


def _text(value: float | None) -> str:
    return _MISSING if value is None else number_text(value)


def _rule(heads: Sequence[str]) -> str:
    return "| " + " | ".join(["---:"] * (len(heads) - 1) + ["---"]) + " |"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
