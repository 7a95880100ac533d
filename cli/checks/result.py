"""One line of what `doctor` finds."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is: a failure stops exact counting or will."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found there, and what to do unless it is ok."""

    area: str
    name: str
    level: Level
    found: str
    todo: str = ""


def judged(area: str, name: str, found: str, *, fail: str = "", warn: str = "") -> Check:
    """A check whose level follows from which remedy is given: `fail`, else `warn`, else ok."""
    if fail:
        return Check(area, name, Level.FAIL, found, fail)
    return Check(area, name, Level.WARN if warn else Level.OK, found, warn)
