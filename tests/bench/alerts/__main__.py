"""`make bench-alerts`: how well spikes, drops and silence are found, on labelled years.

The production SQL judges every hour of synthetic years on ClickHouse's engine, and three simple
detectors see the same years, each at every threshold. Rules and limits were chosen on the first
seeds; the requirement is judged on others. Prints recall by kind, length and size, false alerts,
and the requirement. Exit codes: 0 it is met on the seeds that nothing was chosen on, 1 not.

    python tests/bench/alerts --judge 7,8 --pairs 300
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from baselines import BASELINES, DEVIATIONS, RATIOS, Fired, dense
from load_year import START, insert_hours, judge, keep_everything, moment, name_pairs
from rich.console import Console
from rich.table import Table
from split_hours import begun_hours, together, with_spreads
from synthetic_year import HOURS, WEEK, Episode, SyntheticYear, synthetic_year
from verdict import DAY_H, EVENTS_MIN, Verdict, is_asked

from alerts.detection import Detection
from deploy.localstack.stack import LocalStack
from metering.catalog import Aggregation, Catalog, Meter
from metering.settings import load_settings
from sinks.clickhouse import connect_clickhouse
from sinks.migrate import migrate

RECALL_MIN = 0.95
FALSE_MAX = 1.0
#: Rules and limits were chosen on the former; nobody looked at the latter before.
_TUNED, _JUDGED = [1, 2, 3, 20_261, 20_262, 20_263], [31, 32, 33]
#: Moments of an hour at which it is judged before it is over.
_BEGUN_S = [900, 1800, 2700]
_CATALOG = Catalog({"requests": Meter("requests", "request", Aggregation.SUM)})
console = Console(width=110)


def production(
    years: list[SyntheticYear], *, begun_s: list[int], is_loaded: bool
) -> tuple[dict[str, Fired], dict[int, dict[str, Fired]]]:
    """What the production SQL says, by customer: of whole hours, and of hours that have begun.

    The latter by how many seconds of them are complete.
    """
    settings = load_settings(namespace=os.environ.get("METERLINE_NAMESPACE", "bench_alerts"))
    if not is_loaded:
        server = connect_clickhouse(settings, database=None)
        server.command(f"DROP DATABASE IF EXISTS {settings.database}")
        server.close()
        migrate(settings)
    client = connect_clickhouse(settings, answer_s=600)
    if not is_loaded:
        keep_everything(client)
        for year in years:
            insert_hours(client, "usage_hours", year)
        name_pairs(client)
        judge(client)
    detection = Detection(client, _CATALOG)
    found: dict[str, tuple[list[int], list[int]]] = {}
    for first in range(8 * WEEK, HOURS, 24 * 4):
        last = moment(min(first + 24 * 4, HOURS))
        for each in detection.breaches(moment(first + 1), last=last):
            if each.is_new:
                hour = int((each.mark.replace(tzinfo=START.tzinfo) - START).total_seconds()) // 3600
                fired = found.setdefault(each.customer_id, ([], []))
                fired[0 if each.is_up else 1].append(hour)
    begun = begun_hours(settings, _CATALOG, years, elapsed_s=begun_s)
    client.close()
    whole = {
        name: Fired(np.array(up, np.int64), np.array(down, np.int64))
        for name, (up, down) in found.items()
    }
    return whole, begun


def judged(years: list[SyntheticYear], fired: Mapping[str, Fired]) -> Verdict:
    """The verdict on what the production SQL says of these years."""
    nothing = Fired(np.array([], np.int64), np.array([], np.int64))
    verdict = Verdict()
    for year in years:
        for pair in range(len(year.shapes)):
            verdict.add(year, pair, fired.get(f"{year.seed}-{pair}", nothing))
    return verdict


def simple(years: list[SyntheticYear]) -> dict[tuple[str, float], Verdict]:
    """Verdicts of every baseline at every threshold."""
    verdicts: dict[tuple[str, float], Verdict] = {}
    for year in years:
        for pair in range(len(year.shapes)):
            quantity = dense(year, pair)
            for name, detector in BASELINES.items():
                limits = DEVIATIONS if "z-score" in name else RATIOS
                for limit, fired in zip(limits, detector(quantity), strict=True):
                    verdicts.setdefault((name, limit), Verdict()).add(year, pair, fired)
    return verdicts


def _share(found: list[bool]) -> str:
    return f"{sum(found) / len(found):.3f} of {len(found)}" if found else "-"


def _print_episodes(ours: Verdict) -> None:
    kinds = sorted({(each.kind, each.factor) for each, _, _ in ours.episodes}, reverse=True)
    lengths = sorted({each.lasts_h for each, _, _ in ours.episodes if each.kind != "shift"})
    table = Table("found of", *[f"{hours} h" for hours in lengths], "any", "too small to tell")
    for what in kinds:

        def of(each: Episode, what: tuple[str, float] = what, hours: int = 0) -> bool:
            is_of = (each.kind, each.factor) == what and each.lasts_h in (
                hours,
                hours or each.lasts_h,
            )
            return is_of and each.expected_events >= EVENTS_MIN

        def is_small(each: Episode, what: tuple[str, float] = what) -> bool:
            return (each.kind, each.factor) == what and each.expected_events < EVENTS_MIN

        cells = [_share(ours.share(partial(of, hours=hours))) for hours in lengths]
        table.add_row(
            f"{what[0]} {what[1]:g}", *cells, _share(ours.share(of)), _share(ours.share(is_small))
        )
    console.print(table)
    shapes = sorted({shape for _, shape, _ in ours.episodes})
    missed = Counter(s for each, s, found in ours.episodes if is_asked(each) and not found)
    asked = Counter(s for each, s, _ in ours.episodes if is_asked(each))
    table = Table("shape and size", "3x or silent", "not found", "false alerts")
    for shape in shapes:
        table.add_row(shape, str(asked[shape]), str(missed[shape]), str(ours.false[shape]))
    console.print(table)


def _delays(ours: Verdict) -> str:
    found = ours.delays_h or [0]
    return f"median {np.median(found):.2f}, a quarter within {np.quantile(found, 0.25):.2f}"


def report_begun(
    years: list[SyntheticYear], whole: Mapping[str, Fired], begun: Mapping[int, Mapping[str, Fired]]
) -> None:
    """Print what it changes to judge hours that have begun as well."""
    names = ["whole hours only", *[f"and after {each // 60} min" for each in begun], "all of them"]
    told = [whole, *[together(whole, each) for each in begun.values()]]
    table = Table("judged", "recall", "any length", "false / 10 000 days", "told after (h)")
    for name, fired in zip(names, [*told, together(whole, *begun.values())], strict=True):
        ours = judged(years, fired)
        every = ours.share(is_asked)
        table.add_row(
            name, f"{ours.recall:.3f}", _share(every), f"{ours.per_10_000_days:.2f}", _delays(ours)
        )
    console.print(table)


def report(ours: Verdict, others: Mapping[tuple[str, float], Verdict]) -> bool:
    """Print everything; whether the requirement is met and every baseline is worse."""
    _print_episodes(ours)
    console.print(f"hours until told: {_delays(ours)}")
    table = Table("detector", "recall", "false / 10 000 days", "precision", "recall with few false")
    rows = [("production SQL", [ours])]
    rows += [
        (name, [each for (other, _), each in others.items() if other == name]) for name in BASELINES
    ]
    best: dict[str, float] = {}
    for name, verdicts in rows:
        most = max(verdicts, key=lambda each: (each.recall, -each.per_10_000_days))
        quiet = [
            each.recall
            for each in verdicts
            if each.per_10_000_days <= max(FALSE_MAX, ours.per_10_000_days)
        ]
        best[name] = max(quiet, default=0.0)
        table.add_row(
            name,
            f"{most.recall:.3f}",
            f"{most.per_10_000_days:.2f}",
            f"{most.precision:.3f}",
            f"{best[name]:.3f}",
        )
    console.print(table)
    shorter = ours.share(lambda each: is_asked(each) and each.lasts_h < DAY_H)
    console.print(f"3x spikes and silence shorter than a day: {_share(shorter)}")
    is_met = ours.recall >= RECALL_MIN and ours.per_10_000_days <= FALSE_MAX
    is_better = all(best[name] < ours.recall for name in BASELINES)
    console.print(
        f"ALERTS {'MET' if is_met and is_better else 'NOT MET'} recall={ours.recall:.3f} "
        f"(at least {RECALL_MIN}) false_per_10000={ours.per_10_000_days:.2f} (at most {FALSE_MAX}) "
        f"days={int(ours.days)} better_than_baselines={is_better}"
    )
    return is_met and is_better


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tuned", type=_seeds, default=_TUNED, help="seeds of the choices")
    parser.add_argument("--judge", type=_seeds, default=_JUDGED, help="seeds of the requirement")
    parser.add_argument("--pairs", type=int, default=150, help="of each seed")
    parser.add_argument(
        "--begun", type=_seeds, default=_BEGUN_S, help="seconds of hours that are judged as well"
    )
    parser.add_argument("--loaded", action="store_true", help="the years are in ClickHouse already")
    options = parser.parse_args()
    tuned = [_year(seed, options.pairs) for seed in options.tuned]
    fresh = [_year(seed, options.pairs) for seed in options.judge]
    with tempfile.TemporaryDirectory() as folder:
        stack = LocalStack(Path(folder))
        if "CLICKHOUSE_URL" not in os.environ:
            stack.up(["clickhouse"])
            os.environ.update(stack.env(["clickhouse"]))
        try:
            whole, begun = production(
                [*tuned, *fresh], begun_s=options.begun, is_loaded=options.loaded
            )
        finally:
            stack.down()
    is_met = True
    for said, years in (("were chosen on", tuned), ("nothing was chosen on", fresh)):
        if years:
            seeds = ", ".join(str(year.seed) for year in years)
            console.rule(f"seeds that {said}: {seeds}; {options.pairs} pairs of each")
            is_met = report(judged(years, together(whole, *begun.values())), simple(years))
            report_begun(years, whole, begun)
    return 0 if is_met else 1


def _year(seed: int, pairs: int) -> SyntheticYear:
    return with_spreads(synthetic_year(seed, pairs=pairs))


def _seeds(text: str) -> list[int]:
    return [int(each) for each in text.split(",") if each]


if __name__ == "__main__":
    sys.exit(main())
