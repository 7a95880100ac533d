"""What a customer's billing period has used so far, as the live totals have it."""

from billing.usage import UsageReader, borders_of
from metering.settings import Settings
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.preview import Consumed, Previewer
from sinks.clickhouse import connect_clickhouse


class LiveTotals:
    """Reads totals for a preview; `complete_to_ms` is 0 until it did, and before the first event.

    A meter that the catalog does not have any more is left out: nothing prices it.
    """

    def __init__(self, settings: Settings, book: PriceBook) -> None:
        """Connects when it is asked."""
        self._settings = settings
        self._meters = book.catalog.meters
        self.complete_to_ms = 0

    def __call__(self, previewer: Previewer) -> Consumed:
        """What every meter and group has used, by span. Raises `DependencyDown`."""
        client = connect_clickhouse(self._settings)
        try:
            reader = UsageReader(client, self._meters)
            self.complete_to_ms = reader.complete_to_ms()
            wanted = borders_of(previewer.customer_id, previewer.period, spans=previewer.spans)
            found = reader.totals([wanted]).get(previewer.customer_id, {})
        finally:
            client.close()
        return {key: usage for key, usage in found.items() if key[0] in self._meters}
