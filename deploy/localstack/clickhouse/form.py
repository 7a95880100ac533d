"""multipart/form-data: how clients send long queries, parameters and external tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message

from deploy.localstack.clickhouse.faults import SYNTAX_ERROR, fault

_NAME = re.compile(rb'[;\s]name="([^"]*)"', re.IGNORECASE)
_IS_FILE = re.compile(rb"[;\s]filename=", re.IGNORECASE)


@dataclass(frozen=True)
class Form:
    """`fields` are values by name, `files` contents by name."""

    fields: Mapping[str, str]
    files: Mapping[str, bytes]


def is_form(headers: Message) -> bool:
    """Whether the body is a form."""
    return headers.get_content_type() == "multipart/form-data"


def read_form(headers: Message, body: bytes) -> Form:
    """Read a complete form. Raises ClickHouseError when it has no boundary."""
    boundary = headers.get_boundary()
    if not boundary:
        raise fault(SYNTAX_ERROR, "multipart/form-data without a boundary")
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.encode())[1:]:
        head, separator, content = part.partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if not separator or name is None:
            continue
        if _IS_FILE.search(head):
            files[name.group(1).decode()] = content
        else:
            fields[name.group(1).decode()] = content.decode()
    return Form(fields, files)
