"""Where the stack keeps what is made or fetched once: Kafka's jars, the module for Redis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[2]


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return where what is made once is kept: METERLINE_CACHE, else a folder of the repository."""
    cache = environment.get("METERLINE_CACHE", "").strip()
    base = Path(cache) if cache else _REPOSITORY / ".meterline" / "cache"
    return base.absolute()
