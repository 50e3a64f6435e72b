"""Claims jobs and settles them: one step call in flight, in which finished jobs leave and new ones come.

The calls go round the queues in strict or weighted order. A worker with nothing to claim waits for a wake-up token on a
connection of its own, for two seconds at most; whatever ends the wait, a step follows it.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from taskq.broker import work, workers
from taskq.broker.broker import Broker
from taskq.broker.session import LONGEST_PAUSE
from taskq.broker.work import FullSettlement, StepReply, StepRequest
from taskq.errors import Fenced, TaskqError
from taskq.worker.leases import Lease, ServedQueue
from taskq.worker.wire import Post, Watch, Wire

if TYPE_CHECKING:
    from taskq.worker.metrics import Counters

logger = logging.getLogger("taskq.worker")
WAIT = 2.0  # seconds a wait for a token lasts; a lost token delays by no more
FIRST_REFUSAL = 0.05  # seconds until a refused wait is tried again; doubles up to LONGEST_PAUSE
VAIN = 0.02  # seconds between rounds that find ready jobs and get none
BATCH = work.STEP_JOBS
QUANTUM = 20  # jobs a visit and unit of weight: small enough to mix queues, large enough to hide the round trip


class Owner(Protocol):
    """What the claim loop asks and tells the worker that it belongs to."""

    def wanted(self) -> tuple[int, int]:
        """Return how many jobs and how many suspects may be claimed now."""

    def claimed(self, leases: list[Lease]) -> None:
        """Take new leases."""

    def noticed(self, queue: ServedQueue, reply: StepReply) -> None:
        """Look at a queue's reply for chores: ended, outbox, revoked."""

    def fenced(self, queue: ServedQueue, worker: str) -> None:
        """Hear that the lease of ``worker`` on a queue is gone."""

    def reconciled(self, queue: ServedQueue, given_back: int, lost: list[str]) -> None:
        """Hear how many jobs nobody here knew of, and which ones are held here without a lease."""


class Claims:
    """The claim loop's state machine; the supervisor's loop feeds it.

    Args:
        post: runs a function in the loop.
        watch: is told of the sockets to wait for.
        owner: the worker.
    """

    def __init__(self, post: Post, watch: Watch, owner: Owner) -> None:
        self.queues: Sequence[ServedQueue] = ()
        self.offset_us = 0  # server's clock minus monotonic, of the last reply
        self.stopping = False
        self._post = post
        self._watch = watch
        self._owner = owner
        self._counters: Counters | None = None
        self._wire: Wire
        self._wait: Wire
        self._weighted = False
        self._turn: deque[ServedQueue] = deque()
        self._look = True
        self._wait_after = 0.0  # monotonic seconds
        self._wait_pause = FIRST_REFUSAL
        self._whole = False  # the present round goes by all queues
        self._coming = self._coming_apart = 0  # claimed jobs and suspects of which the owner does not know yet
        self._to_reconcile: deque[tuple[ServedQueue, Callable[[], list[str]]]] = deque()

    def open(self, broker: Broker, queues: Sequence[ServedQueue], counters: Counters | None = None) -> None:
        """Connect and serve ``queues``, in the order of the options; raises as ``Wire.connect``. ``counters`` count."""
        self._counters = counters
        self._wire = Wire(broker, self._post, "claims", self._watch, counters=counters)
        # Where one connection went silent the other one has most likely, too; it would take 15 s more to find out.
        self._wait = Wire(broker, self._post, "wait", self._watch, reply_timeout=WAIT + 3, silent=self._wire.renew)
        self._wire.connect()
        self._wait.connect()
        self._weighted = any(queue.choice.weight for queue in queues)
        self.queues = queues

    # --- what the dispatcher says -------------------------------------------------------------------------------

    def settle(self, lease: Lease, full: FullSettlement | None = None) -> None:
        """Note a finished job; it leaves with the next step, unless its lease is gone."""
        queue = lease.queue
        if lease.worker != queue.worker or queue.fenced:
            self._drop(lease)
        elif full is None:
            queue.request.plain += (lease.unique, lease.delivery)
            queue.settling.append(lease)
        else:
            queue.request.full.append(full)
            queue.settling_full.append(lease)

    def _drop(self, lease: Lease) -> None:
        self._count_dropped(lease)
        name = f"{lease.queue.name}/{lease.unique}"
        logger.warning(
            "job %s ended after its lease was taken away; its outcome is dropped", name,
            extra={"action": "outcome_dropped", "job": name},
        )  # fmt: skip

    def _count_dropped(self, lease: Lease) -> None:
        if self._counters is not None:
            self._counters.drop(lease.queue.name)

    def release(self, lease: Lease, defer_ms: int = 0) -> None:
        """Give a job back uncounted."""
        if lease.worker == lease.queue.worker and not lease.queue.fenced:
            lease.queue.releases.append((lease, defer_ms))

    def mark_started(self, lease: Lease) -> None:
        """Tell the server with the next step that a job runs long, so that its loss would be charged."""
        lease.started = True
        lease.queue.request.started.append(lease.unique)

    def look(self) -> None:
        """Claim at the next opportunity."""
        self._look = True

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be said and no call is under way."""
        return not self._wire.busy and not any(queue.has_work_to_say() for queue in self.queues)

    @property
    def drained(self) -> bool:
        """Whether the last round found nothing: no ready, no delayed and no suspect job in any queue."""
        quiet = self._wait.busy and not self._look and self.idle
        return quiet and not any(
            q.ready or q.next_due or q.suspect_due or q.blocked_until or q.fenced for q in self.queues
        )

    # --- the round of calls -------------------------------------------------------------------------------------

    def pump(self, now: float) -> None:
        """Send what is next, if no call is under way."""
        self._wire.tick(now)
        self._wait.tick(now)
        self._check_due(now)
        self._send_next(now)
        if not self._wire.busy and now >= self._wait_after:
            self._start_wait(now)

    def _send_next(self, now: float) -> None:
        while not self._wire.busy:
            if self._to_reconcile:
                if self._coming or self._coming_apart:  # they would seem not to be here
                    return
                self._send_reconcile(*self._to_reconcile.popleft())
                continue
            queue = self._next_queue(now)
            if queue is None:
                break
            self._visit(queue)

    def _wanted(self) -> tuple[int, int]:
        """Return how many jobs and how many suspects may be claimed beside those that are being taken in."""
        want, suspects = self._owner.wanted()
        return max(0, want - self._coming), 0 if self._coming_apart else suspects

    def _next_queue(self, now: float) -> ServedQueue | None:
        if not self._turn:
            want, suspects = (0, 0) if self.stopping else self._wanted()
            self._whole = (want > 0 and self._look) or (suspects > 0 and self._suspect_is_due(now))
            if self._whole:
                self._look = self._look and want <= 0
                self._turn.extend(self._order())
            else:
                self._turn.extend(queue for queue in self.queues if queue.has_work_to_say())
            if want <= 0:
                self._look = True  # as soon as there is room again
        while self._turn:
            queue = self._turn.popleft()
            if queue.can_be_asked(now):
                return queue
        return None

    def _suspect_is_due(self, now: float) -> bool:
        server_us = round(now * 1_000_000) + self.offset_us
        return any(0 < q.suspect_due <= server_us and q.can_be_asked(now) for q in self.queues)

    def _order(self) -> list[ServedQueue]:
        if not self._weighted:
            return list(self.queues)
        total = sum(queue.choice.weight for queue in self.queues)
        for queue in self.queues:
            queue.credit += queue.choice.weight
        first = max(self.queues, key=lambda queue: queue.credit)
        first.credit -= total
        return [first, *sorted((q for q in self.queues if q is not first), key=lambda q: -q.credit)]

    def _visit(self, queue: ServedQueue) -> None:
        if queue.releases:
            self._send_releases(queue)
            self._turn.appendleft(queue)
            return
        want, suspects = (0, 0) if self.stopping else self._wanted()
        if len(self.queues) > 1 and self._wait.busy and not self._whole and not self._look:
            want = 0  # a job of a higher queue may have come: only a whole round claims
        if want and not self._weighted and self._is_behind(queue):
            want = 0  # slots became free since the higher one was asked: they are for what it still has
            self._look = True
        request, settling = self._take_request(queue)
        if self._weighted and want:
            want = min(want, QUANTUM * queue.choice.weight)
        request.count, request.suspects = min(want, BATCH), suspects
        if not request and not request.count and not request.suspects and not queue.due:
            return
        queue.due = False
        call = work.step(queue.keys, queue.worker, request)
        numbering, worker = queue.numbering, queue.worker
        self._wire.call(
            call, numbering.session, numbering.next(),
            lambda reply: self._stepped(queue, worker, request, reply, settling),
            lambda error: self._refused(queue, worker, request, error, settling),
        )  # fmt: skip

    def _is_behind(self, queue: ServedQueue) -> bool:
        """Tell whether a higher queue had more when it was last asked."""
        for other in self.queues:
            if other is queue:
                return False
            if other.has_more and not other.blocked_until:
                return True
        return False

    def _take_request(self, queue: ServedQueue) -> tuple[StepRequest, list[Lease]]:
        whole, plain, full = queue.request, queue.settling, queue.settling_full
        if len(whole.plain) <= 2 * BATCH and len(whole.full) <= BATCH:
            queue.request, queue.settling, queue.settling_full = StepRequest(), [], []
            return whole, plain + full
        part = StepRequest(whole.plain[: 2 * BATCH], whole.full[:BATCH], whole.started)
        leases = plain[:BATCH] + full[:BATCH]
        queue.request = StepRequest(whole.plain[2 * BATCH :], whole.full[BATCH:])
        queue.settling, queue.settling_full = plain[BATCH:], full[BATCH:]
        return part, leases

    def _stepped(
        self, queue: ServedQueue, worker: str, request: StepRequest, reply: StepReply, settling: list[Lease]
    ) -> None:
        if queue.fenced or queue.worker != worker:  # the beat heard meanwhile that the lease is gone
            return
        queue.pause, queue.blocked_until = 0.05, 0.0
        self.offset_us = reply.now - time.monotonic_ns() // 1000
        queue.ready = 0 if reply.paused else reply.ready
        queue.next_due, queue.suspect_due = (0, 0) if reply.paused else (reply.next_due, reply.suspect_due)
        if "S" in reply.letters:
            self._report_stale(settling, reply.letters)
        claims = reply.claims
        queue.has_more = queue.ready > 0 and (bool(claims) or request.count == 0)
        if not self._turn and not self._look:
            self._look = any(q.ready for q in self.queues) and (bool(claims) or request.count == 0)
            if queue.ready and request.count and not claims:  # a queue of other versions' jobs, say: do not spin
                self._wait_after = time.monotonic() + VAIN
        if claims:
            self._take_in(queue, reply)
        self._owner.noticed(queue, reply)

    def _take_in(self, queue: ServedQueue, reply: StepReply) -> None:
        """Hand claimed jobs over, while the server is at the next call already."""
        claims = reply.claims
        self._coming, self._coming_apart = len(claims) // 3 - reply.apart, reply.apart
        self._send_next(time.monotonic())
        self._coming = self._coming_apart = 0
        leases = []
        for i in range(0, len(claims), 3):
            state = claims[i + 1]
            unique, delivery = claims[i].decode(), state[: state.index(b";")].decode()
            apart = i < 3 * reply.apart
            leases.append(Lease(queue, unique, delivery, state, claims[i + 2], queue.worker, reply.now, apart))
        self._owner.claimed(leases)

    def _report_stale(self, settling: list[Lease], letters: str) -> None:
        for lease, letter in zip(settling, letters, strict=False):
            if letter == "S":
                self._count_dropped(lease)
                name = f"{lease.queue.name}/{lease.unique}"
                logger.info("job %s was settled by another worker", name, extra={"action": "stale", "job": name})

    def _refused(
        self, queue: ServedQueue, worker: str, request: StepRequest, error: TaskqError, settling: list[Lease]
    ) -> None:
        if isinstance(error, Fenced) or queue.worker != worker:
            for lease in settling:
                self._drop(lease)
            self._owner.fenced(queue, worker)
            return
        plain = len(request.plain) // 2
        queue.request.plain[:0] = request.plain
        queue.request.full[:0] = request.full
        queue.request.started[:0] = request.started
        queue.settling[:0] = settling[:plain]
        queue.settling_full[:0] = settling[plain:]
        self._block(queue, error)

    def _block(self, queue: ServedQueue, error: TaskqError) -> None:
        queue.blocked_until = time.monotonic() + queue.pause
        queue.pause = min(LONGEST_PAUSE, queue.pause * 2)
        logger.error("queue %s: %s", queue.name, error, extra={"action": "queue_refused", "queue": queue.name})

    def _send_releases(self, queue: ServedQueue) -> None:
        batch, queue.releases = queue.releases[:BATCH], queue.releases[BATCH:]
        call = work.release(queue.keys, queue.worker, [(lease.unique, lease.delivery, ms) for lease, ms in batch])

        def refused(error: TaskqError) -> None:
            queue.releases[:0] = batch
            self._block(queue, error)

        self._wire.call(call, "", 0, lambda _: None, refused)

    # --- comparing ----------------------------------------------------------------------------------------------

    def reconcile(self, queue: ServedQueue, held: Callable[[], list[str]]) -> None:
        """Let the server give back what it thinks is here and is not.

        Args:
            queue: where.
            held: returns the ids that are in the worker; asked when no other call is under way.
        """
        if not queue.fenced and all(queue is not waiting for waiting, _ in self._to_reconcile):
            self._to_reconcile.append((queue, held))

    def _send_reconcile(self, queue: ServedQueue, held: Callable[[], list[str]]) -> None:
        if queue.fenced:
            return
        worker, numbering = queue.worker, queue.numbering

        def answered(reply: tuple[int, list[str]]) -> None:
            if queue.worker == worker:
                self._owner.reconciled(queue, *reply)

        def refused(error: TaskqError) -> None:
            if isinstance(error, Fenced):
                self._owner.fenced(queue, worker)
            else:
                self._block(queue, error)

        call = workers.reconcile(queue.keys, worker, [*held(), *queue.unsaid()])
        self._wire.call(call, numbering.session, numbering.next(), answered, refused)

    # --- waiting ------------------------------------------------------------------------------------------------

    def _start_wait(self, now: float) -> None:
        if self._wait.busy or self._look or self.stopping or self._owner.wanted()[0] <= 0:
            return
        keys = [queue.keys.key("wake") for queue in self.queues if queue.can_be_asked(now)]
        if keys:
            seconds = WAIT * random.uniform(0.75, 1.0)
            self._wait.command(work.wait(keys, seconds).pack(), self._woken, self._not_woken)

    def _woken(self, token: Sequence[bytes] | None) -> None:
        self._look = True
        if token is not None and (self.stopping or self._owner.wanted()[0] <= 0):  # others wait for it
            for queue in self.queues:
                queue.due = queue.due or (queue.keys.key("wake").encode() == token[0] and not queue.fenced)
        self._wait_pause = FIRST_REFUSAL

    def _not_woken(self, error: TaskqError) -> None:
        self._look = True
        self._wait_after = time.monotonic() + self._wait_pause
        self._wait_pause = min(LONGEST_PAUSE, self._wait_pause * 2)
        logger.error("waiting for jobs: %s", error, extra={"action": "wait_refused"})

    def _check_due(self, now: float) -> None:
        server_us = round(now * 1_000_000) + self.offset_us
        for queue in self.queues:
            if queue.blocked_until:
                if now >= queue.blocked_until:
                    queue.blocked_until, self._look = 0.0, True
            elif 0 < queue.next_due <= server_us and not queue.fenced and not self.stopping:
                queue.due = True  # also without a free slot: others wait for the token that promotion sets
                self._look = self._look or self._owner.wanted()[0] > 0

    def deadline(self, now: float) -> float:
        """Return the monotonic time until which the loop may sleep."""
        limit = now + WAIT
        _, suspects = self._owner.wanted()
        if not self._wire.busy:  # else its answer ends the sleep, and nothing can be asked before
            for queue in self.queues:
                if queue.blocked_until:
                    limit = min(limit, queue.blocked_until)
                elif not queue.fenced:
                    for due, relevant in ((queue.next_due, not self.stopping), (queue.suspect_due, suspects > 0)):
                        if due and relevant:
                            limit = min(limit, (due - self.offset_us) / 1_000_000 + 0.0005)
        for wire in (self._wire, self._wait):
            if wire.deadline():
                limit = min(limit, wire.deadline())
        if self._wait_after > now:
            limit = min(limit, self._wait_after)
        return max(now, limit)

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()
        self._wait.close()
