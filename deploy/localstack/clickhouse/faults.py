"""Errors of the engine, told to HTTP clients as a ClickHouse server tells them."""

from __future__ import annotations

import re
from http import HTTPStatus

_CODE = re.compile(r"Code: (\d+)\. DB::Exception: ")
_VERSION_NOTE = re.compile(r"\s*\(version [0-9.]+[^)]*\)\s*$")

SYNTAX_ERROR = (62, "SYNTAX_ERROR")
NOT_IMPLEMENTED = (48, "NOT_IMPLEMENTED")
UNKNOWN_SETTING = (115, "UNKNOWN_SETTING")
CANNOT_DECOMPRESS = (271, "CANNOT_DECOMPRESS")
QUERY_IS_TOO_LARGE = (223, "QUERY_IS_TOO_LARGE")
AUTHENTICATION_FAILED = (516, "AUTHENTICATION_FAILED")
NOT_ENOUGH_SPACE = (243, "NOT_ENOUGH_SPACE")
UNKNOWN_TO_US = (1001, "STD_EXCEPTION")

_STATUS_BY_CODE: dict[int, HTTPStatus] = {
    # The client sent something that cannot be read.
    **dict.fromkeys(
        (6, 25, 26, 27, 32, 33, 38, 41, 53, 62, 69, 70, 72, 117, 271, 321, 376),
        HTTPStatus.BAD_REQUEST,
    ),
    # The client named something that does not exist.
    **dict.fromkeys((16, 46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 336), HTTPStatus.NOT_FOUND),
    48: HTTPStatus.NOT_IMPLEMENTED,
    192: HTTPStatus.FORBIDDEN,
    193: HTTPStatus.FORBIDDEN,
    194: HTTPStatus.UNAUTHORIZED,
    516: HTTPStatus.FORBIDDEN,
    223: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    439: HTTPStatus.SERVICE_UNAVAILABLE,
}


class ClickHouseError(Exception):
    """One failed request: `code` is ClickHouse's, `text` is the whole body of the answer."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status that a ClickHouse server gives this code."""
        return _STATUS_BY_CODE.get(self.code, HTTPStatus.INTERNAL_SERVER_ERROR)


def fault(kind: tuple[int, str], sentence: str) -> ClickHouseError:
    """Make an error of our own, in ClickHouse's wording."""
    code, name = kind
    return ClickHouseError(code, f"Code: {code}. DB::Exception: {sentence} ({name})")


def from_engine(error: Exception) -> ClickHouseError:
    """Take the error out of an exception of the engine, without the engine's own wrapping."""
    text = _VERSION_NOTE.sub("", str(error))
    found = _CODE.search(text)
    if found is None:
        return fault(UNKNOWN_TO_US, text or type(error).__name__)
    return ClickHouseError(int(found.group(1)), text[found.start() :])
