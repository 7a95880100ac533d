"""How to choose what the simulator runs."""

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="run this seed of the simulator only")


@pytest.fixture(scope="session")
def seeds(request: pytest.FixtureRequest) -> range:
    """`--seed N` or METERLINE_SIM_SEED: one; METERLINE_SIM_SEEDS: how many, 5000 by default;
    METERLINE_SIM_FIRST: where they begin.
    """
    one = request.config.getoption("--seed", default=None)
    one = os.environ.get("METERLINE_SIM_SEED") if one is None else one
    if one is not None:
        return range(int(one), int(one) + 1)
    first = int(os.environ.get("METERLINE_SIM_FIRST", "0"))
    return range(first, first + int(os.environ.get("METERLINE_SIM_SEEDS", "5000")))
