"""A queue as plain dictionaries: what every call must answer, and what every key must hold after it."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from broker_kit import NOW, SECOND, TIMES
from queue_values import DEAD_REASONS, FencedError, Held, Sent, Settled, number

from taskq.broker.queues import COUNTERS
from taskq.model.discipline import Discipline

SAMPLE_EVERY = 5 * SECOND
CAME = ("enqueued", "requeued")
LEFT = ("done", "failed", "cancelled", "expired", "crashed", "lost", "purged", "unknown", "quarantined")
MAX_CRASHES, MAX_LOSSES, MAX_DEFERS, MAX_BACKOFF = 5, 10, 20, 60 * SECOND


class Model:
    """The queue."""

    def __init__(self, discipline: Discipline) -> None:
        self.discipline = discipline
        self.now = NOW
        self.maxsize = 0
        self.paused: str | None = None
        self.seq: int | None = None
        self.tick: int | None = None
        self.grace = 0
        self.samples: list[tuple[int, int, int]] = []
        self.jobs: dict[str, Held] = {}
        self.workers: dict[str, int] = {}
        self.revoked: dict[str, str] = {}
        self.outbox: dict[str, str] = {}
        self.results: dict[str, str] = {}
        self.marks: set[str] = set()
        self.count: Counter[str] = Counter()
        self.token = False

    # --- places

    def at(self, place: str) -> list[Held]:
        """Return the jobs of a place in the order in which they leave."""
        found = [held for held in self.jobs.values() if held.place == place]
        return sorted(found, key=lambda held: (held.score, held.sent.unique))

    def leased(self, worker: str) -> list[Held]:
        return [held for held in self.at("leased") if held.worker == worker]

    def _put(self, held: Held, place: str, score: float) -> None:
        held.place, held.score, held.worker = place, score, ""

    def _next_score(self, held: Held) -> float:
        self.seq = max((self.seq or 0) + 1, self.now)
        if self.discipline is Discipline.PRIORITY:
            return held.sent.rank
        return -self.seq if self.discipline is Discipline.LIFO else self.seq

    def _remember(self, held: Held) -> None:
        held.stored = held.delivery

    def _offer(self) -> None:
        if self.at("ready") and self.paused != "1":
            self.token = True

    # --- producers

    def enqueue(self, batch: list[Sent], *, forced: bool = False) -> str:
        room: float = math.inf
        if self.maxsize and not forced:
            room = self.maxsize - len(self.at("ready")) - len(self.at("delayed"))
        earliest = min((held.score for held in self.at("delayed")), default=math.inf)
        letters, dues, ready = "", [], False
        for sent in batch:
            known = self.jobs.get(sent.unique)
            if known is not None:
                letters += "D" if known.sent.header == sent.header else "C"
            elif room <= 0:
                letters, room = letters + "F", -math.inf
            else:
                letters, room = letters + "A", room - 1
                held = self._accept(sent)
                ready = ready or held.place == "ready"
                dues += [held.score] if held.place == "delayed" else []
        if (ready and self.paused != "1") or (dues and min(dues) < earliest):
            self.token = True
        return letters

    def relay(self, batch: list[Sent]) -> str:
        letters = ""
        for sent in batch:
            if sent.unique in self.jobs or sent.unique in self.results or sent.unique in self.marks:
                letters += "D"
            else:
                letters += "A"
                self._accept(sent)
                self.marks.add(sent.unique)
        if "A" in letters:
            self.seq = self.seq if self.seq is not None and self.seq >= self.now else self.now - 1
            self.token = self.token or self.paused != "1"
        return letters

    def _accept(self, sent: Sent) -> Held:
        accepted = self.now // 1000
        held = Held(sent, f"{accepted};{sent.header}", accepted + sent.expires_ms)
        self.jobs[sent.unique] = held
        self.count["enqueued"] += 1
        if sent.delay_ms:
            self._put(held, "delayed", self.now + sent.delay_ms * 1000)
        else:
            self._put(held, "ready", self._next_score(held))
        return held

    def cancel(self, unique: str, mode: str) -> str:
        held = self.jobs.get(unique)
        if held is None:
            return "N"
        if held.place in {"ended", "dead"}:
            return "E"
        if held.place != "leased":
            self._end(held, "cancelled")
            return "C"
        if mode and self.revoked.get(unique) != "t":
            self.revoked[unique] = mode
        return "L"

    # --- workers

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
            self.outbox[f"q/{sent.unique}"] = f"0\n{sent.header}"
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

    def _forget(self, unique: str) -> None:
        del self.jobs[unique]
        self.revoked.pop(unique, None)

    def _end(self, held: Held, reason: str) -> None:
        held.place, held.reason, held.worker = "ended", reason, ""

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
        self.workers[worker] = self.now + TIMES.ttl_us
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

    # --- people and supervisors

    def finish(self, unique: str, reason: str) -> str:
        held = self.jobs.get(unique)
        if held is None or held.place != "ended" or held.reason != reason:
            return "S"
        self.results[unique] = f"ended {reason}"
        self.count[reason] += 1
        if reason in DEAD_REASONS:
            held.stored = held.stored or 0
            self._put(held, "dead", self.now)
            self.revoked.pop(unique, None)
        else:
            self._forget(unique)
        return "A"

    def purge(self, limit: int) -> tuple[int, int]:
        waiting = [held for place in ("ready", "delayed", "suspect") for held in self.at(place)]
        for held in waiting[:limit]:
            self._end(held, "purged")
        self.token = self.token and len(waiting) > limit
        return min(limit, len(waiting)), max(0, len(waiting) - limit)

    def requeue(self, uniques: list[str]) -> int:
        back = 0
        for unique in uniques:
            held = self.jobs.get(unique)
            if held is not None and held.place == "dead":
                held.attempts = held.crashes = held.losses = held.defers = 0
                held.errors = ""
                accepted = self.now // 1000
                held.data, held.expires_at = f"{accepted};{held.sent.header}", accepted + held.sent.expires_ms
                self.results.pop(unique, None)
                self._put(held, "ready", self._next_score(held))
                back += 1
        self.count["requeued"] += back
        if back:
            self._offer()
        return back

    def drop(self, uniques: list[str]) -> int:
        dead = {unique for unique in uniques if unique in self.jobs and self.jobs[unique].place == "dead"}
        for unique in dead:
            del self.jobs[unique]
        return len(dead)

    def pause(self, paused: bool) -> bool:
        self.paused = "1" if paused else "0"
        self.token = not paused
        return paused

    # --- the whole

    def snapshot(self) -> dict[str, Any]:
        """Return every key as ``Kit.snapshot`` reads it."""
        meta = {"discipline": str(self.discipline), "maxsize": str(self.maxsize)}
        meta |= {"paused": self.paused} if self.paused is not None else {}
        meta |= {"seq": str(self.seq)} if self.seq is not None else {}
        meta |= {"tick": str(self.tick), "grace": str(self.grace)} if self.tick is not None else {}
        sample = " ".join(str(part) for sample in self.samples for part in sample)
        meta |= {"sample": sample} if sample else {}
        meta |= {name: str(self.count[name]) for name in COUNTERS if self.count[name]}
        keys: dict[str, Any] = {"meta": meta}
        keys["jobs"] = {unique: held.data for unique, held in self.jobs.items()}
        keys["state"] = {u: held.state(held.stored) for u, held in self.jobs.items() if held.stored is not None}
        for place in ("ready", "delayed", "suspect", "dead"):
            keys[place] = {held.sent.unique: float(held.score) for held in self.at(place)}
        keys["ended"] = {held.sent.unique: held.reason for held in self.at("ended")}
        for held in self.at("leased"):
            text = f"{held.delivery};{number(held.score)};{held.started:d};{held.apart:d}"
            keys.setdefault(f"l:{held.worker}", {})[held.sent.unique] = text
        keys["workers"] = {name: float(deadline) for name, deadline in self.workers.items()}
        keys["revoked"], keys["outbox"] = dict(self.revoked), dict(self.outbox)
        keys["wake"] = ["1"] if self.token else []
        keys |= {f"r:{unique}": record for unique, record in self.results.items()}
        keys |= {f"m:{unique}": "1" for unique in self.marks}
        return {name: value for name, value in keys.items() if value}
