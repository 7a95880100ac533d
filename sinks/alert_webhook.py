"""Posts changes of findings to a webhook: signed, with patience, at least once.

The header `Meterline-Signature: t=<Unix seconds>,v1=<hex>` holds the HMAC-SHA256 of
`<t>.<body>` under the shared secret: a receiver compares it in constant time, and refuses an old
`t`. `Meterline-Id` is the message's `id`, for dropping what came twice. Redirects are not followed.

A message that the receiver refuses for itself waits for the next check and holds up no other; what
concerns all of them (no answer, a server's fault, no permission) ends the turn. So does time: a
slow receiver must not keep the check from what else it does.
"""

import hashlib
import hmac
import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import orjson
import urllib3
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from metering.alert import Change
from metering.errors import DependencyDown, SettingsInvalid

_LOG = logging.getLogger(__name__)
_ATTEMPTS = 4
_ANSWER_S = 10
#: After so long no further message is begun in one turn.
_TURN_S = 60
_TAKEN = range(200, 300)
#: What a receiver says of a message, not of all: it is malformed, known, too large, or no sense.
_REFUSED = {400, 409, 413, 415, 422}


class _NotTaken(Exception):
    """The receiver did not take a message; trying again may help."""


class _Refused(Exception):
    """The receiver does not want this message."""


class AlertWebhook:
    """One receiver. `now_s` tells the time, for the signature."""

    name = "webhook"

    def __init__(
        self, url: str, secret: str, *, is_private_allowed: bool = False, wait_s_max: int = 20,
        now_s: Callable[[], int] = lambda: int(time.time()),
    ) -> None:  # fmt: skip
        """Raises `SettingsInvalid` for an address that alerts may not go to, or no secret."""
        address = urlsplit(url)
        if address.scheme not in {"http", "https"} or not address.hostname:
            msg = f"METERLINE_ALERT_WEBHOOK: expected an http(s) URL, got {url!r}"
            raise SettingsInvalid([msg])
        if not secret:
            msg = "METERLINE_ALERT_WEBHOOK_SECRET: expected a secret to sign with, got nothing"
            raise SettingsInvalid([msg])
        if address.scheme == "http" and not is_private_allowed:
            msg = (
                f"METERLINE_ALERT_WEBHOOK: expected https, got {url!r}; set "
                "METERLINE_ALERT_WEBHOOK_PRIVATE=true for a receiver in your own network"
            )
            raise SettingsInvalid([msg])
        self._url, self._secret = url, secret.encode()
        self._host = address.hostname
        self._port = address.port or (443 if address.scheme == "https" else 80)
        self._is_private_allowed = is_private_allowed
        self._now_s = now_s
        self._wait_s_max = wait_s_max
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(total=_ANSWER_S), retries=False, num_pools=1
        )

    def send(self, changes: Sequence[Change]) -> list[Change]:
        """Post one after the other; those that were taken.

        Raises `DependencyDown` when the first of them is not taken after all attempts, and
        `SettingsInvalid` for an address that alerts may not go to.
        """
        self._check_target()
        until_s = self._now_s() + _TURN_S
        taken: list[Change] = []
        for change in changes:
            if self._now_s() >= until_s:
                break
            try:
                self._post_patiently(change)
            except _Refused as error:
                _LOG.warning("webhook %s refuses %s: %s", self._host, change.change_id, error)
                continue
            except _NotTaken as error:
                if not taken:
                    msg = f"Webhook {self._host} does not take alerts: {error}"
                    raise DependencyDown(msg) from error
                break
            taken.append(change)
        return taken

    def _post_patiently(self, change: Change) -> None:
        for attempt in Retrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential_jitter(initial=1, max=self._wait_s_max),
            retry=retry_if_exception_type(_NotTaken),
            reraise=True,
        ):
            with attempt:
                self._post(change)

    def _post(self, change: Change) -> None:
        body = orjson.dumps(change.document())
        stamp = str(self._now_s())
        try:
            answer = self._pool.request(
                "POST", self._url, body=body, redirect=False, headers={
                    "Content-Type": "application/json",
                    "Meterline-Id": change.change_id,
                    "Meterline-Signature": f"t={stamp},v1={signature(self._secret, stamp, body)}",
                },
            )  # fmt: skip
        except urllib3.exceptions.HTTPError as error:
            raise _NotTaken(type(error).__name__) from error
        if answer.status not in _TAKEN:
            msg = f"expected status 2xx, got {answer.status}"
            raise (_Refused if answer.status in _REFUSED else _NotTaken)(msg)

    def _check_target(self) -> None:
        """Alerts name customers: they go to no address inside unless somebody said so."""
        if self._is_private_allowed:
            return
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            msg = f"Webhook {self._host} has no address: {error}"
            raise DependencyDown(msg) from error
        inside = [str(each[4][0]) for each in found if not _is_public(str(each[4][0]))]
        if inside:
            msg = (
                f"METERLINE_ALERT_WEBHOOK: expected a public address of {self._host}, got "
                f"{inside[0]}; set METERLINE_ALERT_WEBHOOK_PRIVATE=true to allow it"
            )
            raise SettingsInvalid([msg])


def signature(secret: bytes, stamp: str, body: bytes) -> str:
    """Hex HMAC-SHA256 of `<stamp>.<body>`."""
    return hmac.new(secret, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _is_public(address: str) -> bool:
    return ipaddress.ip_address(address.split("%", maxsplit=1)[0]).is_global
