"""The invariants of a queue, judged by what the server holds and by a log of what was seen, apart from any model."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from queue_values import FINAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from queue_model import Model
    from queue_values import Sent, Settled

PLACES = ("ready", "delayed", "suspect", "dead", "quarantine", "ended")


class Watch:
    """What happened to every job so far."""

    def __init__(self) -> None:
        self.taken: dict[str, str] = {}  # id -> header, of every accepted job
        self.acceptances: Counter[str] = Counter()
        self.terminal: dict[str, str] = {}  # id -> how it ended
        self.delivery: dict[str, int] = {}  # id -> the last one handed out
        self.not_before: dict[str, int] = {}  # id -> server time
        self.follow_ups: Counter[str] = Counter()
        self.promised: set[str] = set()  # follow-ups of what was settled or ended
        self.rerouted: set[str] = set()  # dead jobs that were moved
        self.revived = 0  # dead jobs that went to another place: counted as failed, and as moved
        self.records: dict[str, str] = {}  # id -> what everybody reads

    def accepted(self, model: Model, sent: list[Sent], letters: str) -> str:
        for item, letter in zip(sent, letters, strict=True):
            if letter == "A":
                self.taken[item.unique] = item.header
                self.acceptances[item.unique] += 1
                self.terminal.pop(item.unique, None)
                self.delivery.pop(item.unique, None)
                due = self.not_before.get(item.unique, 0) if item.unique.startswith("m") else 0
                self.not_before[item.unique] = max(due, model.now + item.delay_ms * 1000)
                if item.unique[0] in "fem":
                    self.follow_ups[item.unique] += 1
                    assert self.follow_ups[item.unique] == 1, "15: a follow-up is accepted once"
        return letters

    def set_back(self, now: int) -> None:
        """The clock was set back: what was due already may start although its time comes once more."""
        self.not_before = {unique: min(time, now) for unique, time in self.not_before.items()}

    def requeued(self, uniques: set[str]) -> None:
        for unique in uniques:
            self.terminal.pop(unique, None)
            self.records.pop(f"r:{unique}", None)

    def moves(self, unique: str, new: str, letter: str, *, dead: bool) -> str:
        if letter == "M":
            self.revived += dead
            self.rerouted.update({unique} if dead else ())
            self.terminal.pop(unique, None)  # it ends once more, if it was dead
            self.not_before[new] = self.not_before.get(unique, 0)
        return letter

    def finished(self, unique: str, letter: str, follow: list[str]) -> str:
        if letter == "A":
            self._ends(unique, "ended")
            self.promised.update(follow)
            if unique in self.rerouted:
                self.records.pop(f"r:{unique}", None)  # who asks for the result of a dead job is told where it went
        return letter

    def stepped(
        self, model: Model, worker: str, settled: list[Settled], run: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        ready = {held.sent.unique: held.score for held in model.at("ready")}
        answer = run()
        for item, letter in zip(sorted(settled, key=lambda item: item.verdict != ""), answer["letters"], strict=True):
            if letter == "A":
                if item.verdict in {"", "o", "x", "f"}:
                    self._ends(item.unique, item.verdict or "o")
                self.promised.update(sent.unique for sent in item.follow)
                if item.verdict == "r":
                    self.not_before[item.unique] = model.now + item.ms * 1000
        for unique, state, _ in answer["claims"]:
            delivery = int(state.partition(";")[0])
            assert delivery > self.delivery.get(unique, 0), "5: the delivery number only grows"
            self.delivery[unique] = delivery
            assert self.not_before.get(unique, 0) <= model.now, "10: nothing starts before it is due"
            assert unique not in self.terminal, "7: what has ended does not run again"
        claimed = {unique for unique, _, _ in answer["claims"][answer["apart"] :]}
        left = {held.sent.unique for held in model.at("ready")}
        worst = max((ready[unique] for unique in claimed if unique in ready), default=None)
        assert worst is None or all(ready[unique] >= worst for unique in left if unique in ready), (
            "9: no better job is left behind"
        )
        return answer

    def _ends(self, unique: str, how: str) -> None:
        assert unique not in self.terminal, "16: a job ends once"
        self.terminal[unique] = how

    def check(self, snapshot: dict[str, Any]) -> None:
        jobs = snapshot.get("jobs", {})
        leases = {name: value for name, value in snapshot.items() if name.startswith("l:")}
        places = Counter(unique for place in PLACES for unique in snapshot.get(place, {}))
        places.update(unique for lease in leases.values() for unique in lease)
        assert places == dict.fromkeys(jobs, 1), "1, 4: every job is in exactly one place"
        assert set(snapshot.get("state", {})) <= set(jobs), "1: no state without a job"
        assert {name[2:] for name in leases} <= set(snapshot.get("workers", {})), "4: a lease has a worker"
        assert set(self.taken) <= set(jobs) | set(self.terminal), "2: nothing accepted is lost"
        assert not (set(self.terminal) & set(jobs)) - set(snapshot.get("dead", {})), "7: what has ended is gone"
        assert set(snapshot.get("revoked", {})) <= set(jobs), "18: marks go with their jobs"
        for unique, state in snapshot.get("state", {}).items():
            _, _, crashes, losses, defers, *_ = map(int, state.partition("\n")[0].split(";"))
            assert crashes <= 5, "5: crashes are bounded"
            assert losses <= 10, "5: losses are bounded"
            assert defers <= 21, "5: deferrals are bounded"
            if unique in snapshot.get("ready", {}):
                assert crashes == 0, "a job that crashed waits apart"
                assert losses < 2, "a job that was lost twice waits apart"
        for name, record in snapshot.items():
            if name.startswith("r:"):
                assert self.records.setdefault(name, record) == record, "7: all who look see the same result"
        self._check_token(snapshot)
        self._check_counters(snapshot)

    def _check_token(self, snapshot: dict[str, Any]) -> None:
        token = snapshot.get("wake", [])
        assert len(token) <= 1, "12: one token at most"
        if snapshot["meta"].get("paused") != "1" and "ready" in snapshot:
            assert token, "12: a token while unpaused ready jobs are there"

    def _check_counters(self, snapshot: dict[str, Any]) -> None:
        meta = snapshot["meta"]
        live = len(snapshot.get("jobs", {})) - len(snapshot.get("dead", {}))
        came = int(meta.get("enqueued", 0)) + int(meta.get("requeued", 0))
        left = sum(int(meta.get(name, 0)) for name in FINAL)
        assert came + self.revived == live + left, "17: every job is counted once"
        assert int(meta.get("enqueued", 0)) == sum(self.acceptances.values()), "17: as accepted"

    def drained(self, snapshot: dict[str, Any]) -> None:
        assert set(self.taken) == set(self.terminal), "3: every accepted job has ended"
        assert self.promised <= set(self.taken), "15: no follow-up is lost"
        rest = {name for name in snapshot if not name.startswith(("r:", "m:"))}
        assert rest <= {"meta", "workers", "jobs", "state", "dead"}, "18: an idle queue keeps nothing else"
        assert snapshot.get("jobs", {}).keys() == snapshot.get("dead", {}).keys()
