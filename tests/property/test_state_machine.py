"""Any sequence of calls, faults and clock steps leaves a queue as plain dictionaries say, its invariants whole."""

from __future__ import annotations

from typing import Any

import pytest
from actors import FAULTS, NEW_JOBS, PICK, PICKS, RECORD_MS, STEADY
from broker_kit import SECOND, TIMES
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from machine_kit import check_by_fsck
from machines import TIMED, run_machine
from people import PUTTERS, People
from queue_values import Sent, Settled
from redis.exceptions import ResponseError

from taskq.broker import jobs
from taskq.broker.keys import registry
from taskq.model.discipline import Discipline
from taskq.model.job import Job, encode_header

EXAMPLES = 200  # over all three disciplines
STEPS = 60
FSCK_EVERY = 5  # rules: a look of fsck is a dozen calls
WAITS = [1, 40, 90, 150, 290, 310, 700, 5000, 61_000, 3_600_000]  # ms; three beats are 300
JUMPS = [-500, -1500, -3_600_000, 700, 5000, 3_600_000]  # ms; smaller ones forward are times that pass


class QueueMachine(People):
    """One queue over time: clocks, reapers, people, faults, and what must hold whatever the model says."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    @initialize(maxsize=st.sampled_from([0, 5]), batch=NEW_JOBS, others=st.integers(0, 2))
    def start(self, maxsize: int, batch: list[Any], others: int) -> None:
        self.kit.declare(self.discipline, maxsize)
        self.kit.command("SADD", registry(self.kit.keys.namespace), self.kit.keys.queue)
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

    @rule(ms=st.sampled_from(WAITS), first=st.booleans())
    def time_passes(self, ms: int, first: bool) -> None:
        self._pass(ms / 1000)
        self._look(first)

    @rule(ms=st.sampled_from(JUMPS), first=st.booleans())
    def the_clock_jumps(self, ms: int, first: bool) -> None:
        self._pass(ms / 1000, jump=True)
        if ms < 0:
            self.watch.set_back(self.kit.now)
        self._look(first)

    def _look(self, first: bool) -> None:
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

    @rule(index=PICK, both=st.booleans(), fault=FAULTS)
    def reap(self, index: int, both: bool, fault: str) -> None:
        worker = self._pick(index, self.model.workers)
        self._reap(worker, "reaper", fault)
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

    @rule(count=st.integers(1, 9))
    def a_worker_gives_back_and_takes_again(self, count: int) -> None:
        taken = {unique: self.holding[STEADY].pop(unique) for unique in self._take(STEADY, count)}
        self._give_back(STEADY, [(unique, delivery, 0) for unique, delivery in taken.items()])
        self._take(STEADY, count)
        late = [Settled(unique, delivery, "") for unique, delivery in list(taken.items())[:1]]
        held = dict(self.holding[STEADY])
        self._step(STEADY, late, [], 0, 0, 1, "")
        self.holding[STEADY] |= held

    @precondition(lambda self: self.model.maxsize)
    @rule(waiters=st.integers(1, PUTTERS))
    def the_queue_fills_and_some_wait(self, waiters: int) -> None:
        batch = [(0, None, None)] * max(1, self.model.room)
        self.enqueue(batch, [], False, "")
        for _ in range(waiters - len(self.turns)):
            self.wait_for_room(True, "")

    @rule(delay=st.booleans())
    def a_relay_is_slower_than_its_jobs(self, delay: bool) -> None:
        for unique in self._take(STEADY, 1):
            follow = [Sent(f"f-{unique}-{self.holding[STEADY][unique]}", encode_header() + "follow", 50 * delay)]
            settled = Settled(unique, self.holding[STEADY][unique], "o", "done", RECORD_MS, follow=follow)
            self._step(STEADY, [settled], [], 0, 0, 1, "")
        if not self.model.outbox:
            return
        self.a_relay_reads()
        last = len(self.relays) - 1
        self.a_relay_sends(last, "")
        self._pass(0.05)
        self._beat(STEADY)
        self._take(STEADY, 100)
        held = self.holding[STEADY]
        self._step(STEADY, [Settled(unique, held[unique], "") for unique in held], [], 0, 0, 1, "")
        self.a_relay_sends(last, "")

    # --- faults

    @precondition(lambda self: self.packets)
    @rule(actor=PICK, index=PICK)
    def a_late_packet_comes_again(self, actor: int, index: int) -> None:
        name = self._pick(actor, self.packets)
        number, call, expected = self.packets[name][index % len(self.packets[name])]
        stored = self.stored.get(name, 0)
        if not call.script.has_session or number > stored:  # a fenced worker's call leaves no reply
            self._compare(call, name, number, expected)
            return
        before = self.kit.dumps()
        if number == stored:
            self._send(call, name, number)
        else:
            with pytest.raises(ResponseError, match="TASKQ_STALE"):
                self._send(call, name, number)
        assert self.kit.dumps() == before, "8: a late packet has no effect"

    @rule(index=PICK)
    def memory_is_full(self, index: int) -> None:
        """Producers are refused, and whoever empties the queue goes on."""
        self.kit.command("CONFIG", "SET", "maxmemory", "1")
        try:
            before = self.kit.dumps()
            for delay_ms in (0, 1):
                number = self.numbers["producer"] = self.numbers.get("producer", 0) + 1
                with pytest.raises(ResponseError, match="maxmemory"):
                    self._send(jobs.enqueue(self.kit.keys, [Job("refused", b"", delay_ms)]), "producer", number)
            assert self.kit.dumps() == before
            self._beat(STEADY)
            held = self.holding[STEADY]
            self._step(STEADY, [Settled(u, d, "o", "done") for u, d in held.items()], [], 1, 1, 10**6, "")
        finally:
            self.kit.command("CONFIG", "SET", "maxmemory", "0")

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
        self.looks += 1
        if self.looks % FSCK_EVERY == 0:
            check_by_fsck(self.kit)
        assert STEADY in self.model.workers, "13: a worker that beats is never reaped"
        self.whole = True

    def teardown(self) -> None:
        """Heal, drain, and see that nothing that was accepted is missing."""
        try:
            if self.whole:
                self._drain()
        finally:
            self.process.close()
            self.kit.command("DEL", registry(self.kit.keys.namespace))
            self.kit.close()

    def _drain(self) -> None:
        self.pause(False, "")
        for _ in range(len(self.turns)):
            self.stop_waiting_for_room(0, "")
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
                self.a_relay_runs_to_its_end()
            if self.model.at("ended"):
                self.finish_ended(False, "")
            live = [held for held in self.model.jobs.values() if held.place != "dead"]
            if not live and not self.model.outbox:
                break
            self._pass(max([61, *((held.score - self.kit.now) / SECOND for held in live)]))  # all that waits is due
            self._beat(STEADY)
            self._step(STEADY, [], [], 100, 100, 10**6, "")
            held = self.holding[STEADY]
            self._step(STEADY, [Settled(unique, held[unique], "o", "drained") for unique in held], [], 0, 0, 1, "")
            self.the_server_agrees_with_the_model()
        assert not [held for held in self.model.jobs.values() if held.place != "dead"]
        self._step(STEADY, [], [], 1, 1, 1, "")
        self.watch.drained(self.kit.snapshot())
        check_by_fsck(self.kit, strict=True)


@TIMED
@pytest.mark.parametrize("discipline", Discipline)
def test_any_sequence_of_calls_and_faults(server, discipline):
    attributes = {"url": server.url, "discipline": discipline}
    run_machine(QueueMachine, attributes, examples=EXAMPLES, kinds=3, steps=STEPS)
