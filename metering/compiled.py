"""The one place that compiles functions to machine code.

For loops over the bytes of a batch that no vectorised library does. A compiled function takes and
gives arrays and numbers only, and holds no lock while it runs. The result is kept on disk beside
the source. It is current as far as a function's own file goes: after an upgrade, run
`python -m dataflows.precompile`, which makes all of it anew.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """`function`, compiled when it is first called."""
    return cast("F", numba.njit(cache=True, nogil=True, boundscheck=False)(function))


def inlined(function: F) -> F:
    """`function` as a part of whatever compiled function calls it: arrays are not handed on."""
    return cast("F", numba.njit(inline="always", boundscheck=False)(function))
