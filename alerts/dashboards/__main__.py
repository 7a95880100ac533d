"""`python -m alerts.dashboards`: write the dashboards that Grafana is provisioned with."""

from alerts.dashboards.files import write

if __name__ == "__main__":
    write()
