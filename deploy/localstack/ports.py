"""Free loopback ports that stay ours while a service is down.

They are taken below the range from which the kernel draws the source ports of outgoing
connections: a client that reconnects to a killed service would otherwise now and then be
given the service's own port, and keep it from coming back.
"""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"
_FIRST, _LAST = 20_000, 32_000
_ATTEMPTS = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def find_free(count: int) -> tuple[int, ...]:
    """`count` distinct free ports. Raises OSError when none can be found."""
    found: list[int] = []
    source = random.SystemRandom()
    for _ in range(_ATTEMPTS):
        if len(found) == count:
            return tuple(found)
        port = source.randrange(_FIRST, _LAST)
        if port not in found and is_free(port):
            found.append(port)
    message = f"no {count} free ports on {LOOPBACK} between {_FIRST} and {_LAST}"
    raise OSError(message)
