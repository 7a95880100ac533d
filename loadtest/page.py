"""What a command printed, kept in a page of the docs between two marks."""

from __future__ import annotations

from pathlib import Path


def marks(name: str) -> tuple[str, str]:
    """The lines before and after what `name` printed."""
    return f"<!-- printed by {name} -->", f"<!-- end of {name} -->"


def printed(page: str, name: str) -> str:
    """What stands between the marks of `name`, without empty lines around it.

    Raises `ValueError` unless both marks stand in the page once.
    """
    first, last = marks(name)
    if page.count(first) != 1 or page.count(last) != 1:
        msg = f"expected the lines {first} and {last} once each in the page"
        raise ValueError(msg)
    return page.partition(first)[2].partition(last)[0].strip()


def put(path: Path, name: str, *, text: str) -> None:
    """Replace what stands between the marks of `name`; the rest of the page is kept."""
    page = path.read_text(encoding="utf-8")
    printed(page, name)
    first, last = marks(name)
    before, after = page.partition(first)[0], page.partition(last)[2]
    path.write_text(f"{before}{first}\n\n{text.strip()}\n\n{last}{after}", encoding="utf-8")
