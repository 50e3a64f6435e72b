"""Leases of one lock, semaphore or barrier in plain dictionaries. Times are the server's, in microseconds."""

from __future__ import annotations

from typing import Any

from broker_kit import SECOND

LEASE = 1.0  # seconds
LEASE_US = SECOND
BEAT_US = SECOND // 5


class LeaseModel:
    """The clock guard and whose lease is over.

    Attributes:
        table: the hash, without who made it.
        alive: tokens of the processes that listen.
    """

    def __init__(self) -> None:
        self.table: dict[str, Any] = {}
        self.alive: set[str] = set()

    def _hears(self, address: str) -> bool:
        return address.partition("/")[0] in self.alive

    def _guard(self, clock: int, deadlines: dict[str, int]) -> tuple[int, int, str]:
        """Return the guarded time, until when nobody's lease is over, and why that was set now."""
        tick, grace, now, jump = self.table.get("tick"), self.table.get("grace", 0), clock, ""
        if tick is not None and clock < tick - SECOND:
            deadlines.update({address: min(end, clock + LEASE_US) for address, end in deadlines.items()})
            grace, jump = clock + LEASE_US, "back"
            self._count("jumps")
        elif tick is None or clock > tick + 3 * BEAT_US:
            grace, jump = clock + LEASE_US, "gap"
        else:
            now = max(clock, tick)
        self.table |= {"tick": now, "grace": grace}
        return now, grace, jump

    def _overdue(self, now: int, grace: int, jump: str) -> int | None:
        if now >= grace:
            return now
        since = self.table.get("since")
        if not jump or (jump == "gap" and since is not None and now < since + LEASE_US):
            return None
        self.table["since"] = now
        return since if jump == "gap" else None

    def _count(self, name: str, by: int = 1) -> int:
        self.table[name] = self.table.get(name, 0) + by
        return self.table[name]
