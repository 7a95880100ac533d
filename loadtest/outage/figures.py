"""What an outage measured: only what was seen, nothing reckoned on from it."""

from collections.abc import Callable
from dataclasses import dataclass

from loadtest.figures import Figure
from loadtest.load.report import behind_ms, process_figures
from loadtest.load.watching import Sample, Watched
from loadtest.outage.catch_up import NORMAL_S, STEADY_S, CatchUp, percentiles_ms
from loadtest.produce import Delivery


@dataclass(frozen=True)
class Recovery:
    """`back_s` is when the workers were started, on the clock of the samples (may be below 0).

    `kills` says how many workers were killed, where any were to be.
    """

    filled: Delivery
    watched: Watched
    catch_up: CatchUp
    back_s: float
    kills: list[Figure]


def recovery_figures(recovery: Recovery) -> list[Figure]:
    """How long catching up took and how live events fared meanwhile, then each process."""
    watched, filled = recovery.watched, recovery.filled
    assert watched.done is not None
    done, load = watched.done, watched.started.load
    events = filled.events + done.delivery.events
    figures = [
        Figure("backlog", filled.events, "events", f"{filled.bytes / filled.events:,.0f} bytes"),
        Figure("backlog filled", filled.events / filled.seconds, "events/s", "beforehand"),
        Figure("live rate asked", load.schedule.rate, "events/s", "open loop"),
        Figure("live events", done.delivery.events, "events", f"in {done.delivery.seconds:,.0f} s"),
        *recovery.kills,
        *_times(recovery),
        Figure("lag at most", max(each.lag for each in watched.samples), "events", "both together"),
        *_latencies(recovery),
        Figure("producer behind p99", behind_ms(watched, 0.99), "ms", "in the latency"),
        Figure("producer behind max", behind_ms(watched, 1.0), "ms", "in the latency"),
    ]
    return figures + process_figures(watched, events)


def _times(recovery: Recovery) -> list[Figure]:
    samples, filled = recovery.watched.samples, recovery.filled.events
    drained = _first(samples, lambda each: each.backlog == 0)
    figures = []
    if drained is not None:
        after = drained.at_s - recovery.back_s
        figures.append(Figure("backlog durable after", after, "s", "since workers were started"))
    caught = recovery.catch_up.caught
    if caught is None:
        return [*figures, Figure("caught up after", "not caught up")]
    seen = _first(samples, lambda each: each.at_s >= caught.at_s)
    assert seen is not None
    after, durable = caught.at_s - recovery.back_s, filled - seen.backlog + seen.durable
    note = (
        f"until the lag stayed at most {recovery.catch_up.normal:,} events ({NORMAL_S} s of live"
        f" traffic) for {STEADY_S} s"
    )
    return [
        *figures,
        Figure("caught up after", after, "s", note),
        Figure("durable meanwhile", durable / after, "events/s", f"{durable:,} events, both"),
    ]


def _latencies(recovery: Recovery) -> list[Figure]:
    """Of live events: those that were durable when the lag was normal again, and those after."""
    caught, counts = recovery.catch_up.caught, recovery.watched.latencies.counts
    during = counts if caught is None else caught.during
    figures = [
        Figure(f"live latency {name}", value, "ms", "while catching up")
        for name, value in percentiles_ms(during).items()
    ]
    if caught is None:
        return figures
    return figures + [
        Figure(f"live latency {name} after", value, "ms", "once the lag was normal")
        for name, value in percentiles_ms(counts, caught.during).items()
    ]


def _first(samples: list[Sample], is_it: Callable[[Sample], bool]) -> Sample | None:
    return next((each for each in samples if is_it(each)), None)
