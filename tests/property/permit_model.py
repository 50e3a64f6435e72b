"""What the scripts of locks and semaphores must do, in plain dictionaries. Times are the server's, in microseconds."""

from __future__ import annotations

from typing import Any

from lease_model import BEAT_US, LEASE_US, LeaseModel

from taskq.broker.line import LAST_PLACE, NO_PLACE, Wait
from taskq.broker.permits import USED, Given, Refused, TooMany

WATCHERS = 4


class PermitModel(LeaseModel):
    """One lock or semaphore.

    Attributes:
        told: who was told of a permit, with its fence, since this was last emptied.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.holders: dict[str, int] = {}
        self.fences: dict[str, int] = {}
        self.line: dict[str, int] = {}
        self.told: list[tuple[str, int]] = []

    def snapshot(self) -> dict[str, Any]:
        """Return what the server's keys must hold, without who made it."""
        found: dict[str, Any] = {"permits": {name: str(value) for name, value in self.table.items()}}
        found["fences"] = {address: str(fence) for address, fence in self.fences.items()}
        found |= {"holders": self.holders, "line": self.line}
        return {name: dict(content) for name, content in found.items() if content}

    # -- calls

    def take(self, address: str, turn: str, clock: int) -> Given | Wait | Refused:
        self.table.setdefault("limit", self.limit)
        now = self._begin(clock)
        if turn not in {NO_PLACE, LAST_PLACE} and address not in self.fences:
            self.line[address] = int(turn)
        self._hand_over(now)
        fence = self.fences.get(address)
        if fence is None and self.free() > 0:
            fence = self._give(address, now)
        if fence is not None:
            self.line.pop(address, None)
            return Given(fence)
        if turn == NO_PLACE:
            return Refused()
        if turn == LAST_PLACE:
            turn = str(self._count("turn"))
            self.line[address] = int(turn)
        return Wait(turn, (self._again(address, now) + 1000) / 1e6)

    def give(self, addresses: list[str], count: int, bounded: bool, clock: int, *, dead: bool = False) -> int | TooMany:
        now = self._begin(clock)
        self.table.setdefault("limit", self.limit)
        held = [address for address in addresses if address in self.holders]
        if bounded and self.free() + len(held) + count > self.limit:
            return TooMany(self._settle_up(held[: self.table.get("extra", 0)]))
        for address in addresses:
            self.line.pop(address, None)
        if dead:
            self._settle_up(held)
        for address in held:
            self._take_back(address)
        if count:
            self._count("extra", count)
        self._hand_over(now)
        return len(held)

    def leave(self, address: str) -> Given | None:
        self.line.pop(address, None)
        fence = self.fences.get(address)
        return Given(fence) if fence is not None else None

    def keep(self, addresses: list[str], clock: int) -> list[str]:
        self.table["lease"] = LEASE_US
        now, _, jump = self._guard(clock, self.holders)
        if jump == "back":
            self.table.pop("since", None)
        gone = [address for address in addresses if address not in self.holders]
        held = [address for address in addresses if address in self.holders]
        used = held[: self.table.get("extra", 0)]
        self._settle_up(used)
        for address in held[len(used) :]:
            self.holders[address] = now + LEASE_US
        return gone + [USED + address for address in used]

    def free(self) -> int:
        return self.table.get("limit", 0) + self.table.get("extra", 0) - len(self.holders)

    # -- parts

    def _begin(self, clock: int) -> int:
        self.table["lease"] = LEASE_US
        now, grace, jump = self._guard(clock, self.holders)
        before = self._overdue(now, grace, jump)
        gone = [address for address, deadline in self.holders.items() if before is not None and deadline < before]
        self._settle_up(gone)
        return now

    def _settle_up(self, gone: list[str]) -> int:
        for address in gone:
            self._take_back(address)
        number = min(len(gone), self.table.get("extra", 0))
        if number:
            self._count("extra", -number)
        return number

    def _hand_over(self, now: int) -> None:
        while self.free() > 0 and self.line:
            address = min(self.line, key=lambda each: (self.line[each], each))
            del self.line[address]
            fence = self._give(address, now)
            if self._hears(address):
                self.told.append((address, fence))
            else:
                self._take_back(address)

    def _give(self, address: str, now: int) -> int:
        fence = self.table["fence"] = max(self.table.get("fence", 0) + 1, now)
        self.holders[address], self.fences[address] = now + LEASE_US, fence
        return fence

    def _take_back(self, address: str) -> None:
        self.holders.pop(address, None)
        self.fences.pop(address, None)

    def _again(self, address: str, now: int) -> int:
        if address not in self.line:  # it was passed over this moment
            return LEASE_US
        rank = sorted(self.line, key=lambda each: (self.line[each], each)).index(address)
        if rank >= WATCHERS:
            return LEASE_US
        if rank:
            return 2 * BEAT_US
        left = min(self.holders.values()) - now if self.holders else LEASE_US
        return min(BEAT_US, max(0, left, self.table["grace"] - now)) if self.holders else BEAT_US
