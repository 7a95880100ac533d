"""The `meterline` command: wires settings, catalog and steps; turns errors into exit codes.

Exit codes: 0 done and in order; 1 done, and something is not in order (differences were found);
2 cannot be done as asked, a person has to act; 75 a server does not answer, try again later.
"""

import logging
import sys

import typer
from rich.console import Console

from cli.adjust import adjust_command
from cli.alerts import app as alerts_app
from cli.archive import app as archive_app
from cli.audit import app as audit_app
from cli.backfill import backfill_command
from cli.catalog import app as catalog_app
from cli.charges import charges_command
from cli.close import close_command
from cli.context import app_callback
from cli.correct import app as correct_app
from cli.dedup import app as dedup_app
from cli.doctor import doctor_command
from cli.explain import explain_command
from cli.invoices import app as invoices_app
from cli.migrate import migrate_command
from cli.preview import preview_command
from cli.rebuild import rebuild_command
from cli.reconcile import reconcile_command
from cli.rejects import app as rejects_app
from cli.rerate import rerate_command
from cli.review import app as review_app
from cli.rewind import rewind_command
from cli.run import run_command
from cli.steward import steward_command
from cli.verify import verify_command
from deploy.localstack.cli import app as stack_app
from metering.errors import MeterlineError

app = typer.Typer(
    name="meterline",
    help="Meters usage events exactly: Kafka in, ClickHouse out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.callback()(app_callback)
app.command("migrate")(migrate_command)
app.command("run")(run_command)
app.command("verify")(verify_command)
app.command("rewind")(rewind_command)
app.command("backfill")(backfill_command)
app.command("rebuild")(rebuild_command)
app.command("doctor")(doctor_command)
app.command("preview")(preview_command)
app.command("explain")(explain_command)
app.command("charges")(charges_command)
app.command("rerate")(rerate_command)
app.command("close")(close_command)
app.command("adjust")(adjust_command)
app.command("steward")(steward_command)
app.add_typer(alerts_app, name="alerts")
app.add_typer(catalog_app, name="catalog")
app.add_typer(correct_app, name="correct")
app.add_typer(audit_app, name="audit")
app.add_typer(rejects_app, name="rejects")
app.add_typer(archive_app, name="archive")
app.add_typer(dedup_app, name="dedup")
app.add_typer(invoices_app, name="invoices")
app.command("reconcile")(reconcile_command)
app.add_typer(review_app, name="review")
app.add_typer(stack_app, name="stack")


def main() -> None:
    """Entry point: errors of ours become one message and an exit code."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        app()
    except MeterlineError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"error: {error}", style="red", markup=False
        )
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
