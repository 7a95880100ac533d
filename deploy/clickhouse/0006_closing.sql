-- The customers of a close or an adjustment (see billing_runs), written before the row that says
-- started: so a run that was interrupted goes on with the same ones. ORDER BY the run alone:
-- that is what is asked for.
CREATE TABLE IF NOT EXISTS {database}.billing_run_customers
(
    run_id String,
    customer_id String
)
ENGINE = {engine:Replacing}
ORDER BY (run_id, customer_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
