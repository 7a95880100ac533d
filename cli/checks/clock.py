"""Clocks: idle watermarks go by this machine's, record times by the broker's."""

from cli.checks.result import Check, judged

_WARN_S = 1.0
_FAIL_S = 30.0


def check_clock(area: str, server_s: float, before_s: float, after_s: float) -> Check:
    """Compare a server's time with this machine's before and after asking; Unix seconds."""
    ahead = 0.0
    if not before_s <= server_s <= after_s:
        ahead = server_s - (after_s if server_s > after_s else before_s)
    found = f"{abs(ahead):.3f} s {'ahead of' if ahead > 0 else 'behind'} this machine"
    remedy = "synchronise the clocks (chrony, ntpd): watermarks would be wrong by as much"
    return judged(
        area, "clock", found if ahead else "agrees with this machine",
        fail=remedy if abs(ahead) > _FAIL_S else "", warn=remedy if abs(ahead) > _WARN_S else "",
    )  # fmt: skip
