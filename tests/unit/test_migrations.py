"""DDL files are written for servers of several versions."""

from metering.settings import load_settings
from sinks.migrate import for_server, migrations

_STATEMENT = "SETTINGS fsync = 1\n  {known:old = 10}\n  {known:new = ''}"


def test_a_setting_that_the_server_does_not_know_is_left_out() -> None:
    assert for_server(_STATEMENT, {"old", "fsync"}).split() == [
        *["SETTINGS", "fsync", "=", "1"], *[",", "old", "=", "10"]
    ]  # fmt: skip


def test_every_setting_that_it_knows_is_kept() -> None:
    assert for_server(_STATEMENT, {"old", "new"}).count(",") == 2


def test_of_a_cluster_every_server_changes_a_table() -> None:
    settings = load_settings(cluster="main")
    for migration in migrations(settings):
        for statement in migration.statements:
            changes = statement.startswith(("CREATE", "ALTER", "DROP"))
            assert ("ON CLUSTER 'main'" in statement) == changes, statement


def test_where_the_setting_of_merges_is_not_known_nothing_changes() -> None:
    (last,) = [m for m in migrations(load_settings()) if m.name == "0010_raw_merges.sql"]
    (statement,) = last.statements
    assert for_server(statement, set()).split()[-3:] == ["fsync_after_insert", "=", "1"]
    assert for_server(statement, {"merge_selector_base"}).endswith("merge_selector_base = 50")
