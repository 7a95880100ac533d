-- The prices that rows of usage name: one row for each rate card, whole and never changed. A card
-- is written before the rows that name it. The number is a hash of all other columns, so a replay
-- writes the same row, and a join on it alone finds one. Card 0, usage without a price, has no row.
-- For overage above rows_above[i], up to rows_above[i + 1], the charge is rows_charge[i]
-- + rows_unit_price[i] * beyond + rows_package_price[i] * ceil(beyond / rows_package_units[i]),
-- where beyond is overage - rows_above[i]; at_zero where there is no overage. Then base_fee is
-- added, and minimum and cap are applied. carries_s: covered is less what the
-- parts of the period that begin up to so many seconds earlier have used.
-- ORDER BY the number alone: it is what usage is joined on.
CREATE TABLE IF NOT EXISTS {database}.rate_cards
(
    card UInt64,
    plan LowCardinality(String),
    price_version UInt32,
    meter LowCardinality(String),
    `group` String,
    currency LowCardinality(String),
    carries_s UInt32,
    covered Decimal(76, 12),
    bucket_units Decimal(76, 12),
    base_fee Decimal(76, 24),
    minimum Decimal(76, 24),
    cap Nullable(Decimal(76, 24)),
    at_zero Decimal(76, 24),
    rows_above Array(Decimal(76, 12)),
    rows_charge Array(Decimal(76, 24)),
    rows_unit_price Array(Decimal(76, 12)),
    rows_package_units Array(Decimal(76, 12)),
    rows_package_price Array(Decimal(76, 24))
)
ENGINE = {engine:Replacing}
ORDER BY (card)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- A customer's billing periods: the plan at their start, how they are rounded, and base fee and
-- commit, both of the whole period. The newest row is in force. ORDER BY the customer first, as
-- every question of finance starts with one, then what names the period.
CREATE TABLE IF NOT EXISTS {database}.billing_periods
(
    customer_id String,
    period_start DateTime('UTC'),
    period_end DateTime('UTC'),
    subscription String,
    plan LowCardinality(String),
    price_version UInt32,
    currency LowCardinality(String),
    minor_digits UInt8,
    rounding LowCardinality(String),
    base_fee Decimal(76, 24),
    commit Decimal(76, 24),
    updated_at DateTime64(6, 'UTC')
)
ENGINE = {engine:Replacing}(updated_at)
ORDER BY (customer_id, period_start)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Exact usage per customer, meter, group, billing period and part, over all source partitions, and
-- the rate card that it is charged by: the newest, should an edited price have left two.
CREATE VIEW IF NOT EXISTS {database}.period_usage AS
SELECT
    customer_id,
    meter,
    `group`,
    t.period_start AS period_start,
    t.part_start AS part_start,
    t.card = 0 AS is_unpriced,
    argMax(t.card, (t.updated_at, t.absorbed_offset)) AS card,
    any(t.aggregation) AS aggregation,
    multiIf(
        any(t.aggregation) = 'max', max(t.quantity),
        any(t.aggregation) = 'latest', argMax(t.quantity, (t.last_occurred_at, t.last_identity)),
        sum(t.quantity)) AS quantity,
    sum(t.events) AS events,
    (SELECT complete_to FROM {database}.complete_to) AS complete_to
FROM {database}.usage_totals AS t FINAL
WHERE t.events > 0
GROUP BY customer_id, meter, `group`, t.period_start, t.part_start, t.card = 0;

-- What each part of a billing period is charged, exact: its rate card evaluated for its quantity,
-- never the sum over source partitions, each of which would start at the first tier. Parts of one
-- period are gone through in order, since an earlier one may use up the allowance of a later one.
-- bucket_units to buffer are those of the commit bucket, 0 where there is none.
CREATE VIEW IF NOT EXISTS {database}.rated_parts AS
WITH
    toDecimal256(0, 12) AS none,
    if(c.carries_s > 0, greatest(c.covered - u.used_before, none), c.covered) AS covered_here,
    u.card != 0 AND u.quantity > covered_here AS is_over,
    greatest(arrayCount(above -> above < overage, c.rows_above), 1) AS at,
    overage - c.rows_above[at] AS beyond,
    greatest(reinterpretAsInt256(c.rows_package_units[at]), toInt256(1)) AS package_units,
    intDiv(reinterpretAsInt256(beyond) + package_units - toInt256(1), package_units) AS packages,
    c.base_fee + if(
        is_over,
        c.rows_charge[at] + c.rows_unit_price[at] * beyond + c.rows_package_price[at] * packages,
        c.at_zero) AS unbounded,
    if(c.minimum > 0 OR c.cap IS NOT NULL, greatest(unbounded, c.minimum), unbounded) AS raised,
    greatest(included - (covered_here - bucket_units), none) AS bucket_used,
    intDiv(
        reinterpretAsInt256(c.base_fee) * reinterpretAsInt256(buffer_units),
        greatest(reinterpretAsInt256(c.bucket_units), toInt256(1))) AS buffer_small
SELECT
    u.customer_id AS customer_id,
    u.meter AS meter,
    u.`group` AS `group`,
    u.period_start AS period_start,
    u.part_start AS part_start,
    u.card AS card,
    c.plan AS plan,
    c.price_version AS price_version,
    c.currency AS currency,
    u.aggregation AS aggregation,
    u.events AS events,
    u.quantity AS quantity,
    multiIf(u.card = 0, none, is_over, covered_here, greatest(u.quantity, none)) AS included,
    if(is_over, u.quantity - covered_here, none) AS overage,
    if(c.cap IS NULL, raised, least(raised, assumeNotNull(c.cap))) AS charge,
    c.covered - c.bucket_units AS allowance,
    c.bucket_units > 0 OR c.base_fee > 0 AS has_bucket,
    least(c.bucket_units, covered_here) AS bucket_units,
    bucket_units - bucket_used AS buffer_units,
    c.base_fee AS base_fee,
    toDecimal256(buffer_small, 24) / toInt256('1000000000000000000000000') AS buffer
FROM
(
    SELECT
        customer_id, meter, `group`, period_start, used_before,
        part.1 AS part_start, part.2 AS card, part.3 AS aggregation, part.4 AS quantity,
        part.5 AS events
    FROM
    (
        SELECT
            p.customer_id AS customer_id, p.meter AS meter, p.`group` AS `group`,
            p.period_start AS period_start,
            arraySort(
                part -> (part.1, part.2),
                groupArray((
                    p.part_start, p.card, p.aggregation, p.quantity, p.events, k.covered,
                    k.carries_s)))
                AS parts,
            -- of each part: its start, what the parts that count against it used, what it uses
            arrayFold(
                (before, part) -> arrayPushBack(before, (
                    part.1,
                    arraySum(x -> if(x.1 >= part.1 - part.7, x.3, toDecimal256(0, 12)), before),
                    least(
                        greatest(part.4, toDecimal256(0, 12)),
                        greatest(
                            part.6 - if(
                                part.7 > 0,
                                arraySum(
                                    x -> if(x.1 >= part.1 - part.7, x.3, toDecimal256(0, 12)),
                                    before),
                                toDecimal256(0, 12)),
                            toDecimal256(0, 12))))),
                parts,
                CAST([], 'Array(Tuple(DateTime(\'UTC\'), Decimal(76, 12), Decimal(76, 12)))')) AS walked,
            arrayMap(x -> x.2, walked) AS used
        FROM {database}.period_usage AS p
        LEFT JOIN (SELECT card, covered, carries_s FROM {database}.rate_cards FINAL) AS k
            ON k.card = p.card
        GROUP BY p.customer_id, p.meter, p.`group`, p.period_start
    )
    ARRAY JOIN parts AS part, used AS used_before
) AS u
LEFT JOIN (SELECT * FROM {database}.rate_cards FINAL) AS c ON c.card = u.card
WHERE NOT throwIf(
    u.card != 0 AND c.card = 0, 'expected a row in rate_cards for the card of every total');

-- What is charged so far, per customer, meter, group, billing period and part: one line of the
-- invoice each. charge is exact, amount is rounded once as the plan says; NULL where the period is
-- not in billing_periods. Usage without a price is listed with plan '' and charge 0. What is due
-- for a meter that was not used at all is not: it has no usage to stand beside.
CREATE VIEW IF NOT EXISTS {database}.period_charges AS
WITH
    reinterpretAsInt256(r.charge) AS small,
    if(small < 0, -small, small) AS size,
    toInt256(intExp10(12)) * toInt256(intExp10(12 - least(b.minor_digits, 12))) AS minor_unit,
    intDiv(size, minor_unit) AS whole,
    2 * (size - whole * minor_unit) AS doubled_rest,
    doubled_rest > minor_unit
        OR (doubled_rest = minor_unit AND (b.rounding = 'half_up' OR whole % 2 = 1)) AS is_up,
    toDecimal256(if(small < 0, -1, 1) * (whole + is_up), 4) / intExp10(b.minor_digits) AS rounded
SELECT
    r.customer_id AS customer_id,
    r.meter AS meter,
    r.`group` AS `group`,
    r.period_start AS period_start,
    r.part_start AS part_start,
    b.period_end AS period_end,
    r.plan AS plan,
    r.price_version AS price_version,
    r.currency AS currency,
    r.aggregation AS aggregation,
    r.events AS events,
    r.quantity AS quantity,
    r.allowance AS allowance,
    r.bucket_units AS committed_units,
    r.included AS included,
    r.overage AS overage,
    r.charge AS charge,
    if(b.customer_id = '' AND r.card != 0, NULL, rounded) AS amount,
    r.card AS card,
    (SELECT complete_to FROM {database}.complete_to) AS complete_to
FROM {database}.rated_parts AS r
LEFT JOIN (SELECT * FROM {database}.billing_periods FINAL) AS b
    ON b.customer_id = r.customer_id AND b.period_start = r.period_start;

-- Usage that nothing charges, per customer, meter, group and month of occurrence: the customer has
-- no subscription at that time, or its plan no price for the meter.
CREATE VIEW IF NOT EXISTS {database}.unpriced_usage AS
SELECT
    customer_id,
    meter,
    `group`,
    toStartOfMonth(t.window_start) AS month,
    multiIf(
        any(t.aggregation) = 'max', max(t.quantity),
        any(t.aggregation) = 'latest', argMax(t.quantity, (t.last_occurred_at, t.last_identity)),
        sum(t.quantity)) AS quantity,
    sum(t.events) AS events,
    min(t.first_occurred_at) AS first_occurred_at,
    max(t.last_occurred_at) AS last_occurred_at,
    (SELECT complete_to FROM {database}.complete_to) AS complete_to
FROM {database}.usage_totals AS t FINAL
WHERE t.card = 0 AND t.events > 0
GROUP BY customer_id, meter, `group`, month;

-- Where commits stand: a row of kind plan for each billing period with a plan commit, and one of
-- kind bucket for each meter, group and period with a commit bucket that was used. Exact amounts:
-- commit is what was promised, used what is charged so far, overage what of it is beyond, buffer
-- what was paid for and not used. Units are those of a bucket: used_units are all that count
-- against it, also those beyond. percent_of_commit is of money for a plan and of units for a
-- bucket. projected and projected_units say where the period ends up if usage goes on as it did
-- until complete_to (until now where nothing is complete); a level (max, latest) stays.
CREATE VIEW IF NOT EXISTS {database}.commit_position AS
WITH
    if(toUnixTimestamp64Milli(complete_to) > 0, complete_to, now64(3, 'UTC')) AS as_of,
    toInt64(dateDiff('second', period_start, period_end)) AS length_s,
    toInt64(dateDiff('second', period_start, least(toDateTime(as_of, 'UTC'), period_end)))
        AS passed_s,
    passed_s > 0 AND length_s > 0 AS is_projected,
    if(kind = 'plan', commit, toDecimal256(commit_units, 24)) AS promised,
    if(kind = 'plan', used, toDecimal256(used_units, 24)) AS counted,
    if(kind = 'plan', level, toDecimal256(level_units, 24)) AS steady,
    steady + (counted - steady) * length_s / if(is_projected, passed_s, 1) AS at_end,
    nullIf(reinterpretAsInt256(promised), toInt256(0)) AS whole,
    intDiv(reinterpretAsInt256(counted) * toInt256(10000), whole) AS share,
    intDiv(reinterpretAsInt256(at_end) * toInt256(10000), whole) AS share_at_end
SELECT
    customer_id,
    period_start,
    period_end,
    kind,
    meter,
    `group`,
    plan,
    price_version,
    currency,
    commit,
    used,
    overage,
    buffer,
    commit_units,
    used_units,
    overage_units,
    buffer_units,
    toDecimal256(share, 2) / 100 AS percent_of_commit,
    if(is_projected AND kind = 'plan', at_end, NULL) AS projected,
    if(is_projected AND kind = 'bucket', toDecimal256(at_end, 12), NULL) AS projected_units,
    if(is_projected, toDecimal256(share_at_end, 2) / 100, NULL) AS projected_percent_of_commit,
    multiIf(
        counted > promised, 'over_commit',
        is_projected AND at_end > promised, 'projected_over_commit',
        'on_track') AS status,
    complete_to
FROM
(
    SELECT
        b.customer_id AS customer_id, b.period_start AS period_start, b.period_end AS period_end,
        'plan' AS kind, '' AS meter, '' AS `group`,
        b.plan AS plan, b.price_version AS price_version, b.currency AS currency,
        b.commit AS commit, r.used AS used,
        greatest(used - commit, toDecimal256(0, 24)) AS overage,
        greatest(commit - used, toDecimal256(0, 24)) AS buffer,
        toDecimal256(0, 12) AS commit_units, toDecimal256(0, 12) AS used_units,
        toDecimal256(0, 12) AS overage_units, toDecimal256(0, 12) AS buffer_units,
        r.level AS level, toDecimal256(0, 12) AS level_units,
        (SELECT complete_to FROM {database}.complete_to) AS complete_to
    FROM (SELECT * FROM {database}.billing_periods FINAL) AS b
    LEFT JOIN
    (
        SELECT customer_id, period_start, sum(charge) AS used,
            sumIf(charge, aggregation IN ('max', 'latest')) AS level
        FROM {database}.rated_parts
        GROUP BY customer_id, period_start
    ) AS r ON r.customer_id = b.customer_id AND r.period_start = b.period_start
    WHERE b.commit > 0
    UNION ALL
    SELECT
        r.customer_id, r.period_start, b.period_end,
        'bucket', r.meter, r.`group`,
        r.plan, r.price_version, r.currency,
        r.commit, r.used,
        r.used - r.commit, r.buffer,
        r.commit_units, r.used_units,
        r.overage_units, r.buffer_units,
        toDecimal256(0, 24), r.level_units,
        (SELECT complete_to FROM {database}.complete_to)
    FROM
    (
        SELECT
            p.customer_id AS customer_id, p.meter AS meter, p.`group` AS `group`,
            p.period_start AS period_start,
            argMax(p.plan, p.part_start) AS plan,
            argMax(p.price_version, p.part_start) AS price_version,
            any(p.currency) AS currency,
            sum(p.base_fee) AS commit, sum(p.charge) AS used, sum(p.buffer) AS buffer,
            sum(p.bucket_units) AS commit_units, sum(p.overage) AS overage_units,
            sum(p.buffer_units) AS buffer_units,
            commit_units - buffer_units + overage_units AS used_units,
            if(any(p.aggregation) IN ('max', 'latest'), used_units, toDecimal256(0, 12))
                AS level_units
        FROM {database}.rated_parts AS p
        WHERE p.has_bucket
        GROUP BY p.customer_id, p.meter, p.`group`, p.period_start
    ) AS r
    LEFT JOIN (SELECT * FROM {database}.billing_periods FINAL) AS b
        ON b.customer_id = r.customer_id AND b.period_start = r.period_start
);
