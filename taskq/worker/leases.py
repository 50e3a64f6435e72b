"""What a worker holds: its leases on jobs, and what it has to say to the queues that they came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from taskq.broker.keys import QueueKeys
from taskq.broker.session import Numbering
from taskq.broker.work import StepRequest
from taskq.worker.options import QueueChoice


class Lease(msgspec.Struct, eq=False, gc=False):
    """One claimed job: what it is, whose lease it stands under, and where it is inside this worker."""

    queue: ServedQueue
    unique: str
    delivery: str
    state: bytes
    data: bytes
    worker: str
    claimed_us: int
    suspect: bool = False
    child: Any = None
    started: bool = False  # told the server that it runs long


@dataclass(slots=True, eq=False)
class ServedQueue:
    """One queue of this worker and what waits to be said to it."""

    choice: QueueChoice
    keys: QueueKeys
    worker: str  # id under which jobs are leased; another one after a fence
    numbering: Numbering = field(default_factory=Numbering)
    request: StepRequest = field(default_factory=StepRequest)
    settling: list[Lease] = field(default_factory=list)  # plain ones, then the full ones of ``request``
    settling_full: list[Lease] = field(default_factory=list)
    releases: list[tuple[Lease, int]] = field(default_factory=list)
    ready: int = 0
    has_more: bool = False  # ready jobs that the last step would have given, had it been asked for more
    next_due: int = 0  # us of the server's clock
    due: bool = False  # that time has passed, and no step has said so
    suspect_due: int = 0
    blocked_until: float = 0.0  # monotonic; after a refusal; 0 for not blocked
    pause: float = 0.05
    fenced: bool = False
    mismatches: int = 0  # beats in a row that counted other jobs here than there are
    credit: int = 0  # smooth weighted round robin

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.keys.queue

    def has_work_to_say(self) -> bool:
        """Whether settlements, marks, releases or a due time wait."""
        return bool(self.request) or bool(self.releases) or self.due

    def can_be_asked(self, now: float) -> bool:
        """Whether a call may be sent: it has a lease, and no refusal just now."""
        return now >= self.blocked_until and not self.fenced

    def unsaid(self) -> list[str]:
        """Return the ids of jobs whose end or return the server has not heard."""
        return [lease.unique for lease in (*self.settling, *self.settling_full, *(item for item, _ in self.releases))]

    def start_over(self, worker: str) -> None:
        """Go on under a new worker id after a fence; what was to be said under the old one is void."""
        self.worker = worker
        self.numbering = Numbering()
        self.request = StepRequest()
        self.settling, self.settling_full, self.releases = [], [], []
        self.fenced, self.blocked_until = False, 0.0
