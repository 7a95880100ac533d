"""How far a number of events is from another, in deviations: the scale that detection counts on.

Events come in clumps, so they vary like `CLUMP` times as many as a Poisson process lets them; and
what is expected of them is never exact, so a share of it varies as well. For that variance,
`CLUMP * m + SPREAD * m * m`, the inverse hyperbolic sine is what makes deviations alike for all
sizes: like a square root for few events (Anscombe), like a logarithm for many.
"""

CLUMP = 2
SPREAD = 0.04
#: Of few events: `_INNER * m` is the argument of the square root within, `_OUTER` the factor.
_INNER = SPREAD / CLUMP
_OUTER = 2 / SPREAD**0.5


def scaled(events: str) -> str:
    """SQL of a number of events on the scale of deviations."""
    return f"{_OUTER:g} * asinh(sqrt({_INNER:g} * ({events})))"


def events_at(deviations: str) -> str:
    """SQL of the number of events there; the inverse of `scaled`, 0 below 0."""
    return f"pow(sinh(greatest({deviations}, 0) / {_OUTER:g}), 2) / {_INNER:g}"
