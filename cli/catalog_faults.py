"""A fault of a catalog in its parts, for programs."""

import re

_FAULT = re.compile(
    r"(?P<file>.*?):(?P<line>\d+): (?P<field>.*?): expected (?P<expected>.*), got:? (?P<got>.*)",
    re.DOTALL,
)


def fault_document(fault: str) -> dict[str, str | int | None]:
    """File, line, field, expected and got of `file:line: field: expected ..., got ...`.

    `fault` is the whole sentence; the parts are None where it has none.
    """
    found = _FAULT.fullmatch(fault)
    names = ("file", "line", "field", "expected", "got")
    parts: dict[str, str | int | None] = {name: found[name] if found else None for name in names}
    if found:
        parts["line"] = int(found["line"])
    return {**parts, "fault": fault}
