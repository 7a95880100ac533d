"""Whether what was measured is right: the generator's truth, and `meterline verify`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping

from bench import Bench
from deployment import REPOSITORY, Deployment

from loadtest.figures import Section
from loadtest.meterline import last_lines
from loadtest.oracle import compare_charges, settle
from loadtest.outcome import Outcome
from loadtest.prices import Charge, ChargeKey

_SETTLED_S = 20.0
_VERIFY_S = 300.0
_SHOWN_MAX = 10


def check_charges(
    deployment: Deployment, expected: Mapping[ChargeKey, Charge], section: Section
) -> None:
    """Compare every charge of the view that finance reads; differences are noted."""
    differences = compare_charges(expected, deployment.observed().charges())
    section.differences += [
        f"{each.what}: expected {each.expected}, got {each.got}"
        for each in differences[:_SHOWN_MAX]
    ]
    verdict = f"{len(differences)} charges differ" if differences else "exact"
    section.add("charges", verdict, note=f"{len(expected):,} charges of billing periods")


def check_exact(bench: Bench, deployment: Deployment, truth: Outcome, section: Section) -> None:
    """Compare every count and every hourly total, then run `verify`; differences are noted."""
    bench.say(f"checking {truth.accounted:,} events and {len(truth.totals):,} hourly totals")
    began = time.monotonic()
    differences = settle(deployment.observed(), truth, deadline_s=_SETTLED_S).differences
    seconds = time.monotonic() - began
    section.differences += [
        f"{each.what}: expected {each.expected}, got {each.got}"
        for each in differences[:_SHOWN_MAX]
    ]
    if len(differences) > _SHOWN_MAX:
        section.differences.append(f"... {len(differences)} differences in all")
    verdict = f"{len(differences)} numbers differ" if differences else "exact"
    section.add("totals", verdict, note=f"{len(truth.totals):,} hourly totals, all counts")
    section.add("check_s", seconds, "s", note="comparing with the generator's own numbers")
    _verify(deployment, section)


def _verify(deployment: Deployment, section: Section) -> None:
    arguments = ("-m", "cli.main", "verify")
    section.commands.append(deployment.shown("python", *arguments))
    began = time.monotonic()
    found = subprocess.run(
        [sys.executable, *arguments], cwd=REPOSITORY, env=deployment.environment,
        capture_output=True, text=True, timeout=_VERIFY_S, check=False,
    )  # fmt: skip
    section.add("verify_s", time.monotonic() - began, "s", note="`meterline verify`, all of it")
    section.add("verify", "holds" if found.returncode == 0 else f"exit {found.returncode}")
    if found.returncode:
        told = last_lines(found.stdout + found.stderr)
        section.differences.append(f"meterline verify ended with {found.returncode}:\n{told}")
