"""The `meterline` command: wires settings, catalog and steps; turns errors into exit codes.

Exit codes: 0 done and in order; 1 done, and something is not in order (differences were found);
2 cannot be done as asked, a person has to act; 70 a fault of the program itself, which is no
finding; 75 a server does not answer, try again later.
"""

import logging
import sys
from typing import ClassVar

import typer
from rich.console import Console

from cli.context import app_callback
from cli.lazy import LazyGroup
from metering.errors import MeterlineError

#: Python's own exit code for this is 1, which says here that something differs.
_FAULT = 70


class Commands(LazyGroup):
    """All commands, in the order in which help lists them."""

    places: ClassVar[dict[str, str]] = {
        "migrate": "cli.migrate:migrate_command",
        "run": "cli.run:run_command",
        "verify": "cli.verify:verify_command",
        "rewind": "cli.rewind:rewind_command",
        "backfill": "cli.backfill:backfill_command",
        "rebuild": "cli.rebuild:rebuild_command",
        "doctor": "cli.doctor:doctor_command",
        "preview": "cli.preview:preview_command",
        "explain": "cli.explain:explain_command",
        "charges": "cli.charges:charges_command",
        "rerate": "cli.rerate:rerate_command",
        "close": "cli.close:close_command",
        "adjust": "cli.adjust:adjust_command",
        "steward": "cli.steward:steward_command",
        "reconcile": "cli.reconcile:reconcile_command",
        "alerts": "cli.alerts:app",
        "catalog": "cli.catalog:app",
        "correct": "cli.correct:app",
        "audit": "cli.audit:app",
        "rejects": "cli.rejects:app",
        "archive": "cli.archive:app",
        "dedup": "cli.dedup:app",
        "invoices": "cli.invoices:app",
        "review": "cli.review:app",
        "stack": "deploy.localstack.cli:app",
    }


app = typer.Typer(
    name="meterline",
    cls=Commands,
    help="Meters usage events exactly: Kafka in, ClickHouse out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.callback()(app_callback)


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
    except Exception:
        logging.getLogger(__name__).exception("a fault of the program: please report it")
        sys.exit(_FAULT)


if __name__ == "__main__":
    main()
