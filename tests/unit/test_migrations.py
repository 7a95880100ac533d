"""DDL files are written for servers of several versions."""

from sinks.migrate import for_server

_STATEMENT = "SETTINGS fsync = 1\n  {known:old = 10}\n  {known:new = ''}"


def test_a_setting_that_the_server_does_not_know_is_left_out() -> None:
    assert for_server(_STATEMENT, {"old", "fsync"}).split() == [
        *["SETTINGS", "fsync", "=", "1"], *[",", "old", "=", "10"]
    ]  # fmt: skip


def test_every_setting_that_it_knows_is_kept() -> None:
    assert for_server(_STATEMENT, {"old", "new"}).count(",") == 2
