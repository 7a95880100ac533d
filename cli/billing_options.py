"""Options that several commands about billing periods and corrections share."""

from typing import Annotated

import typer

from metering.correction import ReasonCode

PeriodOption = Annotated[
    str, typer.Option("--period", help="Begins in 2026-06, or holds the day 2026-06-15.")
]
CustomersOption = Annotated[
    list[str] | None, typer.Option("--customer", help="Only these; repeatable.")
]
ActorOption = Annotated[
    str, typer.Option("--actor", help="Who acts; else METERLINE_ACTOR, else the system's user.")
]
NoteOption = Annotated[str, typer.Option("--note", help="In words, for the audit log.")]
ReasonOption = Annotated[ReasonCode, typer.Option("--reason", help="Why, from a fixed list.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show the difference in money, and write nothing.")
]
EventOption = Annotated[
    list[str] | None,
    typer.Option("--event", help="STREAM/PARTITION/OFFSET/INDEX, as explain shows; repeatable."),
]
EventCustomerOption = Annotated[str, typer.Option("--customer", help="Whose event, with --id.")]
EventMeterOption = Annotated[str, typer.Option("--meter", help="Of which meter, with --id.")]
EventIdOption = Annotated[
    list[str] | None, typer.Option("--id", help="Id of an event; repeatable.")
]
PeriodOfOption = Annotated[str, typer.Option("--customer", help="Whose period.")]
CorrectionArgument = Annotated[str, typer.Argument(help="Its id, as `correct list` shows it.")]
