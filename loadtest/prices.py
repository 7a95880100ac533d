"""Prices of a load, and what they come to: an own reading of the price book's rules, in fractions.

Every tenth customer has no subscription. The others have one of three plans, in calendar months
UTC; the prices of one of them change at `changed_at`, in the middle of a month and of the load.
"""

import csv
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from loadtest.meters import METER_BY_NAME, Aggregation
from loadtest.outcome import Total, TotalKey

_LONG_AGO = "2020-01-01T00:00:00Z"
_PLANS = ("starter", "business", "enterprise")
_UNSUBSCRIBED_EVERY = 10
_TEXT = """\
plans:
- key: starter
  currency: USD
  prorate_allowance: false
  versions:
  - version: 1
    effective_from: {long_ago}
    charges:
    - {{meter: api_requests, allowance: "2500", price: {{model: per_unit, unit_price: "0.001"}}}}
    - {{meter: documents_processed, price: {{model: package, package_size: "10",
        package_price: "0.25"}}}}
  - version: 2
    effective_from: {changed_at}
    charges:
    - {{meter: api_requests, allowance: "3000", price: {{model: per_unit, unit_price: "0.0008"}}}}
    - {{meter: documents_processed, price: {{model: package, package_size: "10",
        package_price: "0.25"}}}}
- key: business
  currency: EUR
  versions:
  - version: 1
    effective_from: {long_ago}
    rounding: half_up
    charges:
    - meter: api_requests
      price: {{model: graduated, tiers: [{{up_to: "500", unit_price: "0"}},
        {{up_to: "1500", unit_price: "0.003", flat_fee: "1"}},
        {{up_to: "4000", unit_price: "0.0021"}}, {{up_to: "8000", unit_price: "0.0017"}},
        {{unit_price: "0.0009"}}]}}
    - {{meter: storage_gb, price: {{model: stairstep, tiers: [{{up_to: "300", flat_fee: "9"}},
        {{up_to: "700", flat_fee: "19"}}, {{flat_fee: "29"}}]}}}}
    - {{meter: agent_minutes, allowance: "1.5", minimum: "0.75", cap: "12",
        price: {{model: volume, tiers: [{{up_to: "20", unit_price: "0.21"}},
        {{unit_price: "0.19"}}]}}}}
- key: enterprise
  currency: USD
  versions:
  - version: 1
    effective_from: {long_ago}
    base_fee: "99"
    commit: "150"
    charges:
    - meter: api_requests
      price: {{model: dimensional, dimensions: [region],
        prices: [{{values: {{region: eu}}, price: {{model: per_unit, unit_price: "0.002"}}}}],
        default: {{model: per_unit, unit_price: "0.0015"}}}}
    - {{meter: workflow_runs, commit: {{units: "40", base_fee: "20"}},
        price: {{model: per_unit, unit_price: "0.75"}}}}
    - {{meter: seats, price: {{model: per_unit, unit_price: "12.5"}}}}
    - {{meter: credits, price: {{model: per_unit, unit_price: "0.01"}}}}
"""

Price = Callable[[Fraction], Fraction]


class ChargeKey(NamedTuple):
    """Names one charge; `period_start` is Unix seconds UTC, `group` canonical JSON."""

    customer_id: str
    meter: str
    group: str
    period_start: int


class Charge(NamedTuple):
    """All parts of one billing period together; exact."""

    quantity: Fraction
    included: Fraction
    overage: Fraction
    charge: Fraction


def plan_of(number: int) -> str | None:
    """The plan of a customer, by index."""
    return None if number % _UNSUBSCRIBED_EVERY == 0 else _PLANS[number % len(_PLANS)]


def write_prices(folder: Path, names: Sequence[str], *, changed_at: datetime) -> None:
    """Write `plans.yaml` and `subscriptions.csv` beside the meters."""
    text = _TEXT.format(long_ago=_LONG_AGO, changed_at=f"{changed_at:%Y-%m-%dT%H:%M:%SZ}")
    (folder / "plans.yaml").write_text(text, encoding="utf-8")
    with (folder / "subscriptions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "customer_id", "plan", "from"])
        for number, name in enumerate(names):
            plan = plan_of(number)
            if plan is not None:
                writer.writerow([f"sub-{number:06d}", name, plan, _LONG_AGO])


def expected_charges(
    totals: Mapping[TotalKey, Total], names: Sequence[str], *, changed_at: datetime
) -> dict[ChargeKey, Charge]:
    """What the totals of whole hours come to; `changed_at` is at the beginning of one."""
    plans = {name: plan_of(number) for number, name in enumerate(names)}
    parts: dict[ChargeKey, tuple[list[tuple[int, Total]], list[tuple[int, Total]]]]
    parts = defaultdict(lambda: ([], []))
    changed_s = int(changed_at.timestamp())
    for key, total in totals.items():
        period = _month(key.window_start)
        name = ChargeKey(key.customer_id, key.meter, key.group, period)
        # only one plan and meter is split by the change: the other charges are the same after it
        is_split = (plans.get(key.customer_id), key.meter) == ("starter", "api_requests")
        is_later = is_split and period < changed_s <= key.window_start
        parts[name][is_later].append((key.window_start, total))
    found = {}
    for name, (early, late) in parts.items():
        whole = METER_BY_NAME[name.meter].aggregation
        quantities = [_folded(early, whole), _folded(late, whole)]
        plan = plans.get(name.customer_id)
        found[name] = _charge(plan, name, quantities=quantities, changed_s=changed_s)
    return found


def _charge(
    plan: str | None, name: ChargeKey, *, quantities: Sequence[Fraction], changed_s: int
) -> Charge:
    first, second = quantities
    quantity = first + second
    nothing = Fraction(0)
    if plan == "starter" and name.meter == "api_requests":
        is_new = name.period_start >= changed_s
        own = min(max(first, nothing), Fraction(3000 if is_new else 2500))
        price = Fraction("0.0008" if is_new else "0.001")
        left = max(Fraction(3000) - own, nothing)
        more = min(max(second, nothing), left)
        over, over_later = max(first, nothing) - own, max(second, nothing) - more
        cost = over * price + over_later * Fraction("0.0008")
        return Charge(quantity, own + more, over + over_later, cost)
    covered, charge = _TERMS.get((plan or "", name.meter), (None, None))
    if covered is None or charge is None:
        return Charge(quantity, nothing, nothing, nothing)
    used = max(quantity, nothing)
    overage = max(used - covered, nothing)
    return Charge(quantity, used - overage, overage, charge(overage, name.group))


def _folded(windows: Sequence[tuple[int, Total]], how: Aggregation) -> Fraction:
    values = [Fraction(total.quantity) for _, total in sorted(windows)]
    if not values:
        return Fraction(0)
    if how is Aggregation.MAX:
        return max(values)
    return values[-1] if how is Aggregation.LATEST else sum(values, Fraction(0))


def _month(second: int) -> int:
    moment = datetime.fromtimestamp(second, UTC)
    return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp())


def _packages(x: Fraction, _group: str) -> Fraction:
    return -(-x // 10) * Fraction("0.25")


def _graduated(x: Fraction, _group: str) -> Fraction:
    tiers = ((500, "0"), (1000, "0.003"), (2500, "0.0021"), (4000, "0.0017"), (None, "0.0009"))
    cost = Fraction(1 if x > tiers[0][0] else 0)
    for size, price in tiers:
        part = x if size is None else min(x, Fraction(size))
        cost += part * Fraction(price)
        x -= part
    return cost


_STEPS = ((300, Fraction(9)), (700, Fraction(19)), (None, Fraction(29)))
_VOLUME_BORDER = 20


def _steps(x: Fraction, _group: str) -> Fraction:
    if not x:
        return Fraction(0)
    return next(fee for end, fee in _STEPS if end is None or x <= end)


def _volume(x: Fraction, _group: str) -> Fraction:
    cost = x * Fraction("0.21" if x <= _VOLUME_BORDER else "0.19")
    return min(max(cost, Fraction("0.75")), Fraction(12))


def _regional(x: Fraction, group: str) -> Fraction:
    return x * Fraction("0.002" if group == '{"region":"eu"}' else "0.0015")


#: Units that no model charges, and what the rest costs, by plan and meter.
_TERMS: dict[tuple[str, str], tuple[Fraction, Callable[[Fraction, str], Fraction]]] = {
    ("starter", "documents_processed"): (Fraction(0), _packages),
    ("business", "api_requests"): (Fraction(0), _graduated),
    ("business", "storage_gb"): (Fraction(0), _steps),
    ("business", "agent_minutes"): (Fraction("1.5"), _volume),
    ("enterprise", "api_requests"): (Fraction(0), _regional),
    ("enterprise", "workflow_runs"): (
        Fraction(40), lambda x, _group: 20 + x * Fraction("0.75"),
    ),
    ("enterprise", "seats"): (Fraction(0), lambda x, _group: x * Fraction("12.5")),
    ("enterprise", "credits"): (Fraction(0), lambda x, _group: x * Fraction("0.01")),
}  # fmt: skip

#: By plan: what is due for meters that were not used, the commit, and the base fee.
DUE_UNUSED = {
    "business": {"agent_minutes": Fraction("0.75")},
    "enterprise": {"workflow_runs": Fraction(20)},
}
COMMIT = {"enterprise": Fraction(150)}
FEE = {"enterprise": Fraction(99)}
