"""What the pages name exists, and the pages of settings and metrics are complete.

    python tests/unit/test_docs.py --write

writes the pages anew: what the code says is replaced, what only a person can say is kept.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.main import app
from metering.archive_metrics import ArchiveMetrics
from metering.metrics import StewardMetrics, WorkerMetrics
from metering.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS_PAGE = REPOSITORY / "docs" / "settings.md"
METRICS_PAGE = REPOSITORY / "docs" / "metrics.md"
PACKAGES = (
    "metering", "rating_engine", "dataflows", "sinks", "alerts", "billing", "reconcile", "cli",
)  # fmt: skip

#: Declared and read, or set, by nothing yet. May only get fewer; the pages say so of each.
SETTINGS_NOT_READ: set[str] = set()
METRICS_NOT_SET: set[str] = set()
#: Who serves which metrics.
SERVED: dict[str, type[WorkerMetrics | StewardMetrics | ArchiveMetrics]] = {
    "worker": WorkerMetrics, "steward": StewardMetrics, "archive": ArchiveMetrics,
}  # fmt: skip

#: Variables that are read by something else than `Settings`.
OTHER_VARIABLES = {
    "METERLINE_STACK": "deploy/localstack/cli.py",
    "METERLINE_CACHE": "deploy/localstack/cache.py",
    "METERLINE_REDIS_MODULE": "deploy/localstack/redis_module.py",
    "METERLINE_KILL_BEFORE_STEP": "dataflows/worker.py",
    "METERLINE_FREEZE_BEFORE_STEP": "dataflows/worker.py",
}
Page = dict[str, str]


def pages(repository: Path) -> Page:
    """Every page of ours by its path."""
    found = [*repository.glob("*.md"), *repository.glob("docs/**/*.md")]
    return {
        path.relative_to(repository).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(found)
    }


# What pages name.


def broken_links(found: Page, repository: Path) -> list[str]:
    """Relative links, and headings of a page, that lead nowhere."""
    broken = []
    for place, text in found.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", _without_code(text)):
            path, _, heading = target.partition("#")
            if "://" in target or target.startswith("mailto:"):
                continue
            file = (repository / place).parent / path if path else repository / place
            if not file.exists():
                broken.append(f"{place}: link to {target}: expected a file, got none")
            elif heading and heading not in set(_anchors(file.read_text(encoding="utf-8"))):
                broken.append(f"{place}: link to {target}: expected such a heading, got none")
    return broken


def _anchors(text: str) -> Iterator[str]:
    for heading in re.findall(r"^#+ (.+)$", _without_code(text), re.MULTILINE):
        kept = re.sub(r"[^\w\- ]", "", heading.lower())
        yield kept.replace(" ", "-")


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def _code(text: str) -> list[str]:
    """Code of a page: spans, and lines of blocks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", _without_code(text))
    return [*spans, *(line for block in blocks for line in block.splitlines())]


def unknown_commands(found: Page) -> list[str]:
    """Commands and options that are named, and that `meterline` does not have."""
    root = typer.main.get_command(app)
    unknown = []
    for place, text in found.items():
        for code in _code(text):
            for said in re.findall(r"\bmeterline ((?:[a-z-]+|--[a-z-]+).*)", code):
                fault = _fault_of(root, said.split("#")[0])
                if fault:
                    unknown.append(f"{place}: meterline {said}: {fault}")
    return unknown


def _fault_of(command: Any, said: str) -> str:
    words = re.split(r"\s+", re.split(r"[|;&>]", said)[0].strip())
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        name = words.pop(0)
        context = typer.Context(command)
        found = command.get_command(context, name)
        if found is None:
            return f"expected one of {', '.join(command.list_commands(context))}, got {name}"
        command = found
    known = {"--help", *(name for each in command.params for name in each.opts)}
    wrong = [word for word in words if word.startswith("--") and word.split("=")[0] not in known]
    return f"expected one of {', '.join(sorted(known))}, got {', '.join(wrong)}" if wrong else ""


def unknown_targets(found: Page, makefile: str) -> list[str]:
    """Targets of make that are named and not there."""
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    return [
        f"{place}: make {target}: expected one of {', '.join(sorted(targets))}"
        for place, text in found.items()
        for code in _code(text)
        for target in re.findall(r"^make ([a-z]+)", code)
        if target not in targets
    ]


def unknown_paths(found: Page, repository: Path) -> list[str]:
    """Files and folders that are named (`a/b.py`, `docs/`) and not there."""
    folders = {path.name for path in repository.iterdir() if path.is_dir()}
    unknown = []
    for place, text in found.items():
        for code in _code(text):
            for named in re.findall(r"(?<![\w./:-])([a-z_]+/[\w./*-]*)", code):
                path = named.rstrip(".")
                if path.split("/")[0] in folders and not list(repository.glob(path.rstrip("/"))):
                    unknown.append(f"{place}: {path}: expected a file or folder, got none")
    return unknown


def unknown_variables(found: Page) -> list[str]:
    """Variables `METERLINE_...` that are named and that nothing reads."""
    known = {variable(name) for name in Settings.model_fields} | set(OTHER_VARIABLES)
    return [
        f"{place}: {name}: expected a setting"
        for place, text in found.items()
        for name in re.findall(r"\bMETERLINE_[A-Z_]*[A-Z]\b", text)
        if name not in known and name.removesuffix("_FILE") not in known
    ]


def unknown_metrics(found: Page) -> list[str]:
    """Metrics that are named and not declared."""
    known = {name for name, *_ in declared_metrics()}
    return [
        f"{place}: {name}: expected a metric"
        for place, text in found.items()
        for code in _code(text)
        for name in re.findall(r"\bmeterline_[a-z_]+\b", code)
        if name not in known and not name.endswith(("_bucket", "_sum", "_count"))
    ]


def unknown_tests(found: Page, repository: Path) -> list[str]:
    """Tests that are named and not there."""
    texts = [path.read_text(encoding="utf-8") for path in (repository / "tests").rglob("*.py")]
    known = set(re.findall(r"def (test_\w+)", "\n".join(texts)))
    return [
        f"{place}: {code}: expected a test"
        for place, text in found.items()
        for code in _code(text)
        if re.fullmatch(r"test_\w+", code) and code not in known
    ]


# The pages that are written from the code.


def variable(field: str) -> str:
    """Name of the environment variable of a setting."""
    alias: Any = Settings.model_fields[field].validation_alias
    return str(alias.choices[0]) if alias is not None else f"METERLINE_{field.upper()}"


def declared_settings() -> list[list[str]]:
    """Variable, default and bounds of every setting, in order."""
    schema = Settings.model_json_schema(by_alias=False, mode="validation")["properties"]
    rows = []
    for field in Settings.model_fields:
        default = Settings.model_fields[field].get_default(call_default_factory=True)
        shown = schema[field].get("default", default)
        if hasattr(default, "get_secret_value"):
            shown = default.get_secret_value()
        rows.append(
            [f"`{variable(field)}`", f"`{shown}`" if shown else "empty", _bounds(schema[field])]
        )
    return rows


def _bounds(found: dict[str, Any]) -> str:
    if found.get("format") == "duration":
        return "above 0"
    if "minimum" in found:
        upper = f" to {found['maximum']}" if "maximum" in found else " or more"
        return f"{found['minimum']}{upper}"
    if "pattern" in found:
        return f"`{found['pattern'].replace('|', chr(92) + '|')}`"
    return "not empty" if found.get("minLength") else {"object": "JSON object"}.get(
        found.get("type", ""), "any")  # fmt: skip


def declared_metrics() -> list[list[str]]:
    """Name, kind, unit, labels, meaning and server of every metric, in order."""
    return [
        [each.name, each.kind, each.unit, ", ".join(f"`{label}`" for label in each.labels),
         each.meaning, process]
        for process, served in SERVED.items()
        for each in served().declared
    ]  # fmt: skip


def rows_of(page: str) -> list[list[str]]:
    """Cells of the rows of a page's tables whose first cell is code."""
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def settings_page(page: str) -> str:
    """`page` with the table as the code has it; the last cell of each row is kept."""
    meanings = {row[0]: row[-1] for row in rows_of(page)}
    table = [[*row, meanings.get(row[0], "")] for row in declared_settings()]
    return _with_table(page, ["variable", "default", "takes", "meaning"], table)


def metrics_page(page: str) -> str:
    """`page` with the table as the code has it."""
    table = [[f"`{name}`", *cells] for name, *cells in declared_metrics()]
    return _with_table(page, ["metric", "kind", "unit", "labels", "meaning", "of"], table)


def _with_table(page: str, head: list[str], table: list[list[str]]) -> str:
    lines = [_line(head), _line(["---"] * len(head)), *map(_line, table)]
    before = page.split("\n| ", maxsplit=1)[0].rstrip("\n")
    after = page.rsplit("|\n", 1)[-1] if "\n| " in page else ""
    return "\n".join([before, "", *lines, after])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def used(names: set[str], pattern: str) -> set[str]:
    """Those of `names` that the packages use as `pattern` (with `{name}`) says."""
    found = [path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in found)
    return {name for name in names if re.search(pattern.format(name=name), text)}


# The tests.


@pytest.fixture(scope="module")
def found() -> Page:
    """The pages as they are."""
    read = pages(REPOSITORY)
    assert {"README.md", "docs/architecture.md", "docs/events.md"} <= read.keys()
    return read


def test_every_link_leads_somewhere(found: Page) -> None:
    assert broken_links(found, REPOSITORY) == []


def test_every_command_that_is_named_exists(found: Page) -> None:
    assert unknown_commands(found) == []


def test_every_target_of_make_that_is_named_exists(found: Page) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert unknown_targets(found, makefile) == []


def test_every_path_that_is_named_exists(found: Page) -> None:
    assert unknown_paths(found, REPOSITORY) == []


def test_every_variable_that_is_named_is_read(found: Page) -> None:
    assert unknown_variables(found) == []
    for name, place in OTHER_VARIABLES.items():
        assert name in (REPOSITORY / place).read_text(encoding="utf-8")


def test_every_test_that_is_named_exists(found: Page) -> None:
    assert unknown_tests(found, REPOSITORY) == []


def test_every_metric_that_is_named_is_declared(found: Page) -> None:
    assert unknown_metrics(found) == []


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (lambda page: broken_links(page, REPOSITORY), "[a](docs/none.md)"),
        (lambda page: broken_links(page, REPOSITORY), "[a](docs/events.md#no-such-heading)"),
        (unknown_commands, "`meterline fly`"),
        (unknown_commands, "```sh\nmeterline verify --fast\n```"),
        (unknown_commands, "`meterline rejects mend`"),
        (lambda page: unknown_targets(page, "all: # x"), "`make everything`"),
        (lambda page: unknown_paths(page, REPOSITORY), "`metering/none.py`"),
        (unknown_variables, "METERLINE_COLOUR"),
        (unknown_metrics, "`meterline_happiness`"),
        (lambda page: unknown_tests(page, REPOSITORY), "`test_that_all_is_well`"),
    ],
)
def test_a_planted_fault_is_found(check: Any, text: str) -> None:
    assert len(check({"README.md": text})) == 1


def test_the_page_of_settings_is_what_the_code_reads() -> None:
    page = SETTINGS_PAGE.read_text(encoding="utf-8")
    assert page == settings_page(page), "run: python tests/unit/test_docs.py --write"
    assert [row[0] for row in rows_of(page) if not row[-1]] == [], "say what these mean"


def test_every_setting_is_read_but_those_of_which_the_page_says_otherwise() -> None:
    fields = set(Settings.model_fields)
    assert fields - used(fields, r"(?:settings|self)\.{name}\b") == SETTINGS_NOT_READ
    meanings = {row[0]: row[-1] for row in rows_of(SETTINGS_PAGE.read_text(encoding="utf-8"))}
    unread = {
        field for field in fields if "not read yet" in meanings[f"`{variable(field)}`"].lower()
    }
    assert unread == SETTINGS_NOT_READ


def test_the_page_of_metrics_is_what_the_code_declares() -> None:
    page = METRICS_PAGE.read_text(encoding="utf-8")
    assert page == metrics_page(page), "run: python tests/unit/test_docs.py --write"


def test_every_metric_is_set_but_those_of_which_the_page_says_otherwise() -> None:
    attributes = {name for served in SERVED.values() for name in vars(served())}
    names = attributes - {"registry", "declared"}
    assert names - used(names, r"metrics\.{name}\b") == METRICS_NOT_SET


def test_a_page_that_lacks_a_row_is_told_from_a_complete_one() -> None:
    for page, written in ((SETTINGS_PAGE, settings_page), (METRICS_PAGE, metrics_page)):
        text = page.read_text(encoding="utf-8")
        lacking = text.replace(next(line for line in text.splitlines() if "| `" in line) + "\n", "")
        assert written(lacking) != lacking


if __name__ == "__main__" and "--write" in sys.argv:
    SETTINGS_PAGE.write_text(settings_page(SETTINGS_PAGE.read_text(encoding="utf-8")))
    METRICS_PAGE.write_text(metrics_page(METRICS_PAGE.read_text(encoding="utf-8")))
