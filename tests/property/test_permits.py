"""Any sequence of calls and faults: permits are held by as many as there are, in order, and all come back."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import pytest
from broker_kit import SECOND
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from lease_model import BEAT_US, LEASE, LEASE_US
from listening import Process
from machine_kit import MachineKit, check_by_fsck
from machines import TIMED, run_machine
from permit_model import PermitModel
from redis.exceptions import ResponseError

from taskq.broker import permits
from taskq.broker.call import Call
from taskq.broker.line import LAST_PLACE, NO_PLACE, Wait
from taskq.broker.permits import USED, Given, TooMany

EXAMPLES = 400  # over all four kinds
STEPS = 50
ACTORS, PROCESSES = 5, 3
WAITS = [1, 100, 199, 200, 400, 600, 601, 900, 1000, 1001, 3000, 60_000]  # ms
JUMPS = [-3_600_000, -5000, -1001, 700, 5000, 3_600_000]  # ms; smaller ones are no jumps, but times that pass
T = TypeVar("T")
PICK = st.integers(0, ACTORS - 1)
PROCESS = st.integers(0, PROCESSES - 1)
FAULT = st.sampled_from(["", "", "", "", "reply lost", "session lost"])
PACKETS = 10  # of each session that may come again late


@dataclass
class Actor:
    """A thread that waits for a permit or holds some.

    Attributes:
        waits: its place, as (address, turn).
        holds: address to the real time, in microseconds, until which its lease surely lasts.
    """

    process: Process
    waits: tuple[str, str] | None
    holds: dict[str, int]


class PermitMachine(RuleBasedStateMachine):
    """Actors of a few processes and one lock or semaphore."""

    url: ClassVar[str]
    limit: ClassVar[int]
    adds: ClassVar[bool]
    bounded: ClassVar[bool]
    kind: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.kit = MachineKit(self.url, f"p{secrets.token_hex(4)}", f"{self.kind}:x")
        self.model = PermitModel(self.limit)
        self.real = 0
        self.last_jump = -LEASE_US
        self.made = 0
        self.fence = 0
        self.processes: list[Process] = []
        for number in range(PROCESSES):
            self.processes.append(self._process(number))
        self.actors = [Actor(self.processes[n % PROCESSES], None, {}) for n in range(ACTORS)]
        self.numbers: dict[str, int] = {}
        self.stored: dict[str, int] = {}  # the number whose reply a session keeps
        self.packets: dict[str, list[tuple[int, Call[Any], Callable[[], Any]]]] = {}
        self.turns: dict[str, int] = {}

    def _process(self, number: int) -> Process:
        process = Process(self.kit, number)
        process.listen(True)
        self.model.alive.add(process.token)
        return process

    # --- calls

    def _run(self, call: Call[T], expected: Callable[[], T], fault: str = "", session: str = "any") -> T:
        """Run a call here and in the model; with a fault its reply is lost, and it is sent again."""
        seq = self.numbers[session] = self.numbers.get(session, 0) + 1
        answer = self._compare(call, expected, session, seq)
        if call.script.has_session:
            self.stored[session] = seq
        self.packets.setdefault(session, []).append((seq, call, expected))
        del self.packets[session][:-PACKETS]
        if fault == "session lost":
            self.kit.command("DEL", self.kit.keys.session(session))
            self.packets.pop(session)  # packets of before do not come any more
        if fault == "session lost" or (fault and not call.script.has_session):
            answer = self._compare(call, expected, session, seq)
        elif fault:
            before = self.kit.dumps()
            assert self.kit.run(call, session=session, seq=seq) == answer
            assert self.kit.dumps() == before, "8: a replay has no effect"
        self._hear()
        return answer

    def _compare(self, call: Call[T], expected: Callable[[], T], session: str, seq: int) -> T:
        answer = self.kit.run(call, session=session, seq=seq)
        wanted = expected()
        if isinstance(wanted, Wait):
            assert isinstance(answer, Wait)
            assert (answer.turn, answer.again) == (wanted.turn, pytest.approx(wanted.again, abs=1e-6))
        else:
            assert answer == wanted
        return answer

    def _take(self, actor: Actor, address: str, turn: str, fault: str = "") -> Any:
        answer = self._run(
            permits.take(self.kit.keys, address, limit=self.limit, lease=LEASE, turn=turn, who="me"),
            lambda: self.model.take(address, turn, self.kit.now),
            fault,
            actor.process.token,
        )
        actor.waits = (address, answer.turn) if isinstance(answer, Wait) else None
        if isinstance(answer, Wait):
            self.turns[address] = int(answer.turn)
        if isinstance(answer, Given):
            self._has(actor, address, answer.fence)
        return answer

    def _give(self, addresses: list[str], count: int, session: str, fault: str = "") -> int | TooMany:
        return self._run(
            permits.give(self.kit.keys, addresses, limit=self.limit, lease=LEASE, count=count, bounded=self.bounded),
            lambda: self.model.give(addresses, count, self.bounded, self.kit.now),
            fault,
            session,
        )

    def _keep(self, actor: Actor) -> None:
        held = sorted(actor.holds)
        lost = self._run(permits.keep(self.kit.keys, held, LEASE), lambda: self.model.keep(held, self.kit.now))
        gone = {address.removeprefix(USED) for address in lost}
        actor.holds = {address: self.real + LEASE_US for address in held if address not in gone}

    def _has(self, actor: Actor, address: str, fence: int) -> None:
        actor.holds.setdefault(address, self.real + LEASE_US)
        assert fence <= self.model.table["fence"]

    def _hear(self) -> None:
        """Let every process hear what it was told: that, and nothing else, is what the model says."""
        told, self.model.told = self.model.told, []
        heard = [(address, int(news)) for process in self.processes for address, news in process.messages()]
        assert sorted(heard) == sorted(told)
        line = self.kit.read("line") or {}
        listening = {process.token for process in self.processes if process.listens}
        for address, fence in told:
            ahead = [other for other, turn in line.items() if turn < self.turns.get(address, 0)]
            waiting = [other for other in ahead if other.partition("/")[0] in listening]
            assert not waiting, "19: first come, first served"
            assert fence > self.fence, "fences grow"
            self.fence = fence
            for actor in self.actors:
                if actor.waits is not None and actor.waits[0] == address:
                    actor.waits = None
                    self._has(actor, address, fence)

    # --- what actors do

    @rule(pick=PICK, waits=st.booleans(), fault=FAULT)
    def acquire(self, pick: int, waits: bool, fault: str) -> None:
        actor = self.actors[pick]
        if actor.waits is None:
            self.made += 1
            address = f"{actor.process.token}/{self.made}"
            self._take(actor, address, LAST_PLACE if waits else NO_PLACE, fault)

    @rule(pick=PICK, fault=FAULT)
    def look_again(self, pick: int, fault: str) -> None:
        actor = self.actors[pick]
        if actor.waits is not None:
            self._take(actor, *actor.waits, fault)

    @rule(pick=PICK, fault=FAULT)
    def give_up(self, pick: int, fault: str) -> None:
        actor = self.actors[pick]
        if actor.waits is not None:
            address, actor.waits = actor.waits[0], None
            given = self._run(permits.leave(self.kit.keys, address), lambda: self.model.leave(address), fault)
            if given is not None:
                self._has(actor, address, given.fence)

    @rule(pick=PICK, fault=FAULT)
    def be_cancelled(self, pick: int, fault: str) -> None:
        actor = self.actors[pick]
        if actor.waits is not None:
            address, actor.waits = actor.waits[0], None
            self._give([address], 0, actor.process.token, fault)

    @rule(pick=PICK, count=st.integers(1, 2), fault=FAULT)
    def release(self, pick: int, count: int, fault: str) -> None:
        actor = self.actors[pick]
        given = sorted(actor.holds)[:count]
        if given:
            answer = self._give(given, 0, actor.process.token, fault)
            kept = given[answer.dropped :] if isinstance(answer, TooMany) else []
            actor.holds = {
                address: end for address, end in actor.holds.items() if address in kept or address not in given
            }

    @precondition(lambda self: self.adds)
    @rule(count=st.integers(1, 2), fault=FAULT)
    def add(self, count: int, fault: str) -> None:
        self._give([], count, "adder", fault)

    @rule(pick=PICK)
    def renew(self, pick: int) -> None:
        self._keep(self.actors[pick])

    @rule(beats=st.integers(1, 8))
    def life_goes_on(self, beats: int) -> None:
        for _ in range(beats):
            self._pass(BEAT_US)
            for actor in self.actors:
                if actor.holds:
                    self._keep(actor)
            for actor in self.actors:
                if actor.waits is not None:
                    self._take(actor, *actor.waits)

    # --- faults

    @precondition(lambda self: self.packets)
    @rule(pick=st.integers(0, 9), index=st.integers(0, PACKETS - 1))
    def a_late_packet_comes_again(self, pick: int, index: int) -> None:
        session = sorted(self.packets)[pick % len(self.packets)]
        seq, call, expected = self.packets[session][index % len(self.packets[session])]
        if not call.script.has_session:
            self._compare(call, expected, session, seq)
            self._hear()
            return
        before = self.kit.dumps()
        if seq < self.stored[session]:
            with pytest.raises(ResponseError, match="TASKQ_STALE"):
                self.kit.run(call, session=session, seq=seq)
        else:
            self.kit.run(call, session=session, seq=seq)
        assert self.kit.dumps() == before, "8: a late packet has no effect"

    @rule(number=PROCESS)
    def a_process_dies(self, number: int) -> None:
        process = self.processes[number]
        if process.listens:
            process.listen(False)
        self.model.alive.discard(process.token)
        process.close()
        self.made += 1
        self.processes[number] = self._process(100 + self.made)
        for actor in self.actors:
            if actor.process is process:
                actor.process, actor.waits, actor.holds = self.processes[number], None, {}

    @rule(pick=PICK, fault=FAULT)
    def a_child_dies(self, pick: int, fault: str) -> None:
        """Its supervisor frees what it held."""
        actor = self.actors[pick]
        held, actor.holds, actor.waits = sorted(actor.holds), {}, None
        if held:
            self._run(
                permits.give(self.kit.keys, held, limit=self.limit, lease=LEASE, dead=True),
                lambda: self.model.give(held, 0, bounded=False, clock=self.kit.now, dead=True),
                fault,
                actor.process.token,
            )

    @rule(number=PROCESS)
    def a_connection_is_lost(self, number: int) -> None:
        process = self.processes[number]
        if process.listens:
            process.listen(False)
            self.model.alive.discard(process.token)

    @rule(number=PROCESS)
    def a_connection_is_back(self, number: int) -> None:
        process = self.processes[number]
        if not process.listens:
            process.listen(True)
            self.model.alive.add(process.token)
            for actor in self.actors:
                if actor.process is process and actor.waits is not None:
                    self._take(actor, *actor.waits)

    @rule(ms=st.sampled_from(WAITS))
    def time_passes(self, ms: int) -> None:
        self._pass(ms * 1000)

    @precondition(lambda self: self.real >= self.last_jump + LEASE_US)
    @rule(ms=st.sampled_from(JUMPS))
    def the_clock_jumps(self, ms: int) -> None:
        """Once in a lease at most: who meets two jumps without a renewal between them may lose its lease."""
        self.kit.advance(ms / 1000)
        self.last_jump = self.real

    def _pass(self, us: int) -> None:
        self.real += us
        self.kit.set_clock(self.kit.now + us)

    # --- what must hold

    @invariant()
    def the_server_agrees_with_the_model(self) -> None:
        found = self.kit.snapshot()
        found.get("permits", {}).pop("by", None)
        assert found == self.model.snapshot()
        check_by_fsck(self.kit)

    @invariant()
    def no_more_hold_one_than_there_are(self) -> None:
        """As the holders themselves see it: who was given or renewed a lease less than a lease ago."""
        if not self.adds:
            sure = [address for actor in self.actors for address, end in actor.holds.items() if self.real < end]
            assert len(sure) <= self.limit

    @invariant()
    def a_bounded_one_has_no_more_than_its_limit(self) -> None:
        if self.bounded:
            assert self.model.free() <= self.limit

    def teardown(self) -> None:
        """All die; everybody's permits come back, and nobody's place is left."""
        try:
            for number in range(PROCESSES):
                self.a_process_dies(number)
            for _ in range(3 * LEASE_US // BEAT_US):
                self._pass(BEAT_US)
                self._keep(self.actors[0])
            answers = [self._take(self.actors[0], f"{self.processes[0].token}/{10**6 + n}", NO_PLACE) for n in range(9)]
            count = self.limit + self.model.table.get("extra", 0)
            assert [isinstance(answer, Given) for answer in answers] == [n < count for n in range(9)]
            if not self.adds:
                assert count == self.limit
            self.the_server_agrees_with_the_model()
            assert self.model.line == {}
        finally:
            for process in self.processes:
                process.close()
            self.kit.close()


@TIMED
@pytest.mark.parametrize(
    ("limit", "adds", "bounded"),
    [
        pytest.param(1, False, False, id="lock"),
        pytest.param(2, False, False, id="semaphore"),
        pytest.param(2, True, False, id="signals"),
        pytest.param(2, True, True, id="bounded"),
    ],
)
def test_any_sequence_of_calls_and_faults(server, limit, adds, bounded):
    kind = "lock" if limit == 1 else "semaphore"
    attributes = {"url": server.url, "limit": limit, "adds": adds, "bounded": bounded, "kind": kind}
    run_machine(PermitMachine, attributes, examples=EXAMPLES, kinds=4, steps=STEPS)


def test_the_times_are_what_the_scripts_take_them_for():
    assert (LEASE_US, BEAT_US) == (LEASE * SECOND, LEASE * SECOND / 5)
