"""What `verify` finds: the balance of every partition, and every number that is not right."""

from dataclasses import dataclass, field
from decimal import Context, Decimal

_EXACT = Context(prec=80)


@dataclass(frozen=True, slots=True)
class Cut:
    """How far a partition is durable: offsets `first_offset` (inclusive) .. `next_offset`."""

    stream: str
    partition: int
    first_offset: int
    next_offset: int


@dataclass(frozen=True, slots=True)
class Balance:
    """What became of the offsets of one partition, up to its cut.

    The six outcomes count events (a message may be an array of them), each once; `control` counts
    offsets without a record, `lost` those that an operator accepted as lost. `missing` counts
    offsets that nothing accounts for, of which
    `missing_ranges` are the first, half-open. `superseded` of the missing hold a raw row whose
    identity another coordinate holds first: a duplicate that nobody recorded. `doubled` counts raw
    rows beyond one a coordinate. `in_flight` counts offsets at or beyond the cut that are written
    already: a worker is on its way there, or will come back to them.
    """

    cut: Cut
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    suppressed: int = 0
    control: int = 0
    lost: int = 0
    missing: int = 0
    doubled: int = 0
    superseded: int = 0
    in_flight: int = 0
    missing_ranges: tuple[tuple[int, int], ...] = ()

    @property
    def offsets(self) -> int:
        """Offsets consumed."""
        return self.cut.next_offset - self.cut.first_offset

    @property
    def holds(self) -> bool:
        """Every offset is accounted for, and no coordinate twice."""
        return not self.missing and not self.doubled


@dataclass(frozen=True, slots=True)
class Amount:
    """One window's values, and what rates it; numbers as text, exactly; times are UTC."""

    quantity: str = "0"
    events: int = 0
    late_events: int = 0
    first_occurred_at: str = ""
    last_occurred_at: str = ""
    included: str = "0"
    overage: str = "0"
    charge: str = "0"
    card: str = "0"
    period_start: str = ""
    part_start: str = ""

    @property
    def is_nothing(self) -> bool:
        """No event, and nothing that an event would leave."""
        numbers = (self.quantity, self.included, self.overage, self.charge)
        return not (self.events or self.late_events) and set(numbers) == {"0"}


@dataclass(frozen=True, slots=True)
class TotalDifference:
    """A window whose total is not what raw history adds up to."""

    customer_id: str
    meter: str
    group: str
    window_start: str
    stream: str
    partition: int
    aggregation: str
    expected: Amount
    got: Amount

    @property
    def quantity_difference(self) -> Decimal:
        """What is counted too much, or (negative) too little."""
        return _EXACT.subtract(Decimal(self.got.quantity), Decimal(self.expected.quantity))

    @property
    def charge_difference(self) -> Decimal:
        """What is charged too much, or (negative) too little; before any rounding."""
        return _EXACT.subtract(Decimal(self.got.charge), Decimal(self.expected.charge))


@dataclass(slots=True)
class TotalsResult:
    """`compared` windows were looked at; `differing` of them are wrong, of which some are shown.

    `moving` windows changed while they were read, and were not compared.
    """

    compared: int = 0
    differing: int = 0
    moving: int = 0
    shown: list[TotalDifference] = field(default_factory=list)
    partitions: set[tuple[str, int]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class DistinctDifference:
    """A (customer, meter, group, part of a period) whose values are not counted once each."""

    customer_id: str
    meter: str
    group: str
    part: str
    expected: int
    got: int


@dataclass(frozen=True, slots=True)
class SharedIdentity:
    """An identity that raw history holds under several customers (a binding was changed)."""

    identity: str
    customers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LostOriginal:
    """A recorded duplicate of an event that raw history does not hold: nobody counted it."""

    stream: str
    partition: int
    offset: int
    index: int
    customer_id: str
    meter: str
    id: str
    identity: str


@dataclass(slots=True)
class Findings:
    """Everything that one verification found; lists hold the first ones, counts hold all."""

    balances: list[Balance] = field(default_factory=list)
    totals: TotalsResult = field(default_factory=TotalsResult)
    distinct_differing: int = 0
    distinct: list[DistinctDifference] = field(default_factory=list)
    identities_shared: int = 0
    shared: list[SharedIdentity] = field(default_factory=list)
    originals_lost: int = 0
    lost: list[LostOriginal] = field(default_factory=list)

    @property
    def incomplete(self) -> set[tuple[str, int]]:
        """Partitions of which raw history lacks offsets, so that totals cannot be made from it.

        A repair would mark what is missing as absorbed, and undo a rewind that is under way.
        """
        return {
            (each.cut.stream, each.cut.partition)
            for each in self.balances
            if each.missing > each.superseded
        }

    @property
    def holds(self) -> bool:
        """The law of conservation holds in all its parts."""
        return (
            all(balance.holds for balance in self.balances)
            and not self.totals.differing
            and not self.distinct_differing
            and not self.identities_shared
            and not self.originals_lost
        )
