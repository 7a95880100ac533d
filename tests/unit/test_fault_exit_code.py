"""A bug says nothing about the books: its exit code is not that of findings."""

from __future__ import annotations

import pytest

from cli import main as program


def test_a_bug_is_no_finding(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        message = "findings have to add up"
        raise AssertionError(message)

    monkeypatch.setattr(program, "app", broken)
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 70
    assert "findings have to add up" in caplog.text
