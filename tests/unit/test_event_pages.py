"""The pages about events say what the code does."""

import re
from pathlib import Path

import pytest
from decoding import accepted

from metering import shapes
from metering.rejection import RejectionCode
from metering.rejection_sentence import SENTENCES

DOCS = Path(__file__).parents[2] / "docs"
EVENTS = (DOCS / "events.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```json\n(.*?)```", EVENTS, re.DOTALL)


def _cells(page: str, columns: int) -> list[list[str]]:
    rows = [line.strip("|").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in rows if len(row) == columns]


def test_the_page_of_rejections_is_the_table_of_sentences_in_the_order_of_precedence() -> None:
    page = (DOCS / "rejections.md").read_text(encoding="utf-8")
    assert _cells(page, 3) == [[f"`{code}`", *SENTENCES[code]] for code in RejectionCode]


def test_the_page_of_events_has_the_table_of_shapes() -> None:
    def names(paths: tuple[str, ...]) -> str:
        return ", ".join(f"`{path}`" for path in paths)

    assert _cells(EVENTS, 3) == [
        [f"`{field}`", names(shapes.PLAIN[field]), names(shapes.CLOUDEVENT[field])]
        for field in shapes.PLAIN
    ]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_on_the_page_of_events_is_accepted(example: str) -> None:
    assert accepted(example.encode())["quantity"] > 0


def test_the_page_of_events_has_an_example_of_every_shape() -> None:
    assert len(EXAMPLES) == 4
