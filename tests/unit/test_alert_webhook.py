"""The webhook beside a receiver on loopback: what is tried again, what is not, and for how long."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from metering.alert import Change, Finding, FindingKey, FindingKind, FindingState
from metering.errors import DependencyDown
from sinks.alert_webhook import AlertWebhook

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
STAMP = 1_780_000_000


class Receiver:
    """Answers as `answers` says of the customer, the last answer again and again; else 204."""

    def __init__(self) -> None:
        self.answers: dict[str, list[int]] = {}
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[tuple[str, bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                customer = json.loads(body)["customer_id"]
                receiver.asked.append((self.path, customer))
                receiver.bodies.append((self.headers["Meterline-Signature"], body))
                left = receiver.answers.get(customer, [204])
                self.send_response(left.pop(0) if len(left) > 1 else left[0])
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                receiver.asked.append((self.path, ""))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def customers(self) -> list[str]:
        """Whom it was told of, message by message."""
        return [customer for _, customer in self.asked]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


def changes(*customers: str) -> list[Change]:
    return [
        Change(
            Finding(
                FindingKey(FindingKind.SPIKE, customer, "m"), NOW, 3, observed=Decimal(30),
                expected=Decimal(10), unit="request", complete_to=NOW,
            ),
            FindingState.OPENED, NOW,
        )
        for customer in customers
    ]  # fmt: skip


def webhook(receiver: Receiver, now_s: Callable[[], int] = lambda: STAMP) -> AlertWebhook:
    return AlertWebhook(receiver.url, "secret", is_private_allowed=True, wait_s_max=0, now_s=now_s)


def taken(found: list[Change]) -> list[str]:
    return [each.finding.key.customer_id for each in found]


def test_a_message_is_tried_again_and_signed_by_the_time_of_each_try(receiver: Receiver) -> None:
    receiver.answers["a"] = [503, 500, 204]
    moments = iter(range(STAMP, STAMP + 100))
    assert taken(webhook(receiver, lambda: next(moments)).send(changes("a", "b"))) == ["a", "b"]
    assert receiver.customers == ["a", "a", "a", "b"]
    stamps = set()
    for header, body in receiver.bodies:
        stamp, _, signed = header.partition(",v1=")
        stamps.add(stamp)
        text = stamp.removeprefix("t=").encode() + b"." + body
        assert hmac.new(b"secret", text, hashlib.sha256).hexdigest() == signed
    assert len(stamps) == 4


def test_who_never_takes_one_is_left_alone_until_the_next_check(receiver: Receiver) -> None:
    receiver.answers["b"] = [503]
    assert taken(webhook(receiver).send(changes("a", "b", "c"))) == ["a"]
    assert receiver.customers == ["a", "b", "b", "b", "b"]
    with pytest.raises(DependencyDown, match="expected status 2xx, got 503"):
        webhook(receiver).send(changes("b", "c"))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_nothing_is_taken(receiver: Receiver, status: int) -> None:
    receiver.answers["a"] = [status]
    with pytest.raises(DependencyDown, match=f"got {status}"):
        webhook(receiver).send(changes("a"))
    assert {path for path, _ in receiver.asked} == {"/hook"}


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_message_that_is_refused_holds_up_no_other(receiver: Receiver, status: int) -> None:
    receiver.answers["a"] = [status]
    assert taken(webhook(receiver).send(changes("a", "b"))) == ["b"]
    assert receiver.customers == ["a", "b"]


def test_a_slow_receiver_ends_the_turn_and_not_a_message(receiver: Receiver) -> None:
    moments = iter(range(STAMP, STAMP + 1000, 15))
    assert taken(webhook(receiver, lambda: next(moments)).send(changes(*"abcdefgh"))) == ["a", "b"]
    assert receiver.customers == ["a", "b"]
