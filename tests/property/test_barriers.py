"""Any sequence of calls and faults: a barrier releases all of a generation or none, and no wait is without end."""

from __future__ import annotations

import secrets
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import pytest
from barrier_model import BarrierModel
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from lease_model import BEAT_US, LEASE, LEASE_US
from listening import Process
from machine_kit import MachineKit, check_by_fsck
from machines import TIMED, run_machine
from redis.exceptions import ResponseError

from taskq.broker import barriers
from taskq.broker.barriers import Entered, Place, Standing
from taskq.broker.call import Call

EXAMPLES = 200  # over all three kinds
STEPS = 50
PROCESSES = 3
PACKETS = 10  # of each session that may come again late
MOST_PARTIES = 7  # who wait at a time
WAITS = [1, 100, 199, 200, 400, 600, 601, 900, 1000, 1001, 3000, 60_000]  # ms
JUMPS = [-3_600_000, -5000, -1001, 700, 5000, 3_600_000]  # ms
T = TypeVar("T")
PICK = st.integers(0, 20)
PROCESS = st.integers(0, PROCESSES - 1)
FAULT = st.sampled_from(["", "", "", "", "reply lost"])


@dataclass(eq=False)
class Party:
    """A caller of ``wait``, as long as it waits.

    Attributes:
        place: None until an answer says it.
        acts: whether it brought an action; begun: whether it runs that.
    """

    process: Process
    address: str
    acts: bool
    place: Place | None = None
    begun: bool = False


class BarrierMachine(RuleBasedStateMachine):
    """Parties of a few processes and one barrier."""

    url: ClassVar[str]
    parties: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self.kit = MachineKit(self.url, f"p{secrets.token_hex(4)}", "barrier:b")
        self.model = BarrierModel(self.parties)
        self.made = 0
        self.processes = [self._process(number) for number in range(PROCESSES)]
        self.waiting: list[Party] = []
        self.numbers: dict[str, int] = {}
        self.packets: dict[str, list[tuple[int, Call[Any], Callable[[], Any]]]] = {}
        # What was seen, by generation.
        self.came: Counter[int] = Counter()
        self.acted: Counter[int] = Counter()
        self.fates: defaultdict[int, set[Standing]] = defaultdict(set)
        self.spoilt: set[int] = set()  # somebody gave up before all had come, or the action failed

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
        self.packets.setdefault(session, []).append((seq, call, expected))
        del self.packets[session][:-PACKETS]
        if fault and call.script.has_session:
            before = self.kit.dumps()
            assert self.kit.run(call, session=session, seq=seq) == answer
            assert self.kit.dumps() == before, "8: a replay has no effect"
        elif fault:
            answer = self._compare(call, expected, session, seq)
        return answer

    def _compare(self, call: Call[T], expected: Callable[[], T], session: str, seq: int) -> T:
        answer = self.kit.run(call, session=session, seq=seq)
        assert answer == expected()
        return answer

    def _generation(self, party: Party) -> int | None:
        return None if party.place is None else party.place.ticket // self.parties

    def _ends(self, party: Party, standing: Standing) -> None:
        """A wait ended."""
        if party in self.waiting:
            self.waiting.remove(party)
        generation = self._generation(party)
        if generation is not None:
            self.fates[generation].add(standing)

    def _hear(self) -> None:
        told, self.model.told = self.model.told, []
        heard = [message for process in self.processes for message in process.messages()]
        assert sorted(heard) == sorted(told)
        by_address = {party.address: party for party in self.waiting}
        for address, news in told:
            if address in by_address and news != Standing.LOOK:
                self._ends(by_address[address], Standing(news))

    def _enter(self, party: Party, fault: str = "") -> None:
        new, place = party.place is None, party.place
        answer = self._run(
            barriers.enter(
                self.kit.keys, party.address, place, parties=self.parties, acts=party.acts, lease=LEASE, who="me"
            ),
            lambda: self.model.enter(party.address, place, party.acts, self.kit.now),
            fault,
            party.process.token,
        )
        assert isinstance(answer, Entered)
        if answer.place is not None:
            party.place = answer.place
        if new and answer.place is not None:
            self.came[self._generation(party) or 0] += 1
        if answer.standing is Standing.ACTING:
            party.begun = True
            self.acted[self._generation(party) or 0] += 1
        elif answer.standing is not Standing.WAITING:
            self._ends(party, answer.standing)
        self._hear()

    def _keep(self, process: Process, fault: str = "") -> None:
        held = sorted(party.address for party in self.waiting if party.process is process and party.place is not None)
        if held:
            call = barriers.keep(self.kit.keys, held, LEASE)
            self._run(call, lambda: self.model.keep(held, self.kit.now), fault)
            self._hear()

    def _pick(self, index: int, begun: bool = False) -> Party:
        found = [party for party in self.waiting if party.begun == begun]
        return found[index % len(found)]

    # --- what parties do

    @precondition(lambda self: len(self.waiting) < MOST_PARTIES)
    @rule(number=PROCESS, acts=st.booleans(), fault=FAULT)
    def arrive(self, number: int, acts: bool, fault: str) -> None:
        self.made += 1
        party = Party(self.processes[number], f"{self.processes[number].token}/{self.made}", acts)
        self.waiting.append(party)
        self._enter(party, fault)

    @precondition(lambda self: len(self.waiting) + self.parties <= MOST_PARTIES)
    @rule(number=PROCESS, acts=st.booleans())
    def as_many_arrive_as_fit(self, number: int, acts: bool) -> None:
        for _ in range(self.parties):
            self.arrive(number, acts, "")

    @precondition(lambda self: any(not party.begun for party in self.waiting))
    @rule(index=PICK, fault=FAULT)
    def look_again(self, index: int, fault: str) -> None:
        self._enter(self._pick(index), fault)

    @precondition(lambda self: any(not party.begun for party in self.waiting))
    @rule(index=PICK, stays=st.booleans(), fault=st.sampled_from(["", "reply lost"]))
    def give_up(self, index: int, stays: bool, fault: str) -> None:
        """Its timeout passed, after which it stays where all have come; or it was cancelled."""
        party = self._pick(index)
        address, place, generation = party.address, party.place, self._generation(party)
        full = generation is not None and self.came[generation] == self.parties
        standing = self._run(
            barriers.leave(self.kit.keys, address, place, stays=stays, idle=True),
            lambda: self.model.leave(address, place, stays, True),
            fault,
        )
        if generation is not None and not full:
            self.spoilt.add(generation)
        if standing is not Standing.WAITING:
            self._ends(party, standing)
        elif not stays:
            self.waiting.remove(party)
        self._hear()

    @precondition(lambda self: any(party.begun for party in self.waiting))
    @rule(index=PICK, done=st.booleans(), fault=FAULT)
    def end_the_action(self, index: int, done: bool, fault: str) -> None:
        party = self._pick(index, begun=True)
        address, place = party.address, party.place
        assert place is not None
        standing = self._run(
            barriers.finish(self.kit.keys, address, place, done=done),
            lambda: self.model.finish(address, place, done),
            fault,
        )
        if not done:
            self.spoilt.add(place.ticket // self.parties)
        self._ends(party, standing)
        self._hear()

    @rule(anew=st.booleans(), fault=FAULT)
    def end_all_waits(self, anew: bool, fault: str) -> None:
        self._end_waits(anew, fault)

    def _end_waits(self, anew: bool, fault: str = "") -> None:
        self._run(
            barriers.end_waits(self.kit.keys, parties=self.parties, anew=anew, who="me"),
            lambda: self.model.end_waits(anew, self.kit.now),
            fault,
        )
        self._hear()

    @rule(number=PROCESS, fault=FAULT)
    def renew(self, number: int, fault: str) -> None:
        self._keep(self.processes[number], fault)

    @rule(beats=st.integers(1, 8))
    def life_goes_on(self, beats: int) -> None:
        for _ in range(beats):
            self._pass(BEAT_US)
            for process in self.processes:
                self._keep(process)

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
        self.waiting = [party for party in self.waiting if party.process is not process]

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
            for party in [party for party in self.waiting if party.process is process and not party.begun]:
                if party in self.waiting:
                    self._enter(party)

    @rule(ms=st.sampled_from(WAITS))
    def time_passes(self, ms: int) -> None:
        self._pass(ms * 1000)

    @rule(ms=st.sampled_from(JUMPS))
    def the_clock_jumps(self, ms: int) -> None:
        self.kit.advance(ms / 1000)

    @precondition(lambda self: self.packets)
    @rule(pick=PICK, index=st.integers(0, PACKETS - 1))
    def a_late_packet_comes_again(self, pick: int, index: int) -> None:
        session = sorted(self.packets)[pick % len(self.packets)]
        seq, call, expected = self.packets[session][index % len(self.packets[session])]
        if not call.script.has_session:
            self._compare(call, expected, session, seq)
            self._hear()
            return
        before = self.kit.dumps()
        if seq < self.numbers[session] and seq != self._last_stored(session):
            with pytest.raises(ResponseError, match="TASKQ_STALE"):
                self.kit.run(call, session=session, seq=seq)
        else:
            self.kit.run(call, session=session, seq=seq)
        assert self.kit.dumps() == before, "8: a late packet has no effect"

    def _last_stored(self, session: str) -> int:
        return max(seq for seq, call, _ in self.packets[session] if call.script.has_session)

    def _pass(self, us: int) -> None:
        self.kit.set_clock(self.kit.now + us)

    # --- what must hold

    @invariant()
    def the_server_agrees_with_the_model(self) -> None:
        found = self.kit.snapshot()
        found.get("barrier", {}).pop("by", None)
        assert found == self.model.snapshot()
        check_by_fsck(self.kit)

    @invariant()
    def all_of_a_generation_or_none_are_released(self) -> None:
        for generation, fates in self.fates.items():
            assert len(fates) == 1, "19: all parties of a generation have one fate"
            if Standing.RELEASED in fates:
                assert self.came[generation] == self.parties, "19: nobody passes before all have come"
                assert generation not in self.spoilt, "19: nobody passes where one gave up or the action failed"

    @invariant()
    def the_action_runs_once(self) -> None:
        assert all(times == 1 for times in self.acted.values())

    def teardown(self) -> None:
        """All but one process die: no dead one is waited for, no wait in a full generation goes on, and all works."""
        try:
            for number in range(1, PROCESSES):
                self.a_process_dies(number)
            self.a_connection_is_back(0)
            self._heal()
            left = self.kit.read("arrived") or {}
            assert set(left) == {party.address for party in self.waiting}, "nobody dead is waited for"
            assert len(left) < self.parties, "who are enough have passed"
            self._end_waits(anew=True)
            assert not self.waiting
            for _ in range(self.parties):
                self.arrive(0, False, "")
            assert not self.waiting, "a reset barrier works"
            self.the_server_agrees_with_the_model()
            self.all_of_a_generation_or_none_are_released()
        finally:
            for process in self.processes:
                process.close()
            self.kit.close()

    def _heal(self) -> None:
        for party in [party for party in self.waiting if party.begun]:
            self.end_the_action(0, True, "")
            assert party not in self.waiting
        for _ in range(4 * LEASE_US // BEAT_US):
            self._pass(BEAT_US)
            self._keep(self.processes[0])
            if not self.waiting:
                self.arrive(0, False, "")  # somebody has to come, or nobody looks
            for party in list(self.waiting):
                if party in self.waiting and not party.begun:
                    self._enter(party)
                if party.begun and party in self.waiting:
                    self.end_the_action(0, True, "")


@TIMED
@pytest.mark.parametrize("parties", [1, 2, 3])
def test_any_sequence_of_calls_and_faults(server, parties):
    attributes = {"url": server.url, "parties": parties}
    run_machine(BarrierMachine, attributes, examples=EXAMPLES, kinds=3, steps=STEPS)
