"""Producers and workers of the state machine: what they call, and what they believe to hold."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from broker_kit import SECOND, TIMES, text
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from invariants import Watch
from listening import Process
from machine_kit import MachineKit
from queue_model import Model
from queue_values import FencedError, Sent, Settled

from taskq.broker import jobs, work, workers
from taskq.errors import Fenced
from taskq.model.discipline import Discipline
from taskq.model.job import Job, encode_header

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskq.broker.call import Call

PACKETS = 20  # of each actor that may come again late
STEADY = "steady"
FENCING = {"step", "heartbeat", "reconcile"}
RECORD_MS = 600_000  # of real time: above a test's length

MS = st.sampled_from([0, 0, 0, 1, 50, 700, 5000])
RANKS = st.sampled_from([None, 0.0, -1.0, 0.5, 3.0])
EXPIRES = st.sampled_from([None] * 8 + [0, 100, 10_000])
PICK = st.integers(0, 50)
PICKS = st.lists(PICK, max_size=4)
SOME = st.lists(PICK, min_size=1, max_size=4)
NEW_JOBS = st.lists(st.tuples(MS, RANKS, EXPIRES), min_size=1, max_size=5)
VERDICTS = st.sampled_from(["", "", "o", "o", "x", "f", "r", "c", "c", "c"])
SETTLEMENTS = st.lists(st.tuples(PICK, VERDICTS, st.sampled_from([0, 50, 2000]), st.booleans()), min_size=1, max_size=4)
FAULTS = st.sampled_from(["", "", "", "", "replay", "lost"])


class Actors(RuleBasedStateMachine):
    """Producers and workers of one queue, and the model that says what each of their calls must answer."""

    url: ClassVar[str]
    discipline: ClassVar[Discipline]

    def __init__(self) -> None:
        super().__init__()
        self.kit = MachineKit(self.url, f"p{secrets.token_hex(4)}")
        self.model = Model(self.discipline)
        self.watch = Watch()
        self.holding: dict[str, dict[str, int]] = {}  # what each worker, alive or fenced, believes to hold
        self.former: dict[str, dict[str, list[int]]] = {}  # all that each worker ever held: job to deliveries
        self.numbers: dict[str, int] = {}
        self.packets: dict[str, list[tuple[int, Call[Any], Callable[[], Any]]]] = {}
        self.stored: dict[str, int] = {}  # the number of the last reply that the server keeps for a session
        self.process = Process(self.kit, 1)  # of those who wait for room
        self.process.listen(True)
        self.model.alive.add(self.process.token)
        self.called: set[str] = set()  # who was told that there is room, and has not done anything since
        self.real = 0  # microseconds that passed, whatever the server's clock says
        self.beaten: dict[str, int] = {}  # worker to the real time of its last beat
        self.made = 0
        self.whole = False  # the last call did what it should

    # --- running a call

    def _run(self, actor: str, make: Callable[[], Call[Any]], expected: Callable[[], Any], fault: str = "") -> Any:
        """Run a call and its model; perhaps its reply is lost and it is sent again, with its session or without."""
        call = make()
        number = self.numbers[actor] = self.numbers.get(actor, 0) + 1
        answer = self._compare(call, actor, number, expected)
        self.packets.setdefault(actor, []).append((number, call, expected))
        del self.packets[actor][:-PACKETS]
        if fault and not call.script.has_session:
            answer = self._compare(call, actor, number, expected)
        elif fault == "replay" and answer is not None:
            before = self.kit.dumps()
            assert self._send(call, actor, number) == answer
            assert self.kit.dumps() == before, "8: a replay has no effect"
        elif fault == "lost":
            self.lose_session(actor)
            answer = self._compare(call, actor, number, expected)
        return answer

    def _compare(self, call: Call[Any], actor: str, number: int, expected: Callable[[], Any]) -> Any:
        self.whole = False
        fenced = self.kit.dumps() if call.script.name in FENCING and actor not in self.model.workers else None
        try:
            wanted = expected()
        except FencedError:
            with pytest.raises(Fenced):
                self._send(call, actor, number)
            assert fenced is None or self.kit.dumps() == fenced, "14: a fenced worker changes nothing"
            return None
        answer = self._send(call, actor, number)
        assert comparable(answer, wanted) == wanted
        if call.script.has_session:
            self.stored[actor] = number
        self._hear()
        return answer

    def _send(self, call: Call[Any], actor: str, number: int) -> Any:
        return self.kit.run(call, session=actor, seq=number)

    def _hear(self) -> None:
        """Let who waits for room hear that it was called up: as the model says."""
        told, self.model.told = self.model.told, []
        if self.model.maxsize:
            assert sorted(address for address, _ in self.process.messages()) == sorted(told)
            self.called.update(told)

    def lose_session(self, actor: str) -> None:
        """The server forgets a session, as after a failover; packets of before five minutes do not come any more."""
        self.kit.command("DEL", self.kit.keys.session(actor))
        self.packets.pop(actor, None)
        self.stored.pop(actor, None)

    def _pick(self, index: int, names: Any) -> Any:
        found = sorted(names)
        return found[index % len(found)] if found else None

    # --- producers

    @rule(batch=NEW_JOBS, again=st.lists(PICK, max_size=1), forced=st.booleans(), fault=FAULTS)
    def enqueue(self, batch: list[Any], again: list[int], forced: bool, fault: str) -> None:
        sent = [self._new_job(*parts) for parts in batch]
        sent += [self._again(index) for index in again if self.model.jobs]
        made = [Job(item.unique, item.header.encode(), item.delay_ms) for item in sent]
        self._run(
            "producer",
            lambda: jobs.enqueue(self.kit.keys, made, forced=forced),
            lambda: self.watch.accepted(self.model, sent, self.model.enqueue(sent, forced=forced)),
            fault,
        )

    def _new_job(self, delay_ms: int, rank: float | None, expires_ms: int | None) -> Sent:
        self.made += 1
        header = encode_header("", "", expires_ms, rank if self.discipline is Discipline.PRIORITY else None) + "x"
        limit = float("inf") if expires_ms is None else expires_ms
        return Sent(f"j{self.made:03}", header, delay_ms, rank or 0.0, limit)

    def _again(self, index: int) -> Sent:
        unique = self._pick(index, self.model.jobs)
        old = self.model.jobs[unique].sent
        return Sent(unique, old.header if index % 2 else old.header + "other", old.delay_ms, old.rank, old.expires_ms)

    @precondition(lambda self: self.model.jobs)
    @rule(index=PICK, mode=st.sampled_from(["", "r", "t"]), fault=FAULTS)
    def cancel(self, index: int, mode: str, fault: str) -> None:
        unique = self._pick(index, self.model.jobs) or "nobody"
        self._run(
            "producer",
            lambda: jobs.cancel(self.kit.keys, unique, revoke=mode == "r", terminate=mode == "t"),
            lambda: self.model.cancel(unique, mode),
            fault,
        )

    # --- workers

    def _busy(self, index: int) -> str:
        return self._pick(index, [worker for worker, held in self.holding.items() if held])

    def _join(self, worker: str) -> None:
        self._run(
            worker,
            lambda: workers.register(self.kit.keys, worker, TIMES),
            lambda: self.model.register(worker),
            "replay",
        )
        self.holding[worker] = {}
        self.beaten[worker] = self.real

    @precondition(lambda self: len(self.model.workers) < 4)
    @rule()
    def join(self) -> None:
        self._join(f"w{len(self.holding)}")

    @rule(index=PICK)
    def join_with_a_copied_id(self, index: int) -> None:
        worker = self._pick(index, self.model.workers)
        self._run("clone", lambda: workers.register(self.kit.keys, worker, TIMES), lambda: False)

    @rule(index=PICK, count=st.integers(0, 6), suspects=st.integers(0, 2), small=st.booleans(), fault=FAULTS)
    def claim(self, index: int, count: int, suspects: int, small: bool, fault: str) -> None:
        self._step(self._pick(index, self.holding), [], [], count, suspects, 60 if small else 10**6, fault)

    @precondition(lambda self: any(self.holding.values()))
    @rule(
        index=PICK,
        settled=SETTLEMENTS,
        started=PICKS,
        count=st.integers(0, 3),
        suspects=st.integers(0, 1),
        fault=FAULTS,
    )
    def step(self, index: int, settled: list[Any], started: list[int], count: int, suspects: int, fault: str) -> None:
        worker = self._busy(index)
        held = self.holding[worker]
        running = [self._pick(pick, held) for pick in started if held]
        self._step(worker, self._verdicts(worker, settled), running, count, suspects, 10**6, fault)

    @rule(index=PICK, taken=st.integers(1, 5), settled=SETTLEMENTS, count=st.integers(0, 3), fault=FAULTS)
    def work(self, index: int, taken: int, settled: list[Any], count: int, fault: str) -> None:
        worker = self._pick(index, self.model.workers)
        self._take(worker, taken)
        self._step(worker, self._verdicts(worker, settled), [], count, 1, 10**6, fault)

    @precondition(lambda self: self.former)
    @rule(index=PICK, pick=PICK, delivery=PICK, verdict=VERDICTS, fault=FAULTS)
    def settle_what_it_had(self, index: int, pick: int, delivery: int, verdict: str, fault: str) -> None:
        """A slow child is done with what its worker gave back, and perhaps has claimed again."""
        worker = self._pick(index, self.former)
        unique = self._pick(pick, self.former[worker])
        deliveries = self.former[worker][unique]
        old = deliveries[delivery % len(deliveries)]
        if self.holding[worker].get(unique) != old:
            settled = [Settled(unique, old, verdict, "late" if verdict == "o" else "", errors="late")]
            held = self.holding[worker].get(unique)
            self._step(worker, settled, [], 0, 0, 1, fault)
            if held is not None:
                self.holding[worker][unique] = held

    def _verdicts(self, worker: str, settled: list[Any]) -> list[Settled]:
        held = self.holding[worker]
        chosen: dict[str, Settled] = {}
        for pick, verdict, ms, follow in settled:
            if unique := self._pick(pick, held):
                record = f"{verdict} by {worker} {held[unique]}" if verdict in {"o", "x", "f"} else ""
                chosen[unique] = Settled(unique, held[unique], verdict, record, RECORD_MS if record else ms, verdict)
                if verdict == "o" and follow:
                    chosen[unique].follow = [Sent(f"f-{unique}-{held[unique]}", encode_header() + "follow")]
        return list(chosen.values())

    def _step(
        self, worker: str, settled: list[Settled], started: list[str], count: int, suspects: int, size: int, fault: str
    ) -> None:
        request = work.StepRequest(
            [part for item in settled if not item.verdict for part in (item.unique, str(item.delivery))],
            [full_settlement(item) for item in settled if item.verdict],
            started, count, suspects, size,
        )  # fmt: skip

        def expected() -> dict[str, Any]:
            return self.watch.stepped(
                self.model, worker, settled, lambda: self.model.step(worker, settled, started, count, suspects, size)
            )

        reply = self._run(worker, lambda: work.step(self.kit.keys, worker, request), expected, fault)
        for item in settled:
            self.holding[worker].pop(item.unique, None)
        if reply is not None:
            claims = reply.claims
            for i in range(0, len(claims), 3):
                unique, delivery = text(claims[i]), int(claims[i + 1].partition(b";")[0])
                self.holding[worker][unique] = delivery
                self.former.setdefault(worker, {}).setdefault(unique, []).append(delivery)

    @precondition(lambda self: any(self.holding.values()))
    @rule(index=PICK, picks=SOME, defer=st.sampled_from([0, 0, 1, 500]), fault=FAULTS)
    def release(self, index: int, picks: list[int], defer: int, fault: str) -> None:
        worker = self._busy(index)
        given = sorted({self._pick(pick, self.holding[worker]) for pick in picks if self.holding[worker]})
        triples = [(unique, self.holding[worker].pop(unique), defer) for unique in given]
        self._give_back(worker, triples, fault)

    def _give_back(self, worker: str, triples: list[tuple[str, int, int]], fault: str = "") -> None:
        self._run(
            worker,
            lambda: work.release(self.kit.keys, worker, [(u, str(d), ms) for u, d, ms in triples]),
            lambda: self.model.release(worker, triples),
            fault,
        )

    @rule(index=PICK, forgets=PICKS, fault=FAULTS)
    def reconcile(self, index: int, forgets: list[int], fault: str) -> None:
        worker = self._pick(index, self.holding)
        for pick in forgets:
            self.holding[worker].pop(self._pick(pick, self.holding[worker]), None)
        holds = sorted(self.holding[worker])
        answer = self._run(
            worker,
            lambda: workers.reconcile(self.kit.keys, worker, holds),
            lambda: self.model.reconcile(worker, holds),
            fault,
        )
        for unique in answer[1] if answer else ():
            del self.holding[worker][unique]

    @rule(index=PICK, fault=FAULTS)
    def leave(self, index: int, fault: str) -> None:
        worker = self._pick(index, set(self.model.workers) - {STEADY})
        if worker:
            self.beaten.pop(worker, None)
            self._run(
                worker,
                lambda: workers.deregister(self.kit.keys, worker),
                lambda: self.model.deregister(worker),
                fault,
            )

    # --- what rules are made of

    def _beat(self, worker: str) -> None:
        def expected() -> list[str]:
            over = self.model.heartbeat(worker)
            self.beaten[worker] = self.real
            for other in over:
                self._may_be_reaped(other)
            return over

        beat = self._run(worker, lambda: workers.heartbeat(self.kit.keys, worker, TIMES), expected)
        if beat is not None:
            assert beat.held == len(self.model.leased(worker))

    def _pass(self, seconds: float, *, jump: bool = False) -> None:
        """Let time pass, or the server's clock jump."""
        self.kit.advance(seconds)
        self.model.now = self.kit.now
        if not jump:
            self.real += round(seconds * SECOND)
        elif seconds > -1:  # too small a step to be seen: the clock stands still for as long
            self.real += round(abs(seconds) * SECOND)

    def _reap(self, worker: str, actor: str, fault: str = "") -> None:
        def expected() -> tuple[int, int]:
            answer = self.model.reap(worker)
            if answer[1] >= 0:
                self._may_be_reaped(worker)
            return answer

        self._run(actor, lambda: workers.reap(self.kit.keys, worker, TIMES), expected, fault)

    def _may_be_reaped(self, worker: str) -> None:
        since = self.beaten.get(worker)
        assert since is None or self.real - since >= TIMES.ttl_us, "13: a worker that beats is not reaped"

    def _take(self, worker: str, count: int) -> list[str]:
        before = set(self.holding[worker])
        self._step(worker, [], [], count, count, 10**6, "")
        return sorted(set(self.holding[worker]) - before)


def full_settlement(item: Settled) -> work.FullSettlement:
    follow = [(f"q/{sent.unique}", f"{sent.delay_ms}\n{sent.header}".encode()) for sent in item.follow]
    return work.FullSettlement(
        item.unique, str(item.delivery), item.verdict, item.record.encode(), item.ms, item.errors.encode(), "", follow
    )


def comparable(answer: Any, wanted: Any) -> Any:
    """Return what the model predicts of an answer."""
    if isinstance(answer, work.StepReply):
        claims = answer.claims
        triples = [tuple(map(text, claims[i : i + 3])) for i in range(0, len(claims), 3)]
        return {name: triples if name == "claims" else getattr(answer, name) for name in wanted}
    return answer.over if isinstance(answer, workers.Beat) else answer
