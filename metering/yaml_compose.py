"""YAML text to nodes: libyaml's parser where it is there, and a bound on how deep nodes lie.

Composing is recursive, in C without a guard; so the depth is looked at first, on the flat events.
"""

from typing import Any

import yaml
from yaml.nodes import Node

#: The C parser where PyYAML was built with it: some ten times as fast. Tags run nothing in either.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DEPTH_MAX = 64


def compose(text: str) -> Node | None:
    """The document's root node, with its lines; None for an empty text.

    Raises `yaml.YAMLError`, also for what is nested deeper than `DEPTH_MAX` levels.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_MAX:
            mark: Any = event.start_mark  # of either parser
            raise yaml.MarkedYAMLError(problem=f"more than {DEPTH_MAX} levels", problem_mark=mark)
    root: Node | None = yaml.compose(text, Loader=_LOADER)
    return root
