"""Named workload profiles: who uses, how much of the load is what, and how it is spread over time.

A profile says nothing about speed or length; with a rate, a duration and a seed it is one load.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Mix:
    """Shares of all events (0..1); what is left over is fresh and sound.

    `repeated`, `elsewhere` and `restamped` are duplicates: exact copies on the same partition, on
    another one, and copies that say another time. `late` is a share of the fresh ones.
    """

    repeated: float = 0.006
    elsewhere: float = 0.002
    restamped: float = 0.002
    conflicts: float = 0.001
    malformed: float = 0.002
    late: float = 0.01


@dataclass(frozen=True)
class Bursts:
    """Every `every_s` seconds the rate is `peak` times the mean, for `for_s` seconds.

    In between it is as low as the mean needs it to be; `peak` x `for_s` is below `every_s`.
    """

    every_s: int = 10
    for_s: int = 2
    peak: float = 3.0


@dataclass(frozen=True)
class Profile:
    """One workload.

    `skew` is the exponent of a Zipf law over customers, 0 for alike; `giant` the share of events
    (0..1) that one customer makes alone. `regions` is how many groups the grouped meter is split
    into, `dimensions` how many pairs an event carries beside those it always has (0..13).
    """

    name: str
    says: str
    customers: int = 20_000
    mix: Mix = field(default_factory=Mix)
    skew: float = 0.0
    giant: float = 0.0
    regions: int = 3
    dimensions: int = 0
    bursts: Bursts | None = None


_ALL = (
    Profile("steady", "an even rate, 20 000 customers alike, a few defects of every kind"),
    Profile("burst", "every ten seconds two seconds at three times the mean rate", bursts=Bursts()),
    Profile("skewed", "customers by Zipf's law: few make most of the events", skew=1.1),
    Profile(
        "duplicate-heavy",
        "two events of five are copies: on the same partition, on another, with another time",
        mix=Mix(repeated=0.25, elsewhere=0.1, restamped=0.05, conflicts=0.01),
    ),
    Profile(
        "late-heavy",
        "three events of ten arrive ten minutes to six hours after they occurred",
        mix=Mix(late=0.3),
    ),
    Profile(
        "malformed-heavy",
        "three messages of ten are rejected, under every code there is",
        mix=Mix(malformed=0.3),
    ),
    Profile(
        "wide-dimensions",
        "16 dimensions in every event, and a meter split into 500 groups",
        regions=500,
        dimensions=13,
    ),
    Profile(
        "many-small-customers",
        "half a million customers: nearly every event opens a total of its own",
        customers=500_000,
    ),
    Profile(
        "one-giant-customer",
        "one customer makes six events of ten, so that one partition carries most",
        giant=0.6,
    ),
)

PROFILES = {profile.name: profile for profile in _ALL}
