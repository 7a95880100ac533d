"""What a reader chooses at the top of a dashboard, and how queries name it."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import (
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from alerts.dashboards.queries import CLICKHOUSE, PROMETHEUS, sql_text

_ALL = VariableOption(selected=True, text="All", value="$__all")


def prometheus_source() -> dashboard.DatasourceVariable:
    """Which Prometheus."""
    return dashboard.DatasourceVariable("prometheus").label("Prometheus").type("prometheus")


def clickhouse_source() -> dashboard.DatasourceVariable:
    """Which ClickHouse."""
    return (
        dashboard.DatasourceVariable("clickhouse")
        .label("ClickHouse")
        .type(str(CLICKHOUSE.type_val))
    )


def deployment() -> dashboard.QueryVariable:
    """The namespace as Prometheus knows it: a label of what it scrapes."""
    return (
        dashboard.QueryVariable("deployment")
        .label("Deployment")
        .description("The label `deployment` of the scraped workers; one for each namespace.")
        .datasource(PROMETHEUS)
        .query(
            {
                "query": "label_values(meterline_assigned_partitions, deployment)",
                "qryType": 1,
                "refId": "A",
            }
        )
        .refresh(VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .include_all(include_all=True)
        .all_value(".+")
        .current(_ALL)
    )


def database() -> dashboard.QueryVariable:
    """The namespace as ClickHouse knows it: its database."""
    return _from_clickhouse("database", "Namespace")


def meter() -> dashboard.QueryVariable:
    """Meters that were used."""
    return _many(_from_clickhouse("meter", "Meter"))


def customer() -> dashboard.QueryVariable:
    """Customers with the most events; any other can be typed."""
    return _many(_from_clickhouse("customer", "Customer")).allow_custom_value(
        allow_custom_value=True
    )


def period() -> dashboard.QueryVariable:
    """Months in which billing periods began, the newest first."""
    return _from_clickhouse("period", "Billing period")


def currency() -> dashboard.QueryVariable:
    """Amounts of two currencies are never added up, so that there is always one."""
    return _from_clickhouse("currency", "Currency")


def _from_clickhouse(name: str, label: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(CLICKHOUSE)
        .query(sql_text(f"variables/{name}"))
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    )


def _many(variable: dashboard.QueryVariable) -> dashboard.QueryVariable:
    return variable.multi(multi=True).include_all(include_all=True).current(_ALL)
