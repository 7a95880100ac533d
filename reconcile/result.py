"""All that one reconciliation came to: what was read, compared and found."""

from dataclasses import dataclass, field
from datetime import datetime

from reconcile.variance import Check, ClassSum, Finding, class_sums, explained


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that was read: what for, its name, the SHA-256 of its bytes, rows that were used."""

    role: str
    name: str
    sha256: str
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both books of a check in one currency; amounts are 10^-12.

    `difference` is what the later book has more; `unexplained` is what no finding explains of it,
    and never anything but 0.
    """

    check: Check
    currency: str
    expected: int
    got: int
    explained: int

    @property
    def difference(self) -> int:
        """The later book less the earlier one."""
        return self.got - self.expected

    @property
    def unexplained(self) -> int:
        """What findings do not add up to."""
        return self.difference - self.explained


@dataclass(slots=True)
class Reconciliation:
    """A run. `notes` say which checks were left out, and why; `cut_runs` are the closes judged."""

    run_id: str
    period: str
    started_at: datetime
    findings: list[Finding] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    inputs: list[InputFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cut_runs: list[str] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    @property
    def sums(self) -> list[ClassSum]:
        """Findings by check, class and currency."""
        return class_sums(self.findings)

    @property
    def open(self) -> list[Finding]:
        """Findings that no tolerance lets pass."""
        return [each for each in self.findings if not each.tolerated]

    @property
    def exit_code(self) -> int:
        """0: everything agrees, or within tolerance; 1: it does not."""
        return 1 if self.open else 0


def compared(
    check: Check, findings: list[Finding], *, expected: dict[str, int], got: dict[str, int]
) -> list[Comparison]:
    """One comparison for each currency. Raises `AssertionError` if anything is unexplained."""
    sums = explained(findings)
    currencies = sorted(
        {*expected, *got, *(currency for each, currency in sums if each is check)}
    )  # fmt: skip
    rows = [
        Comparison(
            check, currency, expected.get(currency, 0), got.get(currency, 0),
            sums.get((check, currency), 0),
        )
        for currency in currencies
    ]  # fmt: skip
    wrong = [each for each in rows if each.unexplained]
    assert not wrong, f"findings have to add up to the whole difference, got {wrong}"
    return [each for each in rows if each.currency or each.expected or each.got]
