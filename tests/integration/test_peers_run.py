"""The comparison itself on real servers, with few events: it finds what a peer counts wrong."""

import os
import subprocess
import sys
from pathlib import Path

from deploy.localstack.stack import LocalStack

_REPOSITORY = Path(__file__).resolve().parents[2]
_ROWS = ("consumer", "pipelined", "clickhouse", "clickhouse_keyed")


def test_peers_are_measured_and_what_they_count_wrong_is_told(stack: LocalStack) -> None:
    options = ["--events", "4000", "--rounds", "1", "--no-kill"]
    options += [word for row in _ROWS for word in ("--only", row)]
    found = subprocess.run(
        [sys.executable, "tests/bench/peers", *options],
        cwd=_REPOSITORY,
        env={**os.environ, **stack.env(), "PYTHONPATH": f"{_REPOSITORY}:tests/bench"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    told = [line.split(" | ") for line in found.stdout.splitlines() if line.startswith("| ")]
    truth = {cells[0].removeprefix("| "): cells[1:3] for cells in told if len(cells) == 5}
    assert truth["consumer by hand, `SET NX` by event"] == ["exact", "each once"]
    assert truth["consumer by hand, `SET NX` pipelined"] == ["exact", "each once"]
    by_key = "ClickHouse alone: parse, one row per id, totals by query"
    assert truth[by_key] == ["exact", "each once"]
    # 4 020 messages; 20 of them stand again on another partition, some 20 on the same.
    totals, raw = truth["ClickHouse alone: parse, raw rows, sums"]
    surplus = int(totals.split()[0])
    assert 25 <= surplus <= 65
    assert raw == f"{surplus} rows twice, 0 events without a row"
