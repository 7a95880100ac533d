"""What `verify` found, for people: a line per partition, differences, and what to do."""

from rich.markup import escape
from rich.table import Table

from cli.context import console
from metering.settings import Settings
from sinks.conservation.findings import Amount, Balance, Findings, TotalDifference

_PARTITIONS_SHOWN_MAX = 100


def print_findings(found: Findings, settings: Settings) -> None:
    """Tables of everything found; the verdict comes last."""
    _print_balances(found)
    for balance in found.balances:
        if not balance.holds:
            _print_broken(balance, settings)
    if found.totals.shown:
        _print_totals(found)
    _print_raw_checks(found)
    moving = f", {found.totals.moving} moving ones not compared" if found.totals.moving else ""
    totals = f"{found.totals.compared} totals compared with raw history{moving}"
    if found.holds:
        console.print(f"conservation holds: {_offsets(found)} offsets accounted for, {totals}")
    else:
        missing = sum(balance.missing for balance in found.balances)
        console.print(
            f"conservation does NOT hold: {missing} of {_offsets(found)} offsets missing, "
            f"{found.totals.differing} wrong of {totals}",
            style="red",
        )


def _print_balances(found: Findings) -> None:
    names = (
        "offsets", "accepted", "duplicates", "conflicts", "rejected", "suppressed", "control",
        "lost", "missing", "in flight",
    )  # fmt: skip
    table = Table("partition", box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    shown = sorted(found.balances, key=lambda each: each.holds)[:_PARTITIONS_SHOWN_MAX]
    for each in shown:
        numbers = (
            each.offsets, each.accepted, each.duplicates, each.conflicts, each.rejected,
            each.suppressed, each.control, each.lost, each.missing, each.in_flight,
        )  # fmt: skip
        style = None if each.holds else "red"
        table.add_row(escape(_name(each)), *map(str, numbers), style=style)
    console.print(table)
    if len(found.balances) > len(shown):
        console.print(f"... and {len(found.balances) - len(shown)} more partitions, which hold")


def _print_broken(balance: Balance, settings: Settings) -> None:
    cut = balance.cut
    if balance.doubled:
        console.print(
            f"{escape(_name(balance))}: expected one accepted event a coordinate, got "
            f"{balance.doubled} more; two identities claim to be the same event. Look at "
            "usage_events for this stream and partition",
            style="red",
        )
    if not balance.missing:
        return
    ranges = ", ".join(f"{a}..{b - 1}" if b > a + 1 else str(a) for a, b in balance.missing_ranges)
    covered = balance.offsets - balance.missing
    console.print(
        f"{escape(_name(balance))}: expected {balance.offsets} offsets ({cut.first_offset} to "
        f"{cut.next_offset - 1}), got {covered}; missing {balance.missing}: {ranges}",
        style="red",
    )
    if balance.superseded:
        console.print(
            f"  {balance.superseded} of them hold a copy of an event that another coordinate "
            "holds first: `meterline verify --repair` records them as duplicates"
        )
    if balance.missing > balance.superseded:
        console.print(f"  {_remedy(balance, settings)}")


def _remedy(balance: Balance, settings: Settings) -> str:
    cut, first = balance.cut, balance.missing_ranges[0][0]
    place = f"{cut.stream}/{cut.partition}"
    if cut.stream.startswith("backfill:"):
        again = "run the same `meterline backfill` again"
    else:
        again = "start the workers again"
    return (
        "Raw history lacks them, so they have to be read again. Stop the workers of group "
        f"{settings.group_id}, run `meterline rewind {place} --to {first}`, then {again}; "
        "what is there already is not counted twice"
    )


def _print_totals(found: Findings) -> None:
    table = Table("total", "expected (raw)", "got (usage_totals)", "difference", pad_edge=False)
    for each in found.totals.shown:
        table.add_row(escape(_key(each)), _amount(each.expected), _amount(each.got), _gap(each))
    console.print(table)
    if found.totals.differing > len(found.totals.shown):
        console.print(f"... the first {len(found.totals.shown)} of {found.totals.differing}")
    console.print("`meterline verify --repair` writes wrong totals anew from raw history")


def _print_raw_checks(found: Findings) -> None:
    for each in found.distinct:
        console.print(
            f"{escape(each.customer_id)} {escape(each.meter)} {escape(each.group)} {each.part}: "
            f"expected {each.expected} distinct values, got {each.got} counted, difference "
            f"{each.got - each.expected}. Raw history says which event counted; report it",
            style="red",
        )
    for shared in found.shared:
        console.print(
            f"identity {shared.identity}: expected one customer, got "
            f"{escape(', '.join(shared.customers))}. Its subject's binding was changed after it "
            "was counted, and it was read again since",
            style="red",
        )
    for lost in found.lost:
        console.print(
            f"{escape(lost.stream)}/{lost.partition} offset {lost.offset} index {lost.index}: "
            f"expected the original of this copy in raw history ({escape(lost.customer_id)} "
            f"{escape(lost.meter)} {escape(lost.id)}), got none. Nobody counted it: send the event "
            "again, as `meterline backfill` does too",
            style="red",
        )


def _key(each: TotalDifference) -> str:
    place = f"{each.stream}/{each.partition}"
    return f"{each.customer_id} {each.meter} {each.group} {each.window_start}\n{place}"


def _amount(amount: Amount) -> str:
    if amount.is_nothing:
        return "nothing"
    times = f"{amount.first_occurred_at}\n{amount.last_occurred_at}"
    charged = f"{amount.included} included, {amount.overage} overage, charge {amount.charge}"
    rated_by = f"card {amount.card}, part {amount.part_start}, period {amount.period_start}"
    counted = f"{amount.quantity} in {amount.events} events, {amount.late_events} late"
    return f"{counted}\n{times}\n{charged}\n{rated_by}"


def _gap(each: TotalDifference) -> str:
    quantity = each.quantity_difference
    events = each.got.events - each.expected.events
    return f"{quantity:+f}\n{events:+d} events\ncharge {each.charge_difference:+f}"


def _name(balance: Balance) -> str:
    return f"{balance.cut.stream}/{balance.cut.partition}"


def _offsets(found: Findings) -> int:
    return sum(balance.offsets for balance in found.balances)
