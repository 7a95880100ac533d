"""What every command needs: settings with the catalog folder, and a console."""

import getpass
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from metering.catalog import Catalog
from metering.catalog_load import load_catalog
from metering.settings import Settings, load_settings

CatalogOption = Annotated[
    Path | None,
    typer.Option("--catalog", help="Folder with meters.yaml and the other catalog files."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

#: Tables keep their columns where the output goes to a file or a program.
_PIPED_WIDTH = 180

console = Console(
    highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPED_WIDTH
)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def app_callback() -> None:
    """Addresses come from KAFKA_BOOTSTRAP_SERVERS, REDIS_URL and CLICKHOUSE_URL."""


def settings_with(catalog: Path | None = None) -> Settings:
    """Settings from the environment, with the catalog folder that was named."""
    return load_settings(**({} if catalog is None else {"catalog": catalog}))


def catalog_of(settings: Settings) -> Catalog:
    """The catalog, checked as a whole."""
    return load_catalog(settings.catalog)


def acting(settings: Settings, actor: str) -> str:
    """Who acts, for the record: `actor` where it says so, else the setting, else the user."""
    return actor or settings.actor or getpass.getuser()
