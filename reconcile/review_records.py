"""Review records of a run: one for every customer and meter of the period.

`quantity` is what is billed (by the export, where one was compared; else by the invoice; else what
live totals will bill) with what was adjusted since, `expected` what raw history says; `delta` is
the difference. What people decided stays: see `_carried`.
"""

import hashlib
from datetime import datetime

import polars as pl
from clickhouse_connect.driver.client import Client

from reconcile.part import Part
from reconcile.policy import Policy
from reconcile.query import frame
from reconcile.review_rules import AGREED, AUTO_RATED, QUEUE, Case, Verdict, judge

KEY = ["customer_id", "meter"]
#: Columns of the log in its order, without those of a step.
FIGURES = ("expected", "quantity", "delta", "invoice_impact")
#: Only of keys that a person ever acted on: a month has many runs, and all of them are kept.
#: `person` is whom a person named last as the one who reviews it, "" for nobody.
_DECIDED = """
SELECT newest.*, person FROM
(
    SELECT customer_id, toString(meter) AS meter, toString(status) AS status,
           toString(severity) AS severity, invoice_hold, reason, toString(action) AS action,
           actor, note, toDecimal128(expected, 12) AS expected,
           toDecimal128(quantity, 12) AS quantity, toDecimal128(delta, 12) AS delta,
           toDecimal128(invoice_impact, 12) AS invoice_impact
    FROM
    (
        SELECT * FROM review_records_log
        WHERE period = %(period)s AND {customers} AND (customer_id, meter) IN
            (SELECT customer_id, meter FROM review_records_log
             WHERE period = %(period)s AND {customers} AND action != 'reconciled')
          AND (run_id = '' OR run_id IN (SELECT run_id FROM reconciliation_runs))
        ORDER BY recorded_at DESC, action = 'reconciled', run_id DESC
        LIMIT 1 BY customer_id, meter
    )
) AS newest
INNER JOIN
(
    SELECT customer_id, toString(meter) AS meter,
           argMaxIf(reviewer, recorded_at, reviewer NOT IN %(rules)s) AS person
    FROM review_records_log
    WHERE period = %(period)s AND {customers} AND run_id = ''
    GROUP BY customer_id, meter
) AS people USING (customer_id, meter)
"""
_INT = pl.Int128


def record_id(period: str, customer_id: str, meter: str) -> str:
    """The same for the same record, always: a hash of length-prefixed texts."""
    text = f"{len(period)}:{period}{len(customer_id)}:{customer_id}{len(meter)}:{meter}"
    return f"use_{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def review_rows(
    client: Client, part: Part, *, policy: Policy, run_id: str, now: datetime
) -> pl.DataFrame:
    """Rows of `review_records_log` for a run; `now` is before people's steps are read here."""
    records = _figures(part, policy)
    records = _judged(records, part, policy)
    period, customers = part.period.name, part.period.customers
    decided = _DECIDED.format(customers=customers.condition)
    bound = {"period": period, "rules": ["", AUTO_RATED, QUEUE], **customers.parameters}
    records = _carried(records, frame(client, decided, bound))
    ids = [record_id(period, *key) for key in records.select(KEY).iter_rows()]
    return records.with_columns(
        pl.lit(period).alias("period"), pl.Series("id", ids, dtype=pl.String),
        pl.lit(run_id).alias("run_id"),
        pl.lit(now).dt.cast_time_unit("us").alias("recorded_at"),
    )  # fmt: skip


def _figures(part: Part, policy: Policy) -> pl.DataFrame:
    """What was used and billed, by customer and meter."""
    usage = part.usage.group_by(KEY).agg(
        pl.sum("q_once").alias("expected"), pl.max("received_at"),
        pl.col("source", "batch_id", "schema_version", "subject").sort_by("received_at").last(),
    )  # fmt: skip
    lines = part.billed.lines.filter(pl.col("kind") == "charge").group_by(KEY).agg(
        pl.sum("quantity").alias("invoiced"), pl.sum("amount"), pl.last("plan"),
        pl.first("currency"),
    )  # fmt: skip
    adjusted = part.billed.adjustments.filter(
        (pl.col("kind") == "charge") & (pl.col("adjustment_kind") != "credit")
    ).group_by(KEY).agg(
        pl.sum("quantity").alias("adjusted"), pl.sum("amount").alias("adjusted_amount"),
        pl.last("plan").alias("adjusted_plan"), pl.first("currency").alias("adjusted_currency"),
    )  # fmt: skip
    found = usage.join(lines, on=KEY, how="full", coalesce=True)
    found = found.join(adjusted, on=KEY, how="full", coalesce=True)
    rejected = pl.DataFrame(
        {
            "customer_id": [each.customer_id for each in part.rejected],
            "meter": [each.meter for each in part.rejected],
        },
        schema={"customer_id": pl.String, "meter": pl.String},
    ).unique()
    found = found.join(rejected, on=KEY, how="full", coalesce=True)
    about = [(each.subject.customer_id, each.subject.meter) for each in part.findings
             if each.subject.meter]  # fmt: skip
    others = pl.DataFrame(
        about, schema={"customer_id": pl.String, "meter": pl.String}, orient="row"
    )
    found = found.join(others.unique(), on=KEY, how="full", coalesce=True)
    billed = pl.col("invoiced")
    if part.export is not None and part.export.quantities.height:
        found = found.join(
            part.export.quantities.rename({"quantity": "exported"}), on=KEY, how="left"
        )
        billed = pl.coalesce("exported", "invoiced")
    otherwise = pl.lit(0, _INT) if part.is_closed else pl.col("expected")
    plans = {key[0]: each.plan for key, each in part.agreements.items()}
    names = dict(policy.customers)
    added = (pl.col(name).fill_null(0).cast(_INT) for name in ("adjusted", "adjusted_amount"))
    more_quantity, more_amount = added
    quantity = pl.coalesce(billed, otherwise, pl.lit(0, _INT)) + more_quantity
    impact = pl.col("amount").fill_null(0).cast(_INT) + more_amount
    zero = pl.lit(0, _INT)
    return found.with_columns(pl.col("expected").fill_null(0).cast(_INT)).select(
        *KEY,
        pl.col("subject").fill_null("").alias("workspace_id"),
        pl.col("customer_id").replace(names).alias("customer_name"),
        pl.coalesce("plan", "adjusted_plan", _of_plans(found, plans), pl.lit("")).alias("plan"),
        pl.col("meter").replace(dict(policy.products)).alias("product"),
        pl.coalesce("currency", "adjusted_currency", pl.lit("")).alias("currency"),
        "expected", quantity.alias("quantity"),
        (quantity - pl.col("expected")).alias("delta"),
        pl.when(quantity != 0).then(
            impact * 1_000_000 // pl.when(quantity != 0).then(quantity // 1_000_000)
        ).otherwise(zero).fill_null(0).alias("unit_price"),
        impact.alias("invoice_impact"),
        *(pl.col(name).fill_null("") for name in ("source", "batch_id", "schema_version")),
        pl.from_epoch(pl.col("received_at").fill_null(0)).alias("received_at"),
    ).sort(KEY)  # fmt: skip


def _of_plans(found: pl.DataFrame, plans: dict[str, str]) -> pl.Series:
    return pl.Series([plans.get(customer) for customer in found["customer_id"]], dtype=pl.String)


def _judged(records: pl.DataFrame, part: Part, policy: Policy) -> pl.DataFrame:
    cases: dict[tuple[str, str], Case] = {}
    for each in part.findings:
        key = (each.subject.customer_id, each.subject.meter)
        cases.setdefault(key, Case()).findings.append(each)
    for event in part.rejected:
        cases.setdefault((event.customer_id, event.meter), Case()).rejected.append(event)
    credits_ = part.billed.adjustments.filter(pl.col("amount") < 0).select(KEY).unique()
    for customer, meter in credits_.iter_rows():
        cases.setdefault((customer, meter), Case()).credited = True
    verdicts: dict[tuple[str, str], Verdict] = {
        key: judge(case, policy) for key, case in cases.items()
    }
    found = [verdicts.get((c, m), AGREED) for c, m in records.select(KEY).iter_rows()]
    impacts = pl.Series("stake", [each.impact for each in found], dtype=_INT)
    return records.with_columns(
        pl.Series("status", [str(each.status) for each in found], dtype=pl.String),
        pl.Series("severity", [str(each.severity) for each in found], dtype=pl.String),
        pl.Series("invoice_hold", [each.invoice_hold for each in found], dtype=pl.Boolean),
        pl.Series("reason", [each.reason for each in found], dtype=pl.String),
        pl.Series("reviewer", [each.reviewer for each in found], dtype=pl.String),
        pl.coalesce(impacts, "invoice_impact").alias("invoice_impact"),
        pl.lit("reconciled").alias("action"), pl.lit("").alias("actor"), pl.lit("").alias("note"),
    )  # fmt: skip


def _carried(records: pl.DataFrame, decided: pl.DataFrame) -> pl.DataFrame:
    """Keep what people decided, as long as it is about these figures.

    Where all figures are as they were when a person acted, status, severity, hold and reason stay
    the person's. Where one changed, the rules speak again, and go on to in later runs; only who
    reviews it stays.
    """
    if decided.is_empty():
        return records
    joined = records.join(decided, on=KEY, how="left", suffix="_kept", maintain_order="left")
    same = pl.all_horizontal(pl.col(name) == pl.col(f"{name}_kept") for name in FIGURES)
    same = same.fill_null(value=False) & (pl.col("action_kept") != "reconciled")
    kept = ("status", "severity", "invoice_hold", "reason", "action", "actor", "note")
    return joined.with_columns(
        *(pl.when(same).then(pl.col(f"{name}_kept")).otherwise(pl.col(name)).alias(name)
          for name in kept),
        pl.coalesce(pl.when(pl.col("person") != "").then("person"), "reviewer").alias("reviewer"),
    ).select(records.columns)  # fmt: skip
