"""Any sequence of calls and faults: permits are held by as many as there are, in order, and all come back."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import pytest
from broker_kit import SECOND, Kit
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from permit_model import BEAT_US, LEASE, LEASE_US, PermitModel

from taskq.broker import permits
from taskq.broker.call import Call, Command
from taskq.broker.connection import Link
from taskq.broker.line import LAST_PLACE, NO_PLACE, Wait
from taskq.broker.permits import USED, Given, TooMany
from taskq.broker.results import channel, parse_signal

EXAMPLES = int(os.environ.get("TASKQ_SOAK", "100"))  # of each kind
STEPS = 50
ACTORS, PROCESSES = 5, 3
WAITS = [1, 100, 199, 200, 400, 600, 601, 900, 1000, 1001, 3000, 60_000]  # ms
JUMPS = [-3_600_000, -5000, -1001, 700, 5000, 3_600_000]  # ms; smaller ones are no jumps, but times that pass
T = TypeVar("T")
PICK = st.integers(0, ACTORS - 1)
PROCESS = st.integers(0, PROCESSES - 1)
FAULT = st.sampled_from(["", "", "", "reply lost"])


class Process:
    """One that may listen; its messages are read when they are asked for."""

    def __init__(self, kit: Kit, number: int) -> None:
        self.token = f"p{number}"
        self.listens = False
        self._kit = kit
        self._channel = channel(kit.keys.namespace, self.token)
        self._link = Link(kit.link.address, timeout=10)

    def listen(self, on: bool) -> None:
        word = "SUBSCRIBE" if on else "UNSUBSCRIBE"
        reply = self._link.exchange(Command((word, self._channel), bytes).pack())
        assert reply[0] == word.lower().encode(), "all messages were read before"
        self.listens = on

    def messages(self) -> list[tuple[str, int]]:
        """Return what came as (address, fence)."""
        found: list[tuple[str, int]] = []
        if not self.listens:
            return found
        self._kit.command("PUBLISH", self._channel, "last")
        while (message := self._link.receive()[2]) != b"last":
            signal = parse_signal(message)
            assert signal is not None
            found.append((f"{self.token}/{signal[0]}", int(signal[1])))
        return found

    def close(self) -> None:
        self._link.close()


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

    def __init__(self) -> None:
        super().__init__()
        self.kit = Kit(self.url, f"p{secrets.token_hex(4)}")
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

    def _process(self, number: int) -> Process:
        process = Process(self.kit, number)
        process.listen(True)
        self.model.alive.add(process.token)
        return process

    # --- calls

    def _run(self, call: Call[T], expected: Callable[[], T], fault: str = "", session: str = "any") -> T:
        """Run a call here and in the model; with a fault its reply is lost, and it is sent again."""
        seq = self.numbers[session] = self.numbers.get(session, 0) + 1
        answer = self.kit.run(call, session=session, seq=seq)
        if fault and call.script.has_session:
            before = self.kit.snapshot()
            assert self.kit.run(call, session=session, seq=seq) == answer
            assert self.kit.snapshot() == before
        wanted = expected()
        if isinstance(wanted, Wait):
            assert isinstance(answer, Wait)
            assert (answer.turn, answer.again) == (wanted.turn, pytest.approx(wanted.again, abs=1e-6))
        else:
            assert answer == wanted
        self._hear()
        return answer

    def _take(self, actor: Actor, address: str, turn: str, fault: str = "") -> Any:
        answer = self._run(
            permits.take(self.kit.keys, address, limit=self.limit, lease=LEASE, turn=turn, who="me"),
            lambda: self.model.take(address, turn, self.kit.now),
            fault,
            actor.process.token,
        )
        actor.waits = (address, answer.turn) if isinstance(answer, Wait) else None
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
        heard = [message for process in self.processes for message in process.messages()]
        assert sorted(heard) == sorted(told)
        for address, fence in told:
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

    @rule(pick=PICK)
    def give_up(self, pick: int) -> None:
        actor = self.actors[pick]
        if actor.waits is not None:
            address, actor.waits = actor.waits[0], None
            given = self._run(permits.leave(self.kit.keys, address), lambda: self.model.leave(address))
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


@pytest.mark.timeout(0 if EXAMPLES > 1000 else 120)
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
    attributes = {"url": server.url, "limit": limit, "adds": adds, "bounded": bounded}
    run_state_machine_as_test(
        type("Machine", (PermitMachine,), attributes),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


def test_the_times_are_what_the_scripts_take_them_for():
    assert (LEASE_US, BEAT_US) == (LEASE * SECOND, LEASE * SECOND / 5)
