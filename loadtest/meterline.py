"""The command under test, run as a user would: a subprocess, its output in a log file."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LOG_TAIL_LINES = 30


class CommandFailed(Exception):
    """The pipeline's command ended with another exit code than 0; the text holds its output."""


class CommandTimedOut(CommandFailed):
    """It was ended because it took too long; nobody knows what it would have come to."""


@dataclass(frozen=True)
class Meterline:
    """`meterline` with the environment of one run; logs go to `folder`."""

    folder: Path
    environment: Mapping[str, str]

    def run(self, *arguments: str, timeout_s: float = 180, expected: Sequence[int] = (0,)) -> str:
        """Run to the end; returns what it printed.

        Raises `CommandFailed` unless its exit code is one of `expected`, and `CommandTimedOut`
        when it is not there after `timeout_s`.
        """
        log = self.folder / f"{'-'.join(Path(each).name for each in arguments[:2])}.log"
        shown = " ".join(("meterline", *arguments))
        try:
            found = subprocess.run(
                [*_command(), *arguments],
                env={**os.environ, **self.environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            log.write_bytes(error.stdout or b"")
            raise timed_out(shown, error) from None
        log.write_text(found.stdout)
        if found.returncode not in expected:
            msg = f"`{shown}` ended with {found.returncode}:\n{last_lines(found.stdout)}"
            raise CommandFailed(msg)
        return found.stdout

    def start(self, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
        """Start it in its own session (a Ctrl-C is ours to pass on); output goes to `log`."""
        with log.open("ab") as output:
            return subprocess.Popen(
                [*_command(), *arguments],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def timed_out(shown: str, error: subprocess.TimeoutExpired) -> CommandTimedOut:
    """What to raise of the command `shown`; the text holds what it had said until then."""
    said = (error.stderr or error.stdout or b"").decode(errors="replace")
    msg = f"`{shown}` did not end within {error.timeout:g} s:\n{last_lines(said)}"
    return CommandTimedOut(msg)


def last_lines(text: str) -> str:
    """The end of an output, to show with an error."""
    return "\n".join(text.splitlines()[-_LOG_TAIL_LINES:])


def _command() -> list[str]:
    """The installed script beside this Python, or the module from the checkout."""
    script = Path(sys.executable).parent / "meterline"
    return [str(script)] if script.exists() else [sys.executable, "-m", "cli.main"]
