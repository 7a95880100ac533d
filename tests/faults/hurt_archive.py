"""`meterline` with a death planted in it, for archive and rebuild.

`FAULT_KILL=archive:2:3`: killed (SIGKILL) right before step 2 of the third file.
`FAULT_KILL=rebuild:1:4`: right before step 1 of the fourth flush.
`FAULT_KILL=rebuild:mark:1`: before the first mark of the rebuild is written; `:2` before the last.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import dataflows.archiver
import dataflows.rebuild
from cli.main import main
from dataflows.replay import Replay
from sinks.archive_writer import LogWriter
from sinks.rebuild_state import RebuildState

_WHERE, _STEP, _NTH = (os.environ.get("FAULT_KILL") or "::0").split(":")


class _Death:
    def __init__(self) -> None:
        self._left = int(_NTH)

    def before(self, step: int | str) -> None:
        if str(step) == _STEP:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


_DEATH = _Death()


class HurtLogWriter(LogWriter):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **{**named, "before_step": _DEATH.before})


class HurtReplay(Replay):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **{**named, "before_step": _DEATH.before})


class HurtState(RebuildState):
    def start(self) -> None:
        _DEATH.before("mark")
        super().start()

    def finish(self) -> None:
        _DEATH.before("mark")
        super().finish()


if __name__ == "__main__":
    if _WHERE == "archive":
        setattr(dataflows.archiver, "LogWriter", HurtLogWriter)  # noqa: B010
    if _WHERE == "rebuild":
        setattr(dataflows.rebuild, "Replay", HurtReplay)  # noqa: B010
        setattr(dataflows.rebuild, "RebuildState", HurtState)  # noqa: B010
    main()
