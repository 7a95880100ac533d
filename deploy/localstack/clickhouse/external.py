"""External tables: data that a client sends along with a query, under a name of its own."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit

from deploy.localstack.clickhouse.engine import Session
from deploy.localstack.clickhouse.faults import SYNTAX_ERROR, fault
from deploy.localstack.clickhouse.form import Form

_TABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FORMAT_NAME = re.compile(r"[A-Za-z0-9]+")
_DESCRIPTIONS = ("format", "structure", "types")


def without_table_parameters(target: str, form: Form) -> str:
    """`target` without the URL parameters that describe the tables of `form`."""
    if not form.files:
        return target
    described = {f"{name}_{what}" for name in form.files for what in _DESCRIPTIONS}
    kept = [pair for pair in _parameters(target) if pair[0] not in described]
    return f"{urlsplit(target).path}?{urlencode(kept)}"


def load_external_tables(session: Session, target: str, form: Form) -> None:
    """Make every file of the form a temporary table, gone with the session.

    Raises ClickHouseError when a table is not described or does not fit its description.
    """
    described = {**dict(_parameters(target)), **form.fields}
    for name, content in form.files.items():
        format_name = described.get(f"{name}_format", "TabSeparated")
        if not _TABLE_NAME.fullmatch(name) or not _FORMAT_NAME.fullmatch(format_name):
            raise fault(SYNTAX_ERROR, f"external table {name!r} or its format has a bad name")
        session.run(f"CREATE TEMPORARY TABLE {name} ({_columns(name, described)})")
        with session.insert(f"INSERT INTO {name}", format_name) as inserter:
            inserter.append(content)
            inserter.finish()


def _columns(name: str, described: dict[str, str]) -> str:
    structure = described.get(f"{name}_structure")
    if structure:
        return structure
    types = described.get(f"{name}_types")
    if not types:
        raise fault(SYNTAX_ERROR, f"external table {name!r} has neither structure nor types")
    return ", ".join(f"_{i} {kind}" for i, kind in enumerate(types.split(","), start=1))


def _parameters(target: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(target).query, keep_blank_values=True)
