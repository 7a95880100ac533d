"""The judgement of a window against the same window of earlier weeks, as SQL over arrays.

It reads observations: `pair`, `at` (end of the window), `scale` (its hours), `q` and `n` (quantity
and events so far), `refs_q` and `refs_n` (the same of earlier weeks, the newest first, over the
same elapsed fraction), `trends` (how much usage grew since each of them, without the last day),
`is_level` and `refs_week` (whole weeks before). What it says, in this order:

1. A pair with fewer than `weeks_min` weeks of history is not judged (cold start).
2. What is *usual* is the median of the references, as they were and as they would be with the
   trend. A window breaches only where it does against both: a customer who grows, or a reference
   with an outlier of its own, is no anomaly.
3. How far usage strays is the greater part of the references' own spread (of logarithms), pulled
   towards what counts of that size show anyway, because eight values say little about a spread.
4. spike: above the usual by `up` and by `z` spreads, and above all references but one.
5. drop: below the usual by `down` and by `z` spreads, below all references but one, and with so
   many events expected that chance does not explain what is missing. silence: a drop to nothing.
6. Where the window was mostly empty before (zero baseline), usage is a spike only if it is more
   than a spike of a whole week would be; and where all weeks were empty, only where the meter
   states a `minimum`, from that on.
7. A change that is smaller than the meter's `minimum` is none.

A breach that is open stays open while the window is still beyond `hold` of both limits.
"""

#: Least and greatest of 8 references that may be out of line without hiding a breach.
_SPREAD = """
    sqrt((length({x}) * pow(1.4826 * arrayReduce('median', arrayMap(v -> abs(v - {m}), {x})), 2)
        + 6 * (0.015 + 2 / greatest(usual_n, 0.1))) / (length({x}) + 6))
"""

SCORE = """
SELECT
    at, pair, scale, q, n, usual, usual_n, raw, adjusted, spread, is_empty, direction,
    if(direction > 0, log(greatest(q, 1e-30) / raw_or_adjusted_high),
        log(raw_or_adjusted_low / (q + unit))) / spread AS strays
FROM obs
"""
