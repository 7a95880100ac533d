"""The consumer group: who reads which partition, and what was committed."""

from dataclasses import dataclass, field
from random import Random

from metering.errors import DependencyDown
from simulator.turns import Turns


@dataclass(slots=True)
class Place:
    """One partition as the coordinator knows it; `wanted` waits for the owner to let go."""

    owner: int | None = None
    wanted: int | None = None
    committed: int | None = None


@dataclass(slots=True)
class Group:
    """Cooperative: an owner that is a member is asked first, one that is expelled is not."""

    turns: Turns
    places: dict[int, Place]
    members: list[int] = field(default_factory=list)
    _next: int = 1

    def join(self) -> int:
        """A new member's number."""
        self._next += 1
        self.members.append(self._next)
        return self._next

    def leave(self, member: int) -> None:
        """The member is gone, or was too quiet for too long: its partitions are free."""
        if member in self.members:
            self.members.remove(member)
        for place in self.places.values():
            if place.owner == member:
                place.owner = None
            if place.wanted == member:
                place.wanted = None

    def assign_free(self, rng: Random) -> bool:
        """Give every free partition to some member; whether there was one."""
        is_changed = False
        for place in self.places.values():
            if place.owner is None and self.members:
                place.owner = place.wanted if place.wanted is not None else self._idlest(rng)
                place.wanted = None
                is_changed = True
        return is_changed

    def _idlest(self, rng: Random) -> int:
        held = [place.owner for place in self.places.values()]
        return min(self.members, key=lambda member: (held.count(member), rng.random()))

    def move_one(self, rng: Random) -> bool:
        """Want one partition elsewhere; it moves when its owner has let go."""
        place = self.places[rng.choice(sorted(self.places))]
        others = [member for member in self.members if member != place.owner]
        if not others or place.owner is None:
            return False
        place.wanted = rng.choice(others)
        return True

    def assigned(self, member: int) -> list[int]:
        """What the member may read."""
        return [
            number for number, place in self.places.items()
            if place.owner == member and place.wanted is None
        ]  # fmt: skip

    def release(self, member: int) -> None:
        """The member has let go of all that is wanted elsewhere."""
        for place in self.places.values():
            if place.owner == member and place.wanted is not None:
                place.owner, place.wanted = place.wanted, None

    def committed(self, number: int) -> int | None:
        """Committed next offset."""
        return self.turns.call(lambda: self.places[number].committed)

    def commit(self, member: int, positions: dict[int, int]) -> None:
        """As the broker does: any member may commit any partition, a former member none."""

        def round_trip() -> None:
            if self.turns.strikes("commit_refused"):
                raise DependencyDown("kafka")
            if member not in self.members:
                return
            for number, offset in positions.items():
                self.places[number].committed = offset
            if self.turns.strikes("commit_reply_lost"):
                raise DependencyDown("kafka")

        self.turns.call(round_trip)
