"""Commands in the tests' own process: the same as a user runs, without a start of Python each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from counting import environment
from typer.testing import CliRunner

from cli.main import app
from metering.errors import MeterlineError
from metering.settings import Settings


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def meterline(settings: Settings, *arguments: str) -> Done:
    """Run a command to its end; errors of ours are an exit code, as in `cli.main`."""
    with patch.dict("os.environ", environment(settings)):
        found = CliRunner().invoke(app, list(arguments))
    if isinstance(found.exception, MeterlineError):
        return Done(found.exception.exit_code, found.stdout, str(found.exception))
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return Done(found.exit_code, found.stdout, found.stderr)


def answer(settings: Settings, *arguments: str) -> Any:
    """What the command says with `--json`."""
    done = meterline(settings, *arguments, "--json")
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def count_file(settings: Settings, path: Path, events: list[dict[str, Any]]) -> None:
    """Count events as a backfill does: the steps of the stream, without its workers."""
    path.write_text("".join(json.dumps(each) + "\n" for each in events), encoding="utf-8")
    assert answer(settings, "backfill", str(path))[0]["accepted"] == len(events)
