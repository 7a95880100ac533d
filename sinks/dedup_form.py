"""The two ways in which Redis keeps claims, and the commands for each.

Any Redis keeps them in many small hashes, which scripts and transactions look into. A Redis with
Meterline's module (`sinks/dedup_module`) keeps them in tables of its own, for a fraction of the
time and three quarters of the memory. Arguments and answers are the same, byte by byte.
"""

from collections.abc import Sequence
from enum import StrEnum
from importlib.resources import files
from typing import Any, NamedTuple

from sinks.dedup_connection import redis_errors
from sinks.dedup_servers import infos

_MODULE = "meterline"


class ClaimForm(StrEnum):
    """How a memory keeps claims; the value is the memory's format, which its shards carry."""

    HASHES = "3"
    TABLES = "4"


class ClaimCommands(NamedTuple):
    """What looks into claims: each is called with `keys`, `args` and the client of one server."""

    claim: Any
    owned: Any
    reassign: Any
    restore: Any

    @property
    def scripts(self) -> list[Any]:
        """Those that a server has to be given first."""
        return [each for each in self if not isinstance(each, _ModuleCommand)]


def form_of(client: Any) -> ClaimForm:
    """Tables where every server has the module. Raises `DependencyDown`."""
    with redis_errors("asking which modules it has"):
        found = infos(client, "modules")
    have = (any(each.get("name") == _MODULE for each in info.get("modules", [])) for info in found)
    return ClaimForm.TABLES if all(have) else ClaimForm.HASHES


def claim_commands(client: Any, form: ClaimForm) -> ClaimCommands:
    """The commands for a memory of this form."""
    names = ClaimCommands._fields
    if form is ClaimForm.TABLES:
        return ClaimCommands(*(_ModuleCommand(name) for name in names))
    return ClaimCommands(
        *(client.register_script(script_text(f"dedup_{name}.lua")) for name in names)
    )


def script_text(name: str) -> str:
    """Source of one of the Lua scripts beside this module."""
    return files("sinks").joinpath(name).read_text(encoding="utf-8")


class _ModuleCommand:
    """A command of the module, called as a registered script is."""

    def __init__(self, name: str) -> None:
        self._name = f"{_MODULE}.{name}".upper()

    def __call__(
        self, *, keys: Sequence[str], args: Sequence[str | int | bytes], client: Any
    ) -> Any:
        return client.execute_command(self._name, *keys, *args)
