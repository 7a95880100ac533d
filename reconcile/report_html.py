"""The report of a run as one HTML file: totals, plots, exceptions, and how they were reckoned."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from reconcile.bar_chart import Bar, bar_chart
from reconcile.report_style import STYLE
from reconcile.result import Comparison, Reconciliation
from reconcile.variance import Check, Finding, money_text, text_of

#: Exceptions that are listed; all of them are in the CSV file and in ClickHouse.
ROWS_MAX = 500
_TOP = 12
_BARS_MAX = 12
_BOOKS = {
    Check.TOTALS: "Live totals against raw history",
    Check.LINES: "Invoice lines against raw history",
    Check.EXPORT: "Export against invoice lines",
    Check.LEDGER: "Ledger postings against invoice lines",
}
_METHOD = {
    "totals": "Every total is raw history added up again, by the meter's aggregation.",
    "lines": "Every invoice line is derived again from the events below its cut, and charged by "
    "its own rate card in exact whole numbers. What came later is late until it is adjusted.",
    "export": "Rows are matched by line id, else by customer, meter, group, period and price "
    "version; rows that split a line are added up first.",
    "ledger": "Postings are compared as sums by customer, account and currency.",
    "amounts": "An amount is the later book less the earlier one: above zero, the later book has "
    "too much. A line's difference is split into quantity, price version, rounding and the rest, "
    "so that the classes add up to all of it.",
    "tolerance": "Findings within the tolerance of their meter are listed and summed, and do not "
    "make the run fail.",
}


def write_html(path: Path, run: Reconciliation) -> None:
    """Write the report; it needs nothing beside itself."""
    path.write_text(html_of(run), encoding="utf-8")


def html_of(run: Reconciliation) -> str:
    """The document. Everything that came from outside is escaped."""
    title = f"Reconciliation of {run.period}"
    parts = [
        _header(run, title), _tiles(run), _notes(run), _totals(run), *_charts(run),
        _exceptions(run), _method(run),
    ]  # fmt: skip
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(filter(None, parts))
        + "\n</main></body></html>\n"
    )


def _header(run: Reconciliation, title: str) -> str:
    count = len(run.open)
    verdict = ("ok", "All books agree") if not count else ("bad", f"{count:,} to look at")
    return (
        f"<header><div><h1>{escape(title)}</h1>"
        f'<p class="soft">{run.started_at:%Y-%m-%d %H:%M:%S} UTC &middot; run '
        f'<span class="mono">{escape(run.run_id)}</span></p></div>'
        f'<div class="verdict {verdict[0]}">{verdict[1]}</div></header>'
    )


def _tiles(run: Reconciliation) -> str:
    tolerated = len(run.findings) - len(run.open)
    tiles = [
        _tile("Findings", f"{len(run.findings):,}", f"{tolerated:,} within tolerance"),
        _tile("Invoice lines", f"{run.counts.get('invoice_lines', 0):,}",
              f"{run.counts.get('usage_lines', 0):,} lines of usage"),
    ]  # fmt: skip
    for each in run.comparisons:
        if each.check in (Check.LINES, Check.EXPORT) and each.currency:
            name = "Invoiced" if each.check is Check.LINES else "Exported"
            off = f"{_signed(each.difference)} against {_grouped(each.expected)}"
            tiles.append(_tile(f"{name}, {each.currency}", _grouped(each.got), off))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _tile(name: str, number: str, below: str) -> str:
    return (
        f'<div class="tile"><div class="name">{escape(name)}</div>'
        f'<div class="number">{escape(number)}</div>'
        f'<div class="soft">{escape(below)}</div></div>'
    )


def _notes(run: Reconciliation) -> str:
    if not run.notes:
        return ""
    return f"<section><h2>Notes</h2>{''.join(f'<p>{escape(x)}</p>' for x in run.notes)}</section>"


def _totals(run: Reconciliation) -> str:
    rows = [
        (_BOOKS[each.check], each.currency, *_amounts(each), str(_count(run, each)))
        for each in run.comparisons
    ]
    head = ("books", "currency", "#expected", "#got", "#difference", "#unexplained", "#findings")
    table = _table(head, rows) if rows else '<p class="soft">Nothing that is money differs.</p>'
    return f"<section><h2>Totals</h2>{table}</section>"


def _amounts(each: Comparison) -> tuple[str, ...]:
    sides = ("", "") if each.check is Check.TOTALS else (
        _grouped(each.expected), _grouped(each.got))  # fmt: skip
    return (*sides, _signed(each.difference), money_text(each.unexplained))


def _count(run: Reconciliation, each: Comparison) -> int:
    key = (each.check, each.currency)
    return sum((found.check, found.currency) == key for found in run.findings)


def _charts(run: Reconciliation) -> list[str]:
    found = []
    for currency in sorted({each.currency for each in run.findings if each.amount}):
        own = [each for each in run.findings if each.currency == currency and each.amount]
        by_class: dict[str, int] = {}
        by_customer: dict[str, int] = {}
        for each in own:
            several = f", {each.check}" if len(run.checks) > 1 else ""
            name = f"{each.variance}".replace("_", " ") + several
            by_class[name] = by_class.get(name, 0) + each.amount
            customer = each.subject.customer_id
            by_customer[customer] = by_customer.get(customer, 0) + each.amount
        found.append(
            '<div class="pair">'
            + _chart(f"Variance by class, {currency}", list(by_class.items()), currency)
            + _chart(f"Top customers, {currency}", _largest(by_customer), currency)
            + "</div>"
        )
    return found


def _chart(title: str, amounts: Sequence[tuple[str, int]], currency: str) -> str:
    ordered = sorted(amounts, key=lambda pair: -abs(pair[1]))
    left_out = len(ordered[_BARS_MAX:])
    bars = [
        Bar(name, value, f"{_signed(value)}", "over" if value > 0 else "under")
        for name, value in ordered[:_BARS_MAX]
    ]
    more = f"; {left_out} smaller ones are left out" if left_out else ""
    side = "right: the later book has too much, left: too little"
    note = f'<p class="soft">{currency}; {side}{more}</p>'
    return f"<section><h2>{escape(title)}</h2>{note}{bar_chart(bars, title=title)}</section>"


def _largest(amounts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(amounts.items(), key=lambda pair: (-abs(pair[1]), pair[0]))[:_TOP]


def _exceptions(run: Reconciliation) -> str:
    if not run.findings:
        return '<section><h2>Exceptions</h2><p class="soft">None.</p></section>'
    order = sorted(
        run.findings, key=lambda each: (each.tolerated, -each.severity.rank, -abs(each.amount))
    )
    rows = "".join(map(_exception, order[:ROWS_MAX]))
    more = len(order) - ROWS_MAX
    note = f'<p class="soft">The {ROWS_MAX} that matter most; {more} more.</p>' if more > 0 else ""
    head = _head(
        ("severity", "class", "books", "customer", "meter", "#quantity", "#amount", "reason")
    )
    return (
        f'<section class="long"><h2>Exceptions</h2>{note}<div class="scroll"><table>{head}'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _exception(each: Finding) -> str:
    about = each.subject
    severity = "tolerated" if each.tolerated else str(each.severity)
    quantities = ""
    if each.expected_quantity != each.got_quantity and each.got_quantity is not None:
        quantities = f"{text_of(each.expected_quantity) or '0'} → {text_of(each.got_quantity)}"
    place = " ".join(filter(None, (about.line_id, about.reference)))
    return (
        f'<tr class="{severity}"><td><span class="tag {severity}">{severity}</span></td>'
        f"<td>{escape(str(each.variance).replace('_', ' '))}</td><td>{each.check}</td>"
        f'<td class="id">{escape(about.customer_id)}</td>'
        f'<td class="id">{escape(about.meter or about.kind)}'
        f'<div class="soft mono">{escape("" if about.group == "{}" else about.group)}</div></td>'
        f'<td class="number">{escape(quantities)}</td>'
        f'<td class="number">{_signed(each.amount)} {escape(each.currency)}</td>'
        f'<td class="reason">{escape(each.reason)}'
        f'<div class="soft mono">{escape(place)}</div></td></tr>'
    )


def _method(run: Reconciliation) -> str:
    terms = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in _METHOD.items())
    inputs = "".join(
        f"<p>{escape(each.role)}: {escape(each.name)}, {each.rows:,} rows, "
        f'<span class="mono">sha256 {each.sha256}</span></p>'
        for each in run.inputs
    )
    counts = "".join(
        f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{count:,}</dd>"
        for name, count in run.counts.items()
    )
    return (
        f"<section><h2>How this was reckoned</h2><dl>{terms}</dl></section>"
        f"<section><h2>What was read</h2>{inputs}<dl>{counts}</dl></section>"
    )


def _table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    names = list(head)
    kinds = ['class="number"' if name.startswith("#") else "" for name in names]
    body = "".join(
        "<tr>"
        + "".join(f"<td {kind}>{escape(x)}</td>" for kind, x in zip(kinds, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table>{_head(names)}<tbody>{body}</tbody></table></div>'


def _head(names: Iterable[str]) -> str:
    cells = "".join(
        f'<th class="{"number" if name.startswith("#") else ""}">{escape(name.strip("#"))}</th>'
        for name in names
    )
    return f"<thead><tr>{cells}</tr></thead>"


def _grouped(amount: int) -> str:
    whole, _, fraction = money_text(amount).partition(".")
    return f"{int(whole):,}.{fraction}" if whole != "-0" else money_text(amount)


def _signed(amount: int) -> str:
    return f"+{_grouped(amount)}" if amount > 0 else _grouped(amount)
