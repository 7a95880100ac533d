"""Who may import whom: data flows one way, and the judge shares nothing with what it judges."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

#: What a package may import of ours beside itself; None: anything. One that is not listed may not
#: exist, so that a new one gets its line here first.
MAY_IMPORT: dict[str, frozenset[str] | None] = {
    "metering": frozenset(),
    "rating_engine": frozenset({"metering"}),
    "sinks": frozenset({"metering"}),
    "alerts": frozenset({"metering", "sinks"}),
    "dataflows": frozenset({"metering", "rating_engine", "sinks", "alerts"}),
    "billing": frozenset({"metering", "rating_engine", "sinks"}),
    "reconcile": frozenset({"metering", "rating_engine"}),
    "console": frozenset({"metering", "rating_engine", "billing"}),
    "cli": None,
    "loadtest": frozenset(),
    "deploy": frozenset(),
}


def packages(repository: Path) -> list[str]:
    """Our packages: the folders with an `__init__.py`, tests aside."""
    found = (path.parent.name for path in repository.glob("*/__init__.py"))
    return sorted(name for name in found if name != "tests")


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and first part of every module that is imported, wherever in the file it is.

    A relative import cannot leave its package, so it names none.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, (node.module or "").split(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("import_module", "__import__")
        ):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant):
                    yield node.lineno, str(argument.value).split(".")[0]


def violations(repository: Path) -> list[str]:
    """Every import that the table does not allow, as `file:line: what`."""
    ours = set(packages(repository)) | set(MAY_IMPORT)
    found = []
    for package in packages(repository):
        if package not in MAY_IMPORT:
            found.append(f"{package}/: expected a line in MAY_IMPORT, got none")
            continue
        allowed = MAY_IMPORT[package]
        if allowed is None:
            continue
        for path in sorted((repository / package).rglob("*.py")):
            place = path.relative_to(repository)
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found += [
                f"{place}:{line}: {package} may import {', '.join(sorted(allowed)) or 'nothing'} "
                f"of ours, got {name}"
                for line, name in imported(tree)
                if name in ours - allowed - {package}
            ]
    return found


def test_every_import_is_one_that_the_table_allows() -> None:
    assert packages(REPOSITORY), "the guard looks at nothing"
    assert violations(REPOSITORY) == []


@pytest.mark.parametrize(
    ("package", "text"),
    [
        ("metering", "import sinks.rows"),
        ("metering", "from dataflows.ledger import Ledger"),
        ("sinks", "def late() -> None:\n    from dataflows import ledger"),
        ("dataflows", "if True:\n    import cli.main as main"),
        ("loadtest", "from metering.rejection import RejectionCode"),
        ("deploy", "import importlib\nimportlib.import_module('metering.settings')"),
        ("sinks", "__import__('dataflows')"),
        ("utilities", ""),
    ],
)
def test_a_planted_import_is_found(tmp_path: Path, package: str, text: str) -> None:
    folder = tmp_path / package / "deep"
    folder.mkdir(parents=True)
    (tmp_path / package / "__init__.py").touch()
    (folder / "planted.py").write_text(text, encoding="utf-8")
    assert len(violations(tmp_path)) == 1


@pytest.mark.parametrize(
    ("package", "text"),
    [
        ("sinks", "import metering.batch\nfrom sinks.rows import event_rows\nimport pyarrow"),
        ("sinks", "from . import rows\nfrom .metering import nothing"),
        ("cli", "import dataflows.runner, deploy.localstack.cli"),
    ],
)
def test_an_allowed_import_is_not_found(tmp_path: Path, package: str, text: str) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    (tmp_path / package / "sound.py").write_text(text, encoding="utf-8")
    assert violations(tmp_path) == []
