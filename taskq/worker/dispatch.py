"""Hands claimed jobs to children and takes their answers.

Jobs are kept here, not in the children: a child holds what it runs and a few milliseconds of work beyond, so that a
short job never waits behind a long one while another slot is free.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taskq.broker.work import FullSettlement
from taskq.errors import ProtocolError, shorten
from taskq.model.outcome import Verdict
from taskq.model.signing import Signer
from taskq.worker import verdicts
from taskq.worker.children import Child
from taskq.worker.claims import Claims
from taskq.worker.leases import Lease, ServedQueue
from taskq.worker.protocol import DEFERRED, Done, Ended, Frame, JobFrame, Jobs, TaskInfo, encode_frame
from taskq.worker.tally import OUTCOMES

if TYPE_CHECKING:
    from taskq.worker.metrics import Counters

logger = logging.getLogger("taskq.worker")
LOOKAHEAD_US = 5_000  # of work that a child holds beyond what it runs: hides the hop to the supervisor
LOOKAHEAD_JOBS = 400
PREFETCH_US = 20_000  # of work that is claimed ahead: hides the round trip to the server
PREFETCH_JOBS = 1_000
STUCK = 0.03  # seconds after which unstarted jobs of a silent child are called back if a slot is free elsewhere
FRAME_BYTES = 4 * 1024 * 1024  # of jobs in one frame, unless a single one is larger; MAX_FRAME is far above
LONG = 1.0  # seconds after which a job counts as started, should its worker vanish
VERDICTS = frozenset({*Verdict, DEFERRED})
RISE, FALL = 0.7, 0.2  # weights of a batch's mean in the estimate: long jobs are believed at once, short ones slowly


@dataclass(slots=True, eq=False)
class Hand:
    """One child as the dispatcher sees it.

    Attributes:
        child: the process.
        apart: runs suspects only.
        ready: its app is imported.
        feeding: gets new jobs.
        closing: it has run all that it may (max_jobs, max_memory) and ends by itself.
        held: handle to lease, of everything it was given and has not answered.
        mean_us: how long its jobs took lately; None before the first answer.
        heard: monotonic seconds of its last frame.
        recalled: whether a recall is under way.
        offenders: handles that the supervisor ends, and how.
        asked: handles that were asked to stop, and the monotonic seconds of that.
        doomed: the supervisor kills it on purpose; neighbours go back uncounted.
        born: monotonic seconds of its start.
        retire_at: monotonic seconds of its kill, if it does not end by itself; 0 for none.
        writing: the loop waits for room in its socket.
        stale: the app's code has changed since its start: it is replaced once a child with the new code is ready.
        slots: how many jobs it runs at once.
    """

    child: Child
    apart: bool = False
    ready: bool = False
    feeding: bool = False
    closing: bool = False
    held: dict[int, Lease] = field(default_factory=dict)
    mean_us: float | None = None
    heard: float = 0.0
    recalled: bool = False
    offenders: dict[int, str] = field(default_factory=dict)
    asked: dict[int, float] = field(default_factory=dict)
    doomed: bool = False
    born: float = field(default_factory=time.monotonic)
    retire_at: float = 0.0
    writing: bool = False
    stale: bool = False
    slots: int = field(init=False)

    def __post_init__(self) -> None:
        self.slots = self.child.slots

    def release(self, handle: int) -> Lease:
        """Take a job out of ``held`` as the child answered it.

        Raises:
            ProtocolError: if the child does not hold it; it must be killed.
        """
        self.asked.pop(handle, None)
        try:
            return self.held.pop(handle)
        except KeyError:
            raise ProtocolError(f"it answered job {handle}, which it does not hold") from None

    def target(self) -> int:
        """How many jobs it should hold."""
        if self.apart or self.mean_us is None:
            return self.slots
        return self.slots + min(LOOKAHEAD_JOBS, int(self.slots * LOOKAHEAD_US / max(self.mean_us, 1.0)))


class Dispatcher:
    """Jobs between the claim loop and the children.

    Args:
        claims: settles and releases.
        worker: the worker's id, for records.
        counters: count what became of jobs; None where nobody collects them.
    """

    def __init__(self, claims: Claims, worker: str, counters: Counters | None = None) -> None:
        self._claims = claims
        self._counters = counters
        self._worker = worker
        self._handle = 0
        self.hands: list[Hand] = []
        self.pending: deque[Lease] = deque()
        self.suspects: deque[Lease] = deque()
        self.tasks: Mapping[str, TaskInfo] = {}
        self.signer: Signer | None = None
        self.held_back = False  # the lease is not renewed: start nothing
        self.stopping = False
        self.suspects_from = 0.0  # monotonic seconds; before that no child is started, after some that failed

    # --- claiming -----------------------------------------------------------------------------------------------

    def wanted(self) -> tuple[int, int]:
        """Return how many jobs and how many suspects may be claimed now. It is asked several times a turn."""
        if self.stopping or self.held_back:
            return 0, 0
        room, ahead, feeding = -len(self.pending), 0.0, False
        busy = bool(self.suspects)
        for hand in self.hands:
            if hand.apart:
                busy = busy or (bool(hand.held) and not hand.stale)
            elif hand.feeding:
                feeding = True
                room += hand.target() - len(hand.held)
                if hand.mean_us is not None:
                    ahead += hand.slots * PREFETCH_US / max(hand.mean_us, 1.0)
        apart = 0 if busy or not self._may_run_suspects() else 1
        return (max(0, room + min(PREFETCH_JOBS, int(ahead))) if feeding else 0), apart

    @property
    def feeding(self) -> int:
        """How many children get new jobs, without those for suspects."""
        return sum(hand.feeding and not hand.apart for hand in self.hands)

    def _may_run_suspects(self) -> bool:
        """Whether their child is there or can be started: another one has imported the same code."""
        startable = False
        for hand in self.hands:
            if not hand.stale:
                if hand.apart and not hand.doomed:
                    return True
                startable = startable or hand.ready
        return startable and (not self.suspects_from or time.monotonic() >= self.suspects_from)

    def add(self, leases: Iterable[Lease]) -> None:
        """Take claimed jobs."""
        for lease in leases:
            if self.stopping:
                self._claims.release(lease)
            else:
                (self.suspects if lease.suspect else self.pending).append(lease)

    # --- handing out --------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Give waiting jobs to children that have room: free slots first, then a little ahead."""
        if self.held_back or self.stopping:
            return
        if self.suspects:
            self._give_suspects()
        if not self.pending:
            return
        hands = [hand for hand in self.hands if hand.feeding and not hand.apart]
        for ahead in (False, True):
            while self.pending:
                roomy = [h for h in hands if len(h.held) < (h.target() if ahead else h.slots)]
                if not roomy:
                    break
                share = -(-len(self.pending) // len(roomy))
                for hand in roomy:
                    room = (hand.target() if ahead else hand.slots) - len(hand.held)
                    if self.pending:
                        self._give(hand, self.pending, min(room, share))

    def _give_suspects(self) -> None:
        for hand in self.hands:
            if hand.apart and hand.feeding and not hand.held and self.suspects:
                self._give(hand, self.suspects, 1)

    def _give(self, hand: Hand, source: deque[Lease], count: int) -> None:
        frames: list[JobFrame] = []
        size = 0
        handle = self._handle
        held = hand.held
        claimed = source[0].claimed_us
        if not held:
            hand.heard = time.monotonic()
        for _ in range(min(count, len(source))):
            lease = source.popleft()
            handle += 1
            lease.child = hand
            held[handle] = lease
            size += len(lease.data)
            if size > FRAME_BYTES and frames:
                hand.child.send(encode_frame(Frame.JOBS, Jobs(self._claims.offset_us, claimed, frames)))
                frames, size = [], len(lease.data)
            frames.append(
                JobFrame(handle, lease.queue.keys.queue, lease.unique, int(lease.delivery), lease.state, lease.data)
            )
        self._handle = handle
        hand.child.send(encode_frame(Frame.JOBS, Jobs(self._claims.offset_us, claimed, frames)))

    # --- answers ------------------------------------------------------------------------------------------------

    def done(self, hand: Hand, done: Done) -> None:
        """Settle what a child has finished.

        Raises:
            ProtocolError: it cannot answer that; it must be killed.
        """
        hand.heard = time.monotonic()
        release, settle = hand.release, self._claims.settle
        for handle in done.plain:
            settle(release(handle))
        for ended in done.ended:
            if ended.verdict not in VERDICTS:
                raise ProtocolError(f"it answered job {ended.handle} with verdict {shorten(ended.verdict)}")
            self._judge(release(ended.handle), ended)
        if self._counters is not None:
            self._counters.merge(done.tallies)
        count = len(done.plain) + len(done.ended)
        if count:
            mean = done.run_us / count
            known = hand.mean_us
            weight = 1.0 if known is None else RISE if mean > known else FALL
            hand.mean_us = mean if known is None else known + weight * (mean - known)

    def _judge(self, lease: Lease, ended: Ended) -> None:
        if ended.verdict == DEFERRED:
            self._claims.release(lease, max(1, ended.delay_ms))
        else:
            self._claims.settle(lease, verdicts.settlement_of(lease, ended))

    def back(self, hand: Hand, handles: Iterable[int]) -> None:
        """Take back what a child has not started."""
        hand.heard = time.monotonic()
        if not hand.recalled:  # nobody asked: it takes no more, and would return whatever it is given
            hand.closing, hand.feeding = True, False
        hand.recalled = False
        self.take_back([hand.release(handle) for handle in handles])

    def take_back(self, leases: list[Lease]) -> None:
        """Put jobs that never started in front again, or release them when the worker is stopping."""
        for lease in reversed(leases):
            lease.child = None
            if self.stopping or lease.queue.fenced or lease.worker != lease.queue.worker:
                self._claims.release(lease)  # which drops what is not ours any more
            else:
                (self.suspects if lease.suspect else self.pending).appendleft(lease)

    # --- watching -----------------------------------------------------------------------------------------------

    def call_back(self, now: float) -> None:
        """Call unstarted jobs back from a child that is silent while a slot is free elsewhere."""
        if self.pending or not any(h.feeding and not h.apart and len(h.held) < h.slots for h in self.hands):
            return
        for hand in self.hands:
            if len(hand.held) > hand.slots and not hand.recalled and now - hand.heard > STUCK:
                hand.mean_us = None  # nothing ahead for it until it answers, or half would go there again
                self.recall(hand)

    def recall(self, hand: Hand) -> None:
        """Ask a child for everything it has not started."""
        if hand.ready and hand.held and not hand.recalled:
            hand.recalled = True
            hand.child.send(encode_frame(Frame.RECALL))

    def mark_long(self, hand: Hand, running: Iterable[tuple[int, float, float]], now: float) -> None:
        """Note jobs that have run for a second: only those are charged if this worker vanishes."""
        for handle, started, _ in running:
            if now - started >= LONG:
                lease = hand.held.get(handle)
                if lease is not None and not lease.started:
                    self._claims.mark_started(lease)

    def drop_revoked(self, queue: str, modes: Mapping[str, str]) -> None:
        """Drop revoked jobs: those that wait here, and in the children those that have not started or must stop."""
        now_us = round(time.monotonic() * 1_000_000) + self._claims.offset_us
        for source in (self.pending, self.suspects):
            for lease in [item for item in source if item.queue.name == queue and item.unique in modes]:
                source.remove(lease)
                self._end(lease, verdicts.revoked(lease, self._worker, now_us, self.signer))
        for hand in self.hands:
            running = {handle for handle, _, _ in hand.child.table.running()}
            chosen = [
                handle for handle, lease in hand.held.items()
                if lease.queue.name == queue and lease.unique in modes
                and (handle not in running or modes[lease.unique] == "t")
            ]  # fmt: skip
            if chosen:
                hand.child.send(encode_frame(Frame.CANCEL, chosen))
                for handle in chosen:
                    if handle in running:
                        hand.offenders.setdefault(handle, "revoked")
                        hand.asked.setdefault(handle, time.monotonic())

    def bury(self, hand: Hand, running: Container[int], cause: str) -> None:
        """Judge what a dead child leaves: the running crashed or were ended on purpose, the rest go back uncounted.

        The rest may have run with an answer that was lost, so they go back to the server for a new delivery number.
        """
        now_us = round(time.monotonic() * 1_000_000) + self._claims.offset_us
        for handle, lease in hand.held.items():
            how = hand.offenders.get(handle)
            about = (self._worker, now_us, self.signer)
            if how == "revoked":
                self._end(lease, verdicts.revoked(lease, *about))
            elif how is not None:
                self._end(lease, verdicts.over_limit(lease, float(how), self.tasks, *about))
            elif handle not in running or hand.doomed:
                self._claims.release(lease)
            else:
                name = f"{lease.queue.name}/{lease.unique}"
                logger.error("job %s crashed: %s", name, cause, extra={"action": "job_crashed", "job": name})
                self._end(lease, verdicts.crashed(lease, cause, self.signer))
        hand.held.clear()

    def _end(self, lease: Lease, settlement: FullSettlement) -> None:
        """Settle a job that no child answers for."""
        if self._counters is not None:
            self._counters.count(lease, OUTCOMES[settlement.verdict], self.tasks)
        self._claims.settle(lease, settlement)

    def forget(self, queue: ServedQueue) -> None:
        """Drop what has not started of a queue whose lease is gone: it has other owners."""
        self.pending = deque(lease for lease in self.pending if lease.queue is not queue)
        self.suspects = deque(lease for lease in self.suspects if lease.queue is not queue)
        for hand in self.hands:
            self.recall(hand)

    def ids(self, queue: ServedQueue) -> list[str]:
        """Return the ids of a queue's jobs that wait here or are with children."""
        held = [lease for hand in self.hands for lease in hand.held.values()]
        return [lease.unique for lease in (*self.pending, *self.suspects, *held) if lease.queue is queue]

    def drop_waiting(self, queue: ServedQueue, lost: Container[str]) -> None:
        """Drop those of ``lost`` that wait here: they have other owners."""
        for source in (self.pending, self.suspects):
            for lease in [item for item in source if item.queue is queue and item.unique in lost]:
                source.remove(lease)

    @property
    def holds_any(self) -> bool:
        """Whether any claimed job is still in this worker."""
        return bool(self.pending or self.suspects) or any(hand.held for hand in self.hands)

    @property
    def held(self) -> int:
        """How many jobs are with children."""
        return sum(len(hand.held) for hand in self.hands)

    def release_pending(self) -> None:
        """Give back what no child has seen."""
        for source in (self.pending, self.suspects):
            self._release(source)

    def release_stranded(self) -> None:
        """Give back what no child here takes: how long that lasts nobody knows, and other workers may have one."""
        if self.pending and not self.feeding:
            self._release(self.pending)
        if self.suspects and not self._may_run_suspects():
            self._release(self.suspects)

    def _release(self, source: deque[Lease]) -> None:
        while source:
            self._claims.release(source.popleft())
