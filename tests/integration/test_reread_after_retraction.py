"""A log that is read again from before a retraction: who is concerned gets no invoice until it is
repaired, and then the right one."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from counting import count, rows
from in_process import answer, meterline
from priced import PERIOD
from test_corrections import (
    ADA,
    CALLS,
    apply,
    charged,
    counted,
    draft,
    oracle,
    priced,
    streamed,
)

from cli.correct_apply import Applying
from metering.errors import DependencyDown
from metering.settings import Settings

__all__ = ["counted", "priced", "streamed"]  # the fixtures

_FORCE = ("--period", PERIOD, "--force", "--reason", "the month is over")


def test_what_was_taken_back_counts_again_until_the_repair_and_is_never_invoiced(
    streamed: Settings,
) -> None:
    found = draft(streamed, "retract", "--customer", "org", "--meter", "calls", "--id", "call-1",
                  "--reason", "duplicate_usage", *ADA)  # fmt: skip
    apply(streamed, found["correction"]["correction_id"])
    left = oracle([CALLS[0], *CALLS[2:]])
    assert charged(streamed) == left
    stream = rows(streamed, "SELECT stream FROM streams")[0][0]

    told = meterline(streamed, "rewind", f"{stream}/0", "--to", "0", "--yes")
    assert told.returncode == 0, told.stderr
    assert "1 of these events were taken back by corrections" in told.stdout
    count(streamed)
    assert charged(streamed) == oracle(CALLS), "the stream does not know of retractions"

    refused = meterline(streamed, "close", *_FORCE, "--json")
    assert refused.returncode == 1, refused.stderr
    closed = json.loads(refused.stdout)
    assert (closed["invoices"], closed["differing_customers"]) == (1, ["org"])

    assert meterline(streamed, "verify", "--repair").returncode == 0
    assert charged(streamed) == left
    assert answer(streamed, "close", *_FORCE)["invoices"] == 1
    amount = rows(
        streamed,
        "SELECT sum(amount) FROM invoice_lines_explained "
        "WHERE customer_id = 'org' AND meter = 'calls'",
    )
    assert Decimal(amount[0][0]) == left


def test_an_event_is_stamped_once_however_often_the_correction_is_begun(
    counted: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        msg = "ClickHouse does not answer"
        raise DependencyDown(msg)

    found = draft(counted, "retract", "--customer", "org", "--meter", "calls", "--id", "call-1",
                  "--reason", "duplicate_usage", *ADA)  # fmt: skip
    number = found["correction"]["correction_id"]
    with monkeypatch.context() as hurt:
        hurt.setattr(Applying, "_derive", away)
        assert meterline(counted, "correct", "apply", number, *ADA).returncode == 75
    stamped = "SELECT correction_id, recorded_at FROM retracted_events"
    (first,) = rows(counted, stamped)
    apply(counted, number)
    assert rows(counted, stamped) == [first]
