"""A plan's price version as it is stored: what was loaded, and under which name."""

from typing import NamedTuple


class StoredVersion(NamedTuple):
    """One version of a plan. `content` is canonical JSON and `content_hash` its SHA-256.

    `effective_us` (inclusive) is in Unix microseconds UTC. `withdrawn`: it was taken out of the
    catalog before it took effect.
    """

    plan: str
    version: int
    effective_us: int
    content: str
    content_hash: str
    withdrawn: bool = False
