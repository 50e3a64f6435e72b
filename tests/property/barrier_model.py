"""What the scripts of barriers must do, in plain dictionaries. Times are the server's, in microseconds."""

from __future__ import annotations

from typing import Any

from lease_model import LEASE_US, LeaseModel

from taskq.broker.barriers import Entered, Place, Standing


class BarrierModel(LeaseModel):
    """One barrier.

    Attributes:
        told: who was told what, since this was last emptied.
    """

    def __init__(self, parties: int) -> None:
        super().__init__()
        self.parties = parties
        self.arrived: dict[str, int] = {}
        self.deadlines: dict[str, int] = {}
        self.failed: set[int] = set()
        self.told: list[tuple[str, str]] = []

    def snapshot(self) -> dict[str, Any]:
        """Return what the server's keys must hold, without who made it."""
        found: dict[str, Any] = {"barrier": {name: str(value) for name, value in self.table.items()}}
        found |= {"arrived": dict(self.arrived), "deadlines": dict(self.deadlines)}
        found["failed"] = {str(generation): generation for generation in self.failed}
        return {name: content for name, content in found.items() if content}

    # -- calls

    def enter(self, address: str, place: Place | None, acts: bool, clock: int) -> Entered:
        self.table["lease"] = LEASE_US
        now, grace, jump = self._guard(clock, self.deadlines)
        self.table.setdefault("parties", self.parties)
        born = self.table.setdefault("born", now)
        self._lapse(now, grace, jump)
        ended = None
        if place is not None:
            ticket = place.ticket
            ended = self._verdict(address, ticket)
            if ended is None and address in self.deadlines:
                self.deadlines[address] = now + LEASE_US
        elif "broken" in self.table:
            return Entered(Standing.BROKEN, None)
        else:
            ticket = self._count("next") - 1
            self.arrived[address], self.deadlines[address] = ticket, now + LEASE_US
        if ended is Standing.BROKEN:
            return Entered(ended, None)
        generation, standing = ticket // self.parties, ended or Standing.WAITING
        if ended is None and generation == self.present() and self.is_full(generation):
            standing = self._take_part(address, generation, acts, now)
        return Entered(standing, Place(ticket, str(born)))

    def _take_part(self, address: str, generation: int, acts: bool, now: int) -> Standing:
        actor = self.table.get("actor")
        if actor is not None:
            return Standing.ACTING if actor == address else Standing.WAITING
        if self._in_doubt(generation, now):
            return Standing.WAITING
        if acts:
            for member in self._members(generation):
                self.deadlines.pop(member, None)
            self.table["actor"] = address
            self.deadlines[address] = now + LEASE_US
            return Standing.ACTING
        self._remove(address)
        self._open(generation)
        return Standing.RELEASED

    def finish(self, address: str, place: Place, done: bool) -> Standing:
        standing = self._verdict(address, place.ticket)
        if standing is not None:
            return standing
        acted = self.table.get("actor") == address
        self._remove(address)
        if done and acted:
            self._open(place.ticket // self.parties)
            return Standing.RELEASED
        self._break_from(place.ticket // self.parties)
        return Standing.BROKEN

    def leave(self, address: str, place: Place | None, stays: bool, idle: bool) -> Standing:
        ticket = place.ticket if place is not None else self.arrived.get(address)
        if "parties" not in self.table or ticket is None:
            return Standing.BROKEN
        standing = self._verdict(address, ticket)
        if standing is not None:
            return standing
        generation, acts = ticket // self.parties, self.table.get("actor") == address
        if not self.is_full(generation) or (acts and not idle):
            self._remove(address)
            self._break_from(generation)
            return Standing.BROKEN
        if not stays:
            self._remove(address)
            if acts:
                del self.table["actor"]
            if "actor" not in self.table:
                self._nudge(self.present())
        return Standing.WAITING

    def end_waits(self, anew: bool, clock: int) -> None:
        self.table.setdefault("parties", self.parties)
        self.table.setdefault("born", clock)
        self._break_from(self.present())
        if anew:
            del self.table["broken"]

    def keep(self, addresses: list[str], clock: int) -> list[str]:
        if "parties" not in self.table:
            return []
        self.table["lease"] = LEASE_US
        now, grace, jump = self._guard(clock, self.deadlines)
        self.deadlines.update(dict.fromkeys([each for each in addresses if each in self.deadlines], now + LEASE_US))
        self._lapse(now, grace, jump)
        generation = self.present()
        if now < grace and "actor" not in self.table and not self._in_doubt(generation, now):
            self._nudge(generation)
        return []

    # -- parts

    def present(self) -> int:
        return min(self.arrived.values(), default=self.table.get("next", 0)) // self.parties

    def is_full(self, generation: int) -> bool:
        return self.table.get("next", 0) >= (generation + 1) * self.parties

    def _in_line(self, first: int, last: float) -> list[str]:
        return sorted((each for each, ticket in self.arrived.items() if first <= ticket < last), key=self.arrived.get)  # type: ignore[arg-type]

    def _members(self, generation: int) -> list[str]:
        return self._in_line(generation * self.parties, (generation + 1) * self.parties)

    def _remove(self, address: str) -> None:
        self.arrived.pop(address, None)
        self.deadlines.pop(address, None)

    def _tell(self, address: str, standing: Standing) -> bool:
        if self._hears(address):
            self.told.append((address, str(standing)))
        return self._hears(address)

    def _dismiss(self, addresses: list[str], standing: Standing) -> None:
        for address in addresses:
            self._remove(address)
            self._tell(address, standing)

    def _nudge(self, generation: int) -> None:
        if self.is_full(generation):
            any(self._tell(address, Standing.LOOK) for address in self._members(generation))

    def _open(self, generation: int) -> None:
        self.table.pop("actor", None)
        self._dismiss(self._members(generation), Standing.RELEASED)
        self._nudge(self.present())

    def _break_from(self, generation: int) -> None:
        beyond = -(-self.table.get("next", 0) // self.parties)
        self._dismiss(self._in_line(generation * self.parties, float("inf")), Standing.BROKEN)
        self.failed |= set(range(generation, beyond))
        self.table |= {"next": beyond * self.parties, "broken": 1}
        if self.table.get("actor") not in self.arrived:
            self.table.pop("actor", None)

    def _verdict(self, address: str, ticket: int) -> Standing | None:
        if address in self.arrived:
            return None
        if ticket // self.parties in self.failed:
            return Standing.BROKEN
        return Standing.RELEASED if ticket // self.parties < self.present() else Standing.WAITING

    def _lapse(self, now: int, grace: int, jump: str) -> None:
        before = self._overdue(now, grace, jump)
        gone = [] if before is None else [each for each, deadline in self.deadlines.items() if deadline < before]
        lowest = min((self.arrived[address] for address in gone if address in self.arrived), default=None)
        if lowest is not None:
            self._break_from(lowest // self.parties)

    def _in_doubt(self, generation: int, now: int) -> bool:
        late = [address for address, deadline in self.deadlines.items() if deadline < now]
        return any(self.arrived.get(address, -1) // self.parties == generation for address in late)
