#!/usr/bin/env bash
# Run once, when ClickHouse starts with an empty volume: a user for Grafana that only reads.
set -euo pipefail
hash=$(printf %s "$CLICKHOUSE_READER_PASSWORD" | sha256sum | cut -d ' ' -f 1)
clickhouse client --user "$CLICKHOUSE_USER" --password "$CLICKHOUSE_PASSWORD" --multiquery <<SQL
CREATE USER IF NOT EXISTS grafana IDENTIFIED WITH sha256_hash BY '$hash'
    SETTINGS readonly = 1, max_execution_time = 60 CHANGEABLE_IN_READONLY;
GRANT SELECT ON meterline.* TO grafana;
SQL
