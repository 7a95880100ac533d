"""Questions to ClickHouse, answered as polars frames with exact numbers.

Decimals come as `Int128` of 10^-12; what is wider is narrowed by the query, which fails loudly
where a number does not fit. Only reads; what is written is in `store.py`.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl
from clickhouse_connect.driver.client import Client

#: Stated with every query: aggregations go to disk rather than fail, FINAL folds across months,
#: and lists of coordinates may be long.
READ_SETTINGS: dict[str, Any] = {
    "do_not_merge_across_partitions_select_final": 0,
    "join_use_nulls": 0,
    "join_algorithm": "hash",
    "max_bytes_before_external_group_by": 500_000_000,
    "max_bytes_before_external_sort": 500_000_000,
    "max_query_size": 256_000_000,
}
Parameters = Mapping[str, Any]


def frame(client: Client, sql: str, parameters: Parameters) -> pl.DataFrame:
    """The rows of a query. Columns of type Decimal(38, 12) come as whole numbers of 10^-12."""
    table = client.query_arrow(
        sql, parameters=dict(parameters), settings=READ_SETTINGS, use_strings=True
    )
    found = pl.from_arrow(table)
    assert isinstance(found, pl.DataFrame)
    exact = [name for name, kind in found.schema.items() if isinstance(kind, pl.Decimal)]
    return found.with_columns(pl.col(name).to_physical().cast(pl.Int128) for name in exact)
