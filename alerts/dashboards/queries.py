"""Queries of panels: PromQL for Prometheus, SQL for Grafana's ClickHouse data source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DataSourceRef

#: Both are variables of every dashboard, so that no data source has to have a certain name.
PROMETHEUS = DataSourceRef("prometheus", "${prometheus}")
CLICKHOUSE = DataSourceRef("grafana-clickhouse-datasource", "${clickhouse}")

#: The column that names a series where SQL returns several of them.
SERIES_COLUMN = "series"

#: A month names the billing period that begins in it, in the customer's calendar. Tables hold the
#: moment in UTC: 13 hours more are on the right day in every time zone from UTC-10 to UTC+13.
_MONTH = "formatDateTime(period_start + INTERVAL 13 HOUR, '%Y-%m')"

#: What stands in files for what every query says in the same way. The macro is true for everything
#: where a reader chose all.
CONDITIONS = {
    "{of_customer}": "$__conditionalAll(customer_id IN (${customer:sqlstring}), $customer)",
    "{of_meter}": "$__conditionalAll(meter IN (${meter:sqlstring}), $meter)",
    "{in_period}": f"{_MONTH} = '${{period}}'",
    "{month}": _MONTH,
}

_FOLDER = Path(__file__).with_name("sql")
_TIME_SERIES, _TABLE = 0, 1


@dataclass(frozen=True)
class SqlQuery(Dataquery, Builder[Dataquery]):
    """A query in ClickHouse's SQL with Grafana's macros and variables.

    `is_series`: columns time, series (optional) and numbers; else a table as it is.
    """

    sql: str
    ref_id: str = "A"
    is_series: bool = False

    def build(self) -> Dataquery:
        """It is its own model."""
        return self

    def to_json(self) -> dict[str, object]:
        """As Grafana's ClickHouse data source stores it."""
        return {
            "datasource": CLICKHOUSE,
            "editorType": "sql",
            "format": _TIME_SERIES if self.is_series else _TABLE,
            "queryType": "timeseries" if self.is_series else "table",
            "rawSql": self.sql,
            "refId": self.ref_id,
        }


def promql(expression: str, legend: str, *, ref_id: str = "A") -> prometheus.Dataquery:
    """A range query; `legend` may name labels as `{{label}}`."""
    return (
        prometheus.Dataquery()
        .expr(expression)
        .legend_format(legend)
        .datasource(PROMETHEUS)
        .ref_id(ref_id)
        .range()
    )


def promql_now(expression: str, legend: str) -> prometheus.Dataquery:
    """An instant query: the value at the end of the dashboard's range."""
    return promql(expression, legend).instant()


def sql_series(name: str) -> SqlQuery:
    """Rows (time, series, value) of a graph; without `series`, each number is a series.

    `name` is that of a file in `sql/`, as `usage/late_by`.
    """
    return SqlQuery(sql_text(name), is_series=True)


def sql_table(name: str) -> SqlQuery:
    """Rows of a table or of a single number, from the file `name` in `sql/`."""
    return SqlQuery(sql_text(name))


def sql_text(name: str) -> str:
    """The file `name` in `sql/`, with the conditions that queries share."""
    text = (_FOLDER / f"{name}.sql").read_text(encoding="utf-8").strip()
    for condition, sql in CONDITIONS.items():
        text = text.replace(condition, sql)
    return text
