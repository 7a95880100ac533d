"""The one place that compiles functions to machine code.

For loops over the bytes of a batch that no vectorised library does. A compiled function takes and
gives arrays and numbers only, and holds no lock while it runs. The result is kept on disk, in a
folder named after the content of all sources that may be compiled: the compiler by itself looks at
a function's own file only, though numbers and functions of other files become part of it.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import xxhash

F = TypeVar("F", bound=Callable[..., object])

_ROOT = Path(__file__).resolve().parent.parent
_CONFIG: Any = numba.config
#: Packages with compiled functions.
_PACKAGES = ("metering", "dataflows")
#: Tried in this order: where the user said, beside the source, the user's own cache.
_PLACES = (
    _CONFIG.CACHE_DIR,
    str(_ROOT / "metering" / "__pycache__"),
    str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()),
)


def compiled(function: F) -> F:
    """`function`, compiled when it is first called."""
    is_kept = bool(_CONFIG.CACHE_DIR)
    return cast("F", numba.njit(cache=is_kept, nogil=True, boundscheck=False)(function))


def inlined(function: F) -> F:
    """`function` as a part of whatever compiled function calls it: arrays are not handed on."""
    return cast("F", numba.njit(inline="always", boundscheck=False)(function))


def forget_older() -> None:
    """Delete what was compiled from other sources than these."""
    kept = Path(_CONFIG.CACHE_DIR)
    for folder in kept.parent.iterdir() if _CONFIG.CACHE_DIR else ():
        if folder != kept and folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)


def _source_digest() -> str:
    digest = xxhash.xxh3_128()
    for package in _PACKAGES:
        for path in sorted((_ROOT / package).glob("**/*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _folder() -> str:
    """A writable folder for what is compiled; empty if there is none: each start compiles anew."""
    for place in filter(None, _PLACES):
        folder = Path(place) / "meterline-compiled" / _source_digest()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return str(folder)
    return ""


_CONFIG.CACHE_DIR = _folder()
