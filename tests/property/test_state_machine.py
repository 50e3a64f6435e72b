"""Any sequence of calls, faults and clock steps leaves a queue as plain dictionaries say, its invariants whole."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pytest
from actors import NEW_JOBS, PICK, PICKS, RECORD_MS, SOME, STEADY, Actors
from broker_kit import SECOND, TIMES, text
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from queue_values import DEAD_REASONS, Sent, Settled
from redis.exceptions import ResponseError

from taskq.broker import browsing, jobs, queues, work
from taskq.errors import Fenced
from taskq.model.discipline import Discipline
from taskq.model.job import Job

EXAMPLES = int(os.environ.get("TASKQ_SOAK", "200"))  # over all three disciplines
STEPS = 60
WAITS = [1, 40, 90, 150, 290, 310, 700, 5000, 61_000, 3_600_000]  # ms; three beats are 300
BACK = [500, 1500, 3_600_000]  # ms


class QueueMachine(Actors):
    """One queue over time: clocks, reapers, people, faults, and what must hold whatever the model says."""

    @initialize(maxsize=st.sampled_from([0, 0, 9]), batch=NEW_JOBS, others=st.integers(0, 2))
    def start(self, maxsize: int, batch: list[Any], others: int) -> None:
        self.kit.declare(self.discipline, maxsize)
        self.model.maxsize = maxsize
        self._join(STEADY)
        self._beat(STEADY)
        for _ in range(others):
            self.join()
        self.enqueue(batch, [], False, "")

    # --- time, heartbeats, reaping

    @rule(index=PICK)
    def heartbeat(self, index: int) -> None:
        self._beat(self._pick(index, self.holding))

    @rule(ms=st.sampled_from(WAITS + [-back for back in BACK]), first=st.booleans())
    def clock_moves(self, ms: int, first: bool) -> None:
        self._pass(ms / 1000)
        if ms < 0:
            self.watch.set_back(self.kit.now)
        if first:  # a reaper is sooner than the next beat of a worker that lives
            self._reap(STEADY, "reaper")
        self._beat(STEADY)

    @rule(beats=st.integers(1, 8), alive=PICKS)
    def life_goes_on(self, beats: int, alive: list[int]) -> None:
        beating = {self._pick(index, self.model.workers) for index in alive}
        for _ in range(beats):
            self._pass(TIMES.beat * 0.9)
            for worker in sorted(beating | {STEADY}):
                self._beat(worker)

    @rule(index=PICK, both=st.booleans())
    def reap(self, index: int, both: bool) -> None:
        worker = self._pick(index, self.model.workers)
        self._reap(worker, "reaper")
        if both:
            self._reap(worker, "second reaper")

    # --- the same misfortune over and over

    @rule(rounds=st.integers(1, 5), count=st.integers(1, 2))
    def jobs_crash(self, rounds: int, count: int) -> None:
        for _ in range(rounds):
            held = {unique: self.holding[STEADY][unique] for unique in self._take(STEADY, count)}
            self._step(STEADY, [Settled(u, d, "c", errors="boom") for u, d in held.items()], [], 0, 0, 1, "")
            self._pass(61)
            self._beat(STEADY)

    @rule(rounds=st.integers(1, 6), count=st.integers(1, 3), started=st.booleans(), both=st.booleans())
    def workers_vanish(self, rounds: int, count: int, started: bool, both: bool) -> None:
        for _ in range(rounds):
            worker = f"w{len(self.holding)}"
            self._join(worker)
            taken = self._take(worker, count)
            self._step(worker, [], taken if started else [], 0, 0, 1, "")
            for _ in range(4):
                self.life_goes_on(8, [])
                if worker in self.model.workers:
                    self._reap(worker, "reaper")
            if both:
                self._reap(worker, "second reaper")
            self._pass(61)
            self._beat(STEADY)

    @rule(rounds=st.integers(1, 21))
    def a_task_is_unknown(self, rounds: int) -> None:
        for _ in range(rounds):
            triples = [(unique, self.holding[STEADY].pop(unique), 1) for unique in self._take(STEADY, 1)]
            self._give_back(STEADY, triples)
            self._pass(0.001)
            self._beat(STEADY)

    # --- people and supervisors

    @rule(limit=st.integers(0, 5), fault=st.sampled_from(["", "replay"]))
    def purge(self, limit: int, fault: str) -> None:
        self._run("admin", lambda: queues.purge(self.kit.keys, limit), lambda: self.model.purge(limit), fault)

    @rule(paused=st.sampled_from([True, False, False]), fault=st.sampled_from(["", "replay"]))
    def pause(self, paused: bool, fault: str) -> None:
        self._run("admin", lambda: queues.pause(self.kit.keys, paused), lambda: self.model.pause(paused), fault)

    @precondition(lambda self: self.model.at("dead"))
    @rule(picks=SOME, fault=st.sampled_from(["", "replay"]))
    def requeue(self, picks: list[int], fault: str) -> None:
        dead = [held.sent.unique for held in self.model.at("dead")]
        chosen = [self._pick(pick, dead) for pick in picks if dead]
        self.watch.requeued(set(chosen))
        self._run("admin", lambda: jobs.requeue(self.kit.keys, chosen), lambda: self.model.requeue(chosen), fault)

    @precondition(lambda self: self.model.at("dead"))
    @rule(picks=SOME, fault=st.sampled_from(["", "replay"]))
    def drop(self, picks: list[int], fault: str) -> None:
        dead = [held.sent.unique for held in self.model.at("dead")]
        chosen = [self._pick(pick, dead) for pick in picks]
        self._run("admin", lambda: browsing.drop(self.kit.keys, chosen), lambda: self.model.drop(chosen), fault)

    @precondition(lambda self: self.model.at("ended"))
    @rule(twice=st.booleans())
    def finish_ended(self, twice: bool) -> None:
        _, found = self.kit.run(work.ended(self.kit.keys), session="supervisor", seq=1)
        waiting = {(held.sent.unique, held.reason) for held in self.model.at("ended")}
        assert {(item.unique, item.reason) for item in found} <= waiting
        assert len(found) == min(50, len(waiting))
        items = [
            work.Finish(
                item.unique, item.reason, f"ended {item.reason}".encode(), RECORD_MS, "", item.reason in DEAD_REASONS
            )
            for item in found
        ]
        for _ in range(1 + twice):
            self._run(
                "supervisor",
                lambda: work.end(self.kit.keys, items),
                lambda: "".join(
                    [self.watch.finished(item.unique, self.model.finish(item.unique, item.reason)) for item in items]
                ),
            )

    @precondition(lambda self: self.model.outbox)
    @rule(crash=st.booleans(), twice=st.booleans())
    def relay(self, crash: bool, twice: bool) -> None:
        messages = self.kit.link.run(jobs.outbox(self.kit.keys))
        assert {name: text(message) for name, message in messages} == self.model.outbox
        sent = [Sent(name.partition("/")[2], text(message).partition("\n")[2]) for name, message in sorted(messages)]
        made = [Job(item.unique, item.header.encode()) for item in sent]
        for _ in range(1 + twice):
            self._run(
                "relay",
                lambda: jobs.relay(self.kit.keys, made),
                lambda: self.watch.accepted(self.model, sent, self.model.relay(sent)),
            )
        if not crash:
            self._run("relay", lambda: jobs.relayed(self.kit.keys, list(self.model.outbox)), lambda: 0)
            self.model.outbox.clear()

    # --- faults

    @rule(actor=PICK, index=PICK)
    def a_late_packet_comes_again(self, actor: int, index: int) -> None:
        name = self._pick(actor, self.packets)
        if name is None or not self.packets[name]:
            return
        number, call = self.packets[name][index % len(self.packets[name])]
        if call.script.has_session:
            with contextlib.suppress(Fenced):
                try:
                    self._send(call, name, number)
                except ResponseError as error:
                    if "TASKQ_STALE" not in str(error):
                        raise
        elif call.script.name == "release":
            assert set(self._send(call, name, number)) <= {"S"}

    @rule()
    def scripts_are_flushed(self) -> None:
        self.kit.command("SCRIPT", "FLUSH")

    # --- what must hold

    @invariant()
    def the_server_agrees_with_the_model(self) -> None:
        if not self.holding:
            return
        snapshot = self.kit.snapshot()
        assert snapshot == self.model.snapshot()
        self.watch.check(snapshot)
        self.whole = True

    def teardown(self) -> None:
        """Heal, drain, and see that nothing that was accepted is missing."""
        try:
            if self.whole:
                self._drain()
        finally:
            self.kit.close()

    def _drain(self) -> None:
        self.pause(False, "")
        for worker in sorted(set(self.model.workers) - {STEADY}):
            for _ in range(4):  # a ttl, a grace, and the second for which a clock that was set back stands still
                self.life_goes_on(8, [])
                if worker in self.model.workers:
                    self._reap(worker, "reaper")
            assert worker not in self.model.workers
        self.holding[STEADY].clear()
        self.reconcile(sorted(self.holding).index(STEADY), [], "")
        for _ in range(90):
            if self.model.outbox:
                self.relay(False, False)
            if self.model.at("ended"):
                self.finish_ended(False)
            live = [held for held in self.model.jobs.values() if held.place != "dead"]
            if not live:
                break
            self._pass(max(61, (max(held.score for held in live) - self.kit.now) / SECOND))  # all that waits is due
            self._beat(STEADY)
            self._step(STEADY, [], [], 100, 100, 10**6, "")
            held = self.holding[STEADY]
            self._step(STEADY, [Settled(unique, held[unique], "o", "drained") for unique in held], [], 0, 0, 1, "")
            self.the_server_agrees_with_the_model()
        assert not [held for held in self.model.jobs.values() if held.place != "dead"]
        self._step(STEADY, [], [], 1, 1, 1, "")
        self.watch.drained(self.kit.snapshot())


@pytest.mark.timeout(0 if EXAMPLES > 1000 else 120)
@pytest.mark.parametrize("discipline", Discipline)
def test_any_sequence_of_calls_and_faults(server, discipline):
    machine = type("Machine", (QueueMachine,), {"url": server.url, "discipline": discipline})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=-(-EXAMPLES // 3),
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
