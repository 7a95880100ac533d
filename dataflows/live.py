"""The live path for the engine's own launcher.

    python -m bytewax.run "dataflows.live:main_flow()"

Settings and catalog come from the environment, as for `meterline run`, which is to be preferred:
it starts the flow anew after an outage. Here any error ends the process, and whoever supervises
it starts the next. SIGTERM and Ctrl-C stop gracefully.
"""

import signal
import threading

from bytewax.dataflow import Dataflow

from dataflows.catalog_watch import store_versions
from dataflows.health import Health, HealthServer
from dataflows.pipeline import build_flow
from dataflows.runner import open_stream, tune_memory
from dataflows.worker import Worker
from metering.metrics import WorkerMetrics
from metering.settings import load_settings
from rating_engine.price_book.load import load_price_book


def main_flow() -> Dataflow:
    """The dataflow, connected. Raises `SettingsInvalid`, `TopicUnfit`, `DependencyDown`."""
    settings = load_settings()
    book = load_price_book(settings.catalog)
    store_versions(settings, book)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    tune_memory()
    health = Health(WorkerMetrics())
    HealthServer(health, settings.http_host, settings.http_port)
    worker = Worker(
        settings, book, open_stream(settings), health,
        is_stopping=stopping.is_set, fails_loudly=True,
    )  # fmt: skip
    health.flow()
    return build_flow(worker)
