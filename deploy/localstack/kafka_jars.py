"""The jars of a Kafka broker: fetched once by Maven, then kept."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from deploy.localstack.cache import cache_folder
from deploy.localstack.errors import DownloadError, ProgramMissingError
from deploy.localstack.state import hold

_POM = Path(__file__).with_name("kafka") / "pom.xml"
_MARKER = ".complete"
_DOWNLOAD_PATIENCE = timedelta(minutes=15)


def find_java() -> str:
    """Find `java` on PATH or in JAVA_HOME. Raises ProgramMissingError, naming what to install."""
    return _find_program(
        "java",
        "Kafka runs on Java 17 or newer: install it (Debian and Ubuntu: `apt install "
        "openjdk-17-jre-headless`; macOS: `brew install openjdk@17`)",
    )


def find_maven() -> str:
    """Find `mvn` on PATH. Raises ProgramMissingError, naming what to install."""
    return _find_program(
        "mvn",
        "Kafka's jars are fetched once by Maven: install it (Debian and Ubuntu: `apt install "
        "maven`; macOS: `brew install maven`)",
    )


def jar_folder(environment: Mapping[str, str]) -> Path:
    """Return where the jars are."""
    return cache_folder(environment) / f"kafka-{_pom_version()}"


def fetch_jars(environment: Mapping[str, str]) -> Path:
    """Return the folder with all jars, fetching them unless that was completed before.

    Steps: 1 Maven copies the jars; 2 the marker is written. A crash after 1 makes the next
    call run Maven again, which then finds most of them in its own cache.
    Raises ProgramMissingError or DownloadError.
    """
    folder = jar_folder(environment)
    if (folder / _MARKER).exists():
        return folder
    with hold(folder.with_suffix(".lock"), patience=_DOWNLOAD_PATIENCE):
        if not (folder / _MARKER).exists():
            shutil.rmtree(folder, ignore_errors=True)
            _run_maven(folder)
            (folder / _MARKER).write_text("")
    return folder


def _run_maven(folder: Path) -> None:
    command = [
        find_maven(),
        "-q",
        "-B",
        "-f",
        str(_POM),
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={folder}",
    ]
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_DOWNLOAD_PATIENCE.total_seconds(),
        check=False,
    )
    if result.returncode != 0 or not any(folder.glob("kafka_*.jar")):
        said = "\n".join((result.stdout + result.stderr).splitlines()[-20:])
        message = (
            f"Maven could not fetch the jars of Kafka {_pom_version()}: check that this machine "
            "reaches a Maven repository (see ~/.m2/settings.xml), or set "
            f"KAFKA_BOOTSTRAP_SERVERS to a Kafka that already runs. Maven said:\n{said}"
        )
        raise DownloadError(message)


def _pom_version() -> str:
    found = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", _POM.read_text())
    assert found is not None, f"{_POM} names no kafka.version"
    return found.group(1)


def _find_program(program: str, what_to_do: str) -> str:
    home = os.environ.get("JAVA_HOME")
    in_home = Path(home) / "bin" / program if home else None
    found = shutil.which(program)
    if found is None and in_home is not None and in_home.exists():
        found = str(in_home)
    if found is None:
        message = (
            f"{program} is not on PATH. {what_to_do}, or set KAFKA_BOOTSTRAP_SERVERS to a Kafka "
            "that already runs"
        )
        raise ProgramMissingError(message)
    return found
