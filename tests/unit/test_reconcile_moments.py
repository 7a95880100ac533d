"""How moments of other systems are read."""

from __future__ import annotations

import pytest

from reconcile.typed import moment

JUNE = 1_780_272_000


@pytest.mark.parametrize(
    ("text", "dates", "unix"),
    [
        ("2026-06-01", "auto", JUNE), ("2026-06", "auto", JUNE), ("20260601", "auto", JUNE),
        ("2026-06-01T02:00:00+02:00", "auto", JUNE), ("1780272000", "auto", JUNE),
        ("999999999", "auto", 999_999_999), ("01.06.2026", "%d.%m.%Y", JUNE),
        ("1780272000123", "unix_ms", JUNE), ("20269901", "auto", None), ("June", "auto", None),
        ("202606", "auto", None), ("1.5", "unix_s", None),
    ],
)  # fmt: skip
def test_a_moment_is_what_it_says(text: str, dates: str, unix: int | None) -> None:
    assert moment(text, dates) == unix
