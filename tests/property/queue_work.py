"""What workers do to a queue, in plain dictionaries: steps, releases, leases and what is charged to whom."""

from __future__ import annotations

from typing import Any

from broker_kit import SECOND, TIMES
from queue_places import Places
from queue_values import FencedError, Held, Settled

SAMPLE_EVERY = 5 * SECOND
CAME = ("enqueued", "requeued")
LEFT = ("done", "failed", "cancelled", "expired", "crashed", "lost", "purged", "unknown", "moved", "quarantined")
MAX_CRASHES, MAX_LOSSES, MAX_DEFERS, MAX_BACKOFF = 5, 10, 20, 60 * SECOND


class Work(Places):
    """The calls of workers."""

    def step(
        self, worker: str, settled: list[Settled], started: list[str], count: int, suspects: int, max_bytes: int
    ) -> dict[str, Any]:
        if worker not in self.workers:
            raise FencedError
        letters = ""
        for item in sorted(settled, key=lambda item: item.verdict != ""):
            held = self.jobs.get(item.unique)
            holds = held is not None and held.worker == worker and held.delivery == item.delivery
            letters += "A" if holds else "S"
            if holds and held is not None:
                self._settle(held, item)
        for unique in started:
            if unique in self.jobs and self.jobs[unique].worker == worker:
                self.jobs[unique].started = True
        due = [held for held in self.at("delayed") if held.score <= self.now]
        for held in due:
            self._put(held, "ready", self._next_score(held))
        claims: list[Held] = []
        apart = 0
        if self.paused != "1":
            due_suspects = [held for held in self.at("suspect") if held.score <= self.now]
            self._claim(worker, due_suspects, suspects, max_bytes, True, claims)
            apart = len(claims)
            left = max_bytes - sum(len(held.data) for held in claims)
            self._claim(worker, self.at("ready"), count, left, False, claims)
        self.token = self.paused != "1" and bool(self.at("ready"))
        self._open_room()
        return {
            "letters": letters,
            "apart": apart,
            "paused": self.paused == "1",
            "ready": len(self.at("ready")),
            "ended": len(self.at("ended")),
            "outbox": len(self.outbox),
            "revoked": len(self.revoked),
            "next_due": int(min((held.score for held in self.at("delayed")), default=0)),
            "suspect_due": int(min((held.score for held in self.at("suspect")), default=0)),
            "claims": [(held.sent.unique, held.state(held.delivery), held.data) for held in claims],
        }

    def _claim(
        self, worker: str, heads: list[Held], count: int, max_bytes: int, apart: bool, claims: list[Held]
    ) -> None:
        claimed = size = 0
        for held in heads:
            if claimed >= count or size >= max_bytes:
                return
            if held.sent.unique in self.revoked:
                self._end(held, "cancelled")
            elif self.now / 1000 >= held.expires_at:
                self._end(held, "expired")
            else:
                held.delivery = (held.stored or 0) + 1
                held.place, held.worker, held.started, held.apart = "leased", worker, False, apart
                claims.append(held)
                claimed, size = claimed + 1, size + len(held.data)

    def _settle(self, held: Held, item: Settled) -> None:
        unique, verdict = item.unique, item.verdict
        if item.record and verdict in {"o", "x", "f"}:
            self.results[unique] = item.record
        for sent in item.follow:
            self.outbox[f"q/{sent.unique}"] = f"{sent.delay_ms}\n{sent.header}"
        if verdict in {"", "o", "x"}:
            self.count["cancelled" if verdict == "x" else "done"] += 1
            self._forget(unique)
        elif verdict == "c":
            self.count["crashes"] += 1
            self._charge(held, crashed=True, errors=item.errors)
        else:
            held.attempts += 1
            held.errors = item.errors
            self._remember(held)
            if verdict == "r":
                self.count["retried"] += 1
                self._put(held, "suspect" if held.suspect else "delayed", self.now + item.ms * 1000)
            else:
                self.count["failed"] += 1
                self._put(held, "dead", self.now)
                self.revoked.pop(unique, None)

    def _charge(self, held: Held, *, crashed: bool, errors: str = "", now: int | None = None) -> None:
        now = self.now if now is None else now
        held.crashes, held.losses = held.crashes + crashed, held.losses + (not crashed)
        held.errors = errors or held.errors
        self._remember(held)
        if held.crashes >= MAX_CRASHES:
            self._end(held, "crashed")
        elif held.losses >= MAX_LOSSES:
            self._end(held, "lost")
        elif held.suspect:
            times = max(held.crashes, held.losses - 1)
            self._put(held, "suspect", now + (0 if times <= 1 else min(MAX_BACKOFF, SECOND * 2 ** (times - 2))))
        else:
            self._put(held, "ready", held.score)

    def _give_back(self, held: Held, now: int) -> None:
        self._remember(held)
        if held.apart:
            self._put(held, "suspect", now)
        else:
            self._put(held, "ready", held.score)

    def release(self, worker: str, given: list[tuple[str, int, int]]) -> str:
        letters = ""
        for unique, delivery, defer_ms in given:
            held = self.jobs.get(unique)
            if held is None or held.worker != worker or held.delivery != delivery:
                letters += "S"
                continue
            letters += "A"
            if not defer_ms:
                self._give_back(held, self.now)
                continue
            held.defers += 1
            self._remember(held)
            if held.defers > MAX_DEFERS:
                self._end(held, "unknown")
            else:
                self._put(held, "suspect" if held.suspect else "delayed", self.now + defer_ms * 1000)
                self.token = True
        self._offer()
        return letters

    def reconcile(self, worker: str, holds: list[str]) -> tuple[int, list[str]]:
        if worker not in self.workers:
            raise FencedError
        leased = {held.sent.unique for held in self.leased(worker)}
        back = leased - set(holds)
        for unique in back:
            self._give_back(self.jobs[unique], self.now)
        if back:
            self._offer()
        return len(back), [unique for unique in holds if unique not in leased]

    # --- leases

    def register(self, worker: str) -> bool:
        if worker in self.workers:
            return False
        self.workers[worker] = max(self.now, self.tick or 0) + TIMES.ttl_us
        return True

    def deregister(self, worker: str) -> int:
        left = len(self.leased(worker))
        if left and worker in self.workers:
            self.workers[worker] = 0
        elif not left:
            self.workers.pop(worker, None)
        return left

    def heartbeat(self, worker: str) -> list[str]:
        if worker not in self.workers:
            raise FencedError
        now = self._guard()
        self.workers[worker] = now + TIMES.ttl_us
        self._sample(now)
        over = [name for name, deadline in self.workers.items() if deadline < now]
        return sorted(over, key=lambda name: (self.workers[name], name))[:10] if now >= self.grace else []

    def _sample(self, now: int) -> None:
        taken = self.samples[-1][0] if self.samples else None
        if taken is not None and taken <= now < taken + SAMPLE_EVERY:
            return
        kept = self.samples[-1:] if taken is not None and taken <= now else []
        self.samples = [*kept, (now, *(sum(self.count[name] for name in names) for names in (CAME, LEFT)))]

    def _guard(self) -> int:
        now, tick = self.now, self.tick
        if tick is not None and now < tick - SECOND:
            self.workers = {name: min(end, now + TIMES.ttl_us) for name, end in self.workers.items()}
            self.grace = now + TIMES.ttl_us
            self.count["jumps"] += 1
        elif tick is None or now > tick + 3 * TIMES.beat_us:
            self.grace = now + TIMES.ttl_us
        else:
            now = max(now, tick)
        self.tick = now
        return now

    def reap(self, worker: str) -> tuple[int, int]:
        now = self._guard()
        if now < self.grace or worker not in self.workers or self.workers[worker] >= now:
            return 0, -1
        leased = self.leased(worker)
        for held in leased:
            if held.started:
                self._charge(held, crashed=False, now=now)
                self.count["losses"] += 1
            else:
                self._give_back(held, now)
        self._offer()
        del self.workers[worker]
        return len(leased), 0
