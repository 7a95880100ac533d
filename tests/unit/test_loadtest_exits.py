"""How commands of the load test end that cannot go on: one sentence, and the right exit code."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaError, KafkaException
from redis import RedisError
from rich.console import Console

from loadtest.exits import made_folder, reporting
from loadtest.machine import describe_machine
from loadtest.meterline import CommandFailed
from loadtest.redis_server import address_of, expect_redis

_REPOSITORY = Path(__file__).resolve().parents[2]
#: Nobody listens on the first port.
_NOBODY = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "REDIS_URL": "redis://:hidden@127.0.0.1:1/0",
    "CLICKHOUSE_URL": "http://127.0.0.1:1",
}


def _full() -> OSError:
    """What a write says on a full disk: it names no file."""
    try:
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"?")
    except OSError as error:
        return error
    raise AssertionError("expected a device that is always full")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CommandFailed("it ended with 3"), 1, "it ended with 3"),
        (_full(), 1, "No space left on device (files of this run are in /out)"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/out/a"), 1, "/out/a: No such file"),
        (OSError(errno.EMFILE, "Too many open files"), 1, "Too many open files (files of this"),
        (RedisError("here:1: refused"), 75, "Redis: here:1: refused"),
        (ClickHouseError("refused"), 75, "ClickHouse: refused"),
        (KafkaException(KafkaError(KafkaError._TRANSPORT)), 75, "Kafka: "),
        (ConnectionResetError(errno.ECONNRESET, "reset"), 75, "a server: "),
        (TimeoutError("timed out"), 75, "a server: timed out"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), 75, "a server: "),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_error_is_a_sentence_and_an_exit_code(error: Exception, code: int, said: str) -> None:
    printed = io.StringIO()
    with (
        pytest.raises(typer.Exit) as ended,
        reporting(Console(file=printed), "OUTAGE", folder=Path("/out")),
    ):
        raise error
    assert ended.value.exit_code == code
    assert printed.getvalue().startswith(f"OUTAGE FAILED: {said}")


def test_a_bug_is_raised_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError), reporting(Console(), folder=Path("/out")):
        raise ZeroDivisionError


def test_a_folder_is_made_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    found = made_folder(tmp_path / "a" / ".." / "b" / "c")
    assert found == tmp_path / "b" / "c"
    assert list(found.iterdir()) == []
    assert made_folder(found) == found


@pytest.mark.parametrize("out", ["file", "file/below", "/proc"])
def test_a_folder_that_takes_no_file_is_a_wrong_argument(tmp_path: Path, out: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(typer.BadParameter, match="expected a folder that can be written, got /"):
        made_folder(tmp_path / out)


@pytest.mark.parametrize("command", ["run", "faults", "scale", "outage"])
def test_a_command_says_so_before_it_starts_anything(tmp_path: Path, command: str) -> None:
    (tmp_path / "file").touch()
    found = subprocess.run(
        [sys.executable, "-m", "loadtest", command, "--out", str(tmp_path / "file" / "out")],
        cwd=tmp_path,
        env={**os.environ, **_NOBODY, "PYTHONPATH": str(_REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = " ".join(found.stderr.replace("│", " ").split())
    assert (found.returncode, found.stdout) == (2, ""), found.stdout + found.stderr
    assert "--out: expected a folder that can be written" in said
    assert "Not a directory" in said
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_servers_that_do_not_answer_cost_no_report(tmp_path: Path) -> None:
    told = describe_machine(_NOBODY, tmp_path)
    assert (told["Redis"], told["ClickHouse"]) == ("not known", "not known")
    assert told["cores"]


def test_a_redis_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(RedisError, match=r"^127\.0\.0\.1:1: .*refused") as raised:
        expect_redis(_NOBODY["REDIS_URL"])
    assert "hidden" not in str(raised.value)


def test_what_is_no_address_of_a_redis_is_a_wrong_argument() -> None:
    with pytest.raises(typer.BadParameter, match="redis://") as raised:
        expect_redis("http://:hidden@127.0.0.1:1")
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:hidden@cache:7000/2", "cache:7000"),
        ("rediss://cache", "cache:6379"),
        ("redis://", "localhost:6379"),
        ("unix://user:hidden@/run/redis.sock?db=1", "/run/redis.sock"),
    ],
)
def test_an_address_is_shown_without_what_is_secret(url: str, shown: str) -> None:
    assert address_of(url) == shown
