"""What a request asks for, apart from its body."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from urllib.parse import parse_qsl, urlsplit

from deploy.localstack.clickhouse.faults import (
    AUTHENTICATION_FAILED,
    NOT_IMPLEMENTED,
    UNKNOWN_SETTING,
    fault,
)

# `finance` reads only, as in production. Neither has a password: the stack is on loopback.
READ_ONLY_USERS = frozenset({"finance"})
USERS = READ_ONLY_USERS | {"default"}

_DEFAULT_FORMAT = "TabSeparated"
_ABOUT_THE_REQUEST = frozenset(
    {
        "query",
        "database",
        "user",
        "password",
        "role",
        "quota_key",
        "query_id",
        "default_format",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "stacktrace",
        "buffer_size",
        "wait_end_of_query",
        "client_protocol_version",
        "compress",
        "decompress",
    }
)
_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_TRUE = frozenset({"1", "true"})


@dataclass(frozen=True)
class Request:
    """One request of the query interface.

    `settings` and `parameters` (the values of {name:Type}) are as sent, not yet checked by
    the engine.
    """

    query: str
    query_id: str
    user: str
    database: str
    default_format: str
    is_get: bool
    waits_for_end: bool
    accepts: str
    settings: Mapping[str, str]
    parameters: Mapping[str, str]


def read_request(
    *, method: str, target: str, headers: Message, fields: Mapping[str, str]
) -> Request:
    """Read the URL and the headers; `fields` are form fields, used like URL parameters.

    Raises ClickHouseError for an unknown user or a parameter that we do not serve.
    """
    url = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
    asked = {**url, **fields}
    for name in ("compress", "decompress"):
        if asked.get(name, "0").lower() in _TRUE:
            raise fault(NOT_IMPLEMENTED, f"{name}=1 is not supported: use Content-Encoding")
    compresses = asked.get("enable_http_compression", "0").lower() in _TRUE
    return Request(
        query=asked.get("query", ""),
        query_id=asked.get("query_id") or str(uuid.uuid4()),
        user=_authenticate(asked, headers),
        database=asked.get("database") or headers.get("X-ClickHouse-Database") or "",
        default_format=asked.get("default_format")
        or headers.get("X-ClickHouse-Format")
        or _DEFAULT_FORMAT,
        is_get=method == "GET",
        waits_for_end=asked.get("wait_end_of_query", "0").lower() in _TRUE,
        accepts=headers.get("Accept-Encoding", "") if compresses else "",
        settings=_settings(asked),
        parameters={
            name.removeprefix("param_"): value
            for name, value in asked.items()
            if name.startswith("param_")
        },
    )


def _settings(asked: Mapping[str, str]) -> dict[str, str]:
    settings = {}
    for name, value in asked.items():
        if name in _ABOUT_THE_REQUEST or name.startswith("param_"):
            continue
        if not _SETTING_NAME.fullmatch(name):
            raise fault(UNKNOWN_SETTING, f"Unknown setting '{name}'")
        settings[name] = value
    return settings


def _authenticate(asked: Mapping[str, str], headers: Message) -> str:
    user = asked.get("user") or headers.get("X-ClickHouse-User") or _basic_user(headers)
    if user not in USERS:
        sentence = (
            f"{user}: Authentication failed: password is incorrect, or there is no user with "
            "such name."
        )
        raise fault(AUTHENTICATION_FAILED, sentence)
    return user


def _basic_user(headers: Message) -> str:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "default"
    try:
        decoded = base64.b64decode(token.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise fault(AUTHENTICATION_FAILED, "Invalid HTTP Basic authentication") from None
    return decoded.partition(":")[0] or "default"
