"""How a command ends that cannot go on: one sentence, and an exit code that says what it was."""

import errno
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import NoReturn

import typer
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException
from redis import RedisError
from rich.console import Console

from loadtest.load.watching import LoadFailed
from loadtest.meterline import CommandFailed
from loadtest.produce import NotDelivered

#: Exit codes: a server does not answer; a number is not right, or the run could not be finished.
UNREACHABLE, FAILED = 75, 1
#: What the system says of connections; all else that it says is of files.
_OF_CONNECTIONS = (ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError)
_OF_ROUTES = (errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH)


def made_folder(path: Path) -> Path:
    """The folder of `--out`, absolute: it exists and takes files, or `BadParameter` is raised."""
    folder = path.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder, buffering=0) as probe:
            probe.write(b"?")
    except OSError as error:
        msg = f"expected a folder that can be written, got {folder}: {error.strerror}"
        raise typer.BadParameter(msg, param_hint="--out") from None
    return folder


@contextmanager
def reporting(console: Console, name: str = "LOAD", *, folder: Path) -> Iterator[None]:
    """Errors as one sentence and an exit code; the sentence begins with `name` FAILED.

    `folder` is named where the system says what is wrong with a file, and not with which.
    """
    try:
        yield
    except (LoadFailed, CommandFailed, NotDelivered) as error:
        _fail(console, f"{name} FAILED: {error}", code=FAILED)
    except KafkaException as error:
        _fail(console, f"{name} FAILED: Kafka: {error.args[0].str()}", code=UNREACHABLE)
    except ClickHouseError as error:
        _fail(console, f"{name} FAILED: ClickHouse: {error}", code=UNREACHABLE)
    except RedisError as error:
        _fail(console, f"{name} FAILED: Redis: {error}", code=UNREACHABLE)
    except OSError as error:
        if isinstance(error, _OF_CONNECTIONS) or error.errno in _OF_ROUTES:
            _fail(console, f"{name} FAILED: a server: {error}", code=UNREACHABLE)
        _fail(console, f"{name} FAILED: {_said_of_file(error, folder)}", code=FAILED)


def _said_of_file(error: OSError, folder: Path) -> str:
    """A write says no name where opening the file does."""
    said = error.strerror or str(error)
    if error.filename is None:
        return f"{said} (files of this run are in {folder})"
    return f"{error.filename}: {said}"


def _fail(console: Console, reason: str, *, code: int) -> NoReturn:
    console.print(reason, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code) from None
