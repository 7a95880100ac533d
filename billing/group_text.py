"""Groups as they are stored: JSON of every dimension in `group_by`, "" where an event has none."""

import orjson

from rating_engine.period_rater import GroupKey


def group_key(text: str) -> GroupKey:
    """The pairs of a stored group, sorted; dimensions without a value are not in it."""
    pairs: dict[str, str] = orjson.loads(text)
    return tuple(sorted((name, value) for name, value in pairs.items() if value))
