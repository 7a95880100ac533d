"""Which rejected events would pass now, and sending them again."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from metering.batch import RawBatch, Source
from metering.decode import Decoder
from metering.rejection import RejectionCode
from sinks.events_topic import EventsTopic
from sinks.rejects import Reject, RejectFilter, Rejects

_CONFLICT = RejectionCode.IDENTITY_MUST_NOT_REPEAT_WITH_OTHER_PAYLOAD


@dataclass(slots=True)
class Prospect:
    """What sending again would bring: `passing` would be accepted or found to be a duplicate.

    `refused` counts by code those that would be rejected again.
    """

    passing: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    sentences: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Candidate:
    reject: Reject
    customer_id: str
    refusal: tuple[str, str] | None  # code and sentence


class Replay:
    """Sends rejected events again, as `decoder` (with the catalog as it is now) sees them.

    With `edited`, those bytes are sent in place of the (one) event's own.
    """

    def __init__(
        self, rejects: Rejects, decoder: Decoder, wanted: RejectFilter, *,
        edited: bytes | None, now_ms: int,
    ) -> None:  # fmt: skip
        """`now_ms`, Unix milliseconds, stands for the record time that a new message gets."""
        self._rejects = rejects
        self._decoder = decoder
        self._wanted = wanted
        self._edited = edited
        self._now_ms = now_ms

    def prospect(self) -> Prospect:
        """What would become of them; nothing is sent."""
        found = Prospect()
        for page in self._pages():
            for each in page:
                if each.refusal is None:
                    found.passing += 1
                else:
                    found.refused[each.refusal[0]] += 1
                    found.sentences.append(each.refusal[1])
                    del found.sentences[10:]
        return found

    def send(self, topic: EventsTopic, *, actor: str, force: bool) -> int:
        """Send those that would pass (with `force`, all); how many were sent.

        1  send, acknowledged. Crash after: a repeat sends them again, as duplicates.
        2  record that they were sent. Crash after: nothing is left to do.
        """
        sent = 0
        for page in self._pages():
            chosen = [each for each in page if force or each.refusal is None]
            if not chosen:
                continue
            topic.send([(each.customer_id, each.reject.event) for each in chosen])
            self._rejects.record_replays(
                [each.reject for each in chosen], edited=self._edited is not None, actor=actor
            )
            sent += len(chosen)
        return sent

    def _pages(self) -> Iterator[list[_Candidate]]:
        for page in self._rejects.pages(self._wanted):
            if self._edited is None:
                yield self._judged(page)
            else:
                yield self._judged([replace(each, event=self._edited) for each in page])

    def _judged(self, page: list[Reject]) -> list[_Candidate]:
        count = len(page)
        values: list[bytes | None] = [each.event or None for each in page]
        raw = RawBatch(
            Source("replay", 0, 0), list(range(count)), [self._now_ms] * count, values, 0, count
        )
        batch = self._decoder.decode(raw)
        refusals = {each.offset: (str(each.code), each.sentence) for each in batch.rejections}
        customers = dict(
            zip(
                batch.offsets.tolist(), batch.columns.column("customer_id").to_pylist(), strict=True
            )
        )
        found = []
        for at, reject in enumerate(page):
            refusal = refusals.get(at)
            if refusal is None and self._edited is None and reject.code == _CONFLICT:
                refusal = (reject.code, reject.sentence)
            found.append(_Candidate(reject, customers.get(at, reject.customer_id), refusal))
        return found
