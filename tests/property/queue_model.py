"""A queue as plain dictionaries: what every call must answer, and what every key must hold after it."""

from __future__ import annotations

import math

from queue_values import DEAD_REASONS, Sent, number
from queue_work import Work


class Model(Work):
    """The queue, with the calls of producers, people and supervisors."""

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

    def cancel(self, unique: str, mode: str) -> str:
        held = self.jobs.get(unique)
        if held is None:
            return "N"
        if held.place in {"ended", "dead"}:
            return "E"
        if held.place != "leased":
            self._end(held, "cancelled")
            self._open_room()
            return "C"
        if mode and self.revoked.get(unique) != "t":
            self.revoked[unique] = mode
        return "L"

    def move(self, unique: str, target: str, new: str) -> str:
        held = self.jobs.get(unique)
        if held is None:
            return "N"
        if held.place == "ended":
            return held.reason if held.reason.startswith("moved ") else "E"
        if held.place == "leased":
            return "L"
        due = "dead" if held.place == "dead" else "0" if held.place == "ready" else number(held.score)
        self._end(held, f"moved {target} {new} {due}")
        self._open_room()
        return "M"

    # --- people and supervisors

    def finish(self, unique: str, reason: str, record: str, follow: list[tuple[str, str]]) -> str:
        held = self.jobs.get(unique)
        if held is None or held.place != "ended" or held.reason != reason:
            return "S"
        self.results[unique] = record
        self.outbox.update(follow)
        self.count[reason.partition(" ")[0]] += 1
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
        self._open_room()
        return min(limit, len(waiting)), max(0, len(waiting) - limit)

    def requeue(self, uniques: list[str]) -> int:
        back = 0
        for unique in uniques:
            held = self.jobs.get(unique)
            if held is not None and held.place == "dead":
                held.attempts = held.crashes = held.losses = held.defers = 0
                held.errors = ""
                held.lives += 1
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

    def relayed(self, names: list[str]) -> int:
        for name in names:
            self.outbox.pop(name, None)
        return len(self.outbox)
