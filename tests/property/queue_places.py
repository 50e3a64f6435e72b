"""Places of a queue as plain dictionaries: which job is where, and what every key must hold."""

from __future__ import annotations

from collections import Counter
from typing import Any

from broker_kit import NOW
from queue_values import Held, Sent, number

from taskq.broker.line import LAST_PLACE, Wait
from taskq.broker.queues import COUNTERS
from taskq.model.discipline import Discipline


class Places:
    """The jobs of a queue, its settings and who waits for room."""

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
        self.turn = 0
        self.putters: dict[str, int] = {}  # who waits for room: address to turn
        self.alive: set[str] = set()  # tokens of the processes that listen
        self.told: list[str] = []  # addresses that were called up

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

    def _forget(self, unique: str) -> None:
        del self.jobs[unique]
        self.revoked.pop(unique, None)

    def _end(self, held: Held, reason: str) -> None:
        held.place, held.reason, held.worker = "ended", reason, ""

    # --- room

    @property
    def room(self) -> int:
        return self.maxsize - len(self.at("ready")) - len(self.at("delayed"))

    def wait_room(self, address: str, turn: str) -> Wait | None:
        if not self.maxsize or self.room > 0:
            self.putters.pop(address, None)
            return None
        if turn == LAST_PLACE and address in self.putters:
            turn = str(self.putters[address])
        elif turn == LAST_PLACE:
            self.turn += 1
            turn = str(self.turn)
        self.putters[address] = int(turn)
        rank = sorted(self.putters, key=lambda each: (self.putters[each], each)).index(address)
        return Wait(turn, 2 + 0.01 * rank)

    def leave_room(self, address: str) -> bool:
        waited = self.putters.pop(address, None) is not None
        if not waited:
            self._open_room()
        return waited

    def _open_room(self) -> None:
        count = self.room if self.maxsize else 0
        while count > 0 and self.putters:
            address = min(self.putters, key=lambda each: (self.putters[each], each))
            del self.putters[address]
            if address.partition("/")[0] in self.alive:
                self.told.append(address)
                count -= 1

    # --- the whole

    def snapshot(self) -> dict[str, Any]:
        """Return every key as ``Kit.snapshot`` reads it."""
        meta = {"discipline": str(self.discipline), "maxsize": str(self.maxsize)}
        meta |= {"paused": self.paused} if self.paused is not None else {}
        meta |= {"seq": str(self.seq)} if self.seq is not None else {}
        meta |= {"tick": str(self.tick), "grace": str(self.grace)} if self.tick is not None else {}
        meta |= {"turn": str(self.turn)} if self.turn else {}
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
        keys["putters"] = {address: float(turn) for address, turn in self.putters.items()}
        keys["wake"] = ["1"] if self.token else []
        keys |= {f"r:{unique}": record for unique, record in self.results.items()}
        keys |= {f"m:{unique}": "1" for unique in self.marks}
        return {name: value for name, value in keys.items() if value}
