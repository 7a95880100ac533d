"""Meterline's module for Redis, compiled once for each state of its source, then kept."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from deploy.localstack.cache import cache_folder
from deploy.localstack.errors import ServiceFailedError
from deploy.localstack.state import hold

_SOURCES = Path(__file__).resolve().parents[2] / "sinks" / "dedup_module"
#: `no` starts Redis without the module, as a Redis that is not ours has it.
VARIABLE = "METERLINE_REDIS_MODULE"
_FLAGS = [
    "-std=c11",
    "-O3",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-shared",
    "-fPIC",
    "-fvisibility=hidden",
]
_PATIENCE = timedelta(minutes=2)


def compiled_module(environment: Mapping[str, str]) -> Path | None:
    """Return the module's file; None where it is not wanted, or there is no C compiler.

    Raises ServiceFailedError with what the compiler said if it does not compile.
    """
    compiler = shutil.which("cc")
    if environment.get(VARIABLE, "").strip().lower() == "no" or compiler is None:
        return None
    sources = sorted(_SOURCES.glob("*.[ch]"))
    digest = hashlib.sha256(" ".join([*_FLAGS, platform.machine()]).encode())
    for source in sources:
        digest.update(source.read_bytes())
    cache = cache_folder(environment)
    compiled = cache / f"redis-module-{digest.hexdigest()[:16]}.so"
    if compiled.exists():
        return compiled
    cache.mkdir(parents=True, exist_ok=True)
    with hold(compiled.with_suffix(".lock"), patience=_PATIENCE):
        if not compiled.exists():
            _compile(compiler, [each for each in sources if each.suffix == ".c"], compiled=compiled)
    return compiled


def _compile(compiler: str, sources: list[Path], *, compiled: Path) -> None:
    """Put it in its place only when it is whole."""
    partial = compiled.with_suffix(".partial")
    done = subprocess.run(
        [compiler, *_FLAGS, "-o", str(partial), *map(str, sources)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE.total_seconds(),
        check=False,
        env=os.environ,
    )
    if done.returncode:
        message = (
            f"Meterline's module for Redis does not compile:\n{done.stderr}\n"
            f"{VARIABLE}=no starts Redis without it"
        )
        raise ServiceFailedError(message)
    partial.replace(compiled)
