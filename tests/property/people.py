"""People, supervisors and relays of the state machine: what they do to jobs that no worker has."""

from __future__ import annotations

from actors import FAULTS, PICK, RECORD_MS, SOME, Actors
from broker_kit import text
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from queue_values import DEAD_REASONS, Sent

from taskq.broker import browsing, finishing, jobs, queues, work
from taskq.broker.line import LAST_PLACE, Wait
from taskq.model.job import Job, encode_header

RELAYS = 4  # that stand still between two of their steps
PUTTERS = 5  # who wait for room


class People(Actors):
    """People, supervisors, relays, and producers that wait for room."""

    def __init__(self) -> None:
        super().__init__()
        self.relays: list[tuple[list[tuple[str, bytes]], bool]] = []  # what each read, and whether it was sent
        self.turns: dict[str, str] = {}  # of who waits for room

    @rule(limit=st.integers(0, 5), fault=FAULTS)
    def purge(self, limit: int, fault: str) -> None:
        self._run("admin", lambda: queues.purge(self.kit.keys, limit), lambda: self.model.purge(limit), fault)

    @rule(paused=st.sampled_from([True, False, False]), fault=FAULTS)
    def pause(self, paused: bool, fault: str) -> None:
        self._run("admin", lambda: queues.pause(self.kit.keys, paused), lambda: self.model.pause(paused), fault)

    @precondition(lambda self: self.model.at("dead"))
    @rule(picks=SOME, fault=FAULTS)
    def requeue(self, picks: list[int], fault: str) -> None:
        dead = [held.sent.unique for held in self.model.at("dead")]
        chosen = [self._pick(pick, dead) for pick in picks if dead]
        self.watch.requeued(set(chosen))
        self._run("admin", lambda: jobs.requeue(self.kit.keys, chosen), lambda: self.model.requeue(chosen), fault)

    @precondition(lambda self: self.model.at("dead"))
    @rule(picks=SOME, fault=FAULTS)
    def drop(self, picks: list[int], fault: str) -> None:
        dead = [held.sent.unique for held in self.model.at("dead")]
        chosen = [self._pick(pick, dead) for pick in picks]
        self._run("admin", lambda: browsing.drop(self.kit.keys, chosen), lambda: self.model.drop(chosen), fault)

    @precondition(lambda self: self.model.jobs)
    @rule(index=PICK, fault=FAULTS)
    def move(self, index: int, fault: str) -> None:
        unique = self._pick(index, self.model.jobs)
        self.made += 1
        new = f"m{self.made:03}"

        def expected() -> str:
            dead = unique in self.model.jobs and self.model.jobs[unique].place == "dead"
            return self.watch.moves(unique, new, self.model.move(unique, "q", new), dead=dead)

        self._run("admin", lambda: browsing.move(self.kit.keys, unique, "q", new), expected, fault)

    @precondition(lambda self: self.model.at("ended"))
    @rule(follow=st.booleans(), fault=FAULTS)
    def finish_ended(self, follow: bool, fault: str) -> None:
        now, found = self.kit.run(work.ended(self.kit.keys), session="supervisor", seq=1)
        waiting = {(held.sent.unique, held.reason) for held in self.model.at("ended")}
        assert {(item.unique, item.reason) for item in found} <= waiting
        assert len(found) == min(50, len(waiting))
        items = [self._finish(item, now, follow) for item in found]
        self._run(
            "supervisor",
            lambda: work.end(self.kit.keys, items),
            lambda: "".join([self._finished(item) for item in items]),
            fault,
        )

    def _finish(self, job: work.EndedJob, now: int, follow: bool) -> work.Finish:
        """A moved job goes on as its own follow-up; another may have one, always under the same id."""
        if job.reason.startswith("moved "):
            return finishing.finish_of(job, now, "q")
        follows = follow and job.unique.startswith("j")
        message = (f"q/e{job.unique}", b"0\n" + encode_header().encode() + b"error")
        return work.Finish(
            job.unique, job.reason, f"ended {job.reason}".encode(), RECORD_MS, "", job.reason in DEAD_REASONS,
            follow_ups=[message] if follows else [],
        )  # fmt: skip

    def _finished(self, item: work.Finish) -> str:
        follow = [(name, text(message)) for name, message in item.follow_ups]
        letter = self.model.finish(item.unique, item.reason, text(item.record), follow)
        return self.watch.finished(item.unique, letter, [name[2:] for name, _ in follow])

    # --- the outbox: any number of relays, each of which may die or stand still between its steps

    @precondition(lambda self: self.model.outbox)
    @rule()
    def a_relay_reads(self) -> None:
        messages = self.kit.link.run(jobs.outbox(self.kit.keys))
        assert {name: text(message) for name, message in messages} == self.model.outbox
        self.relays.append((sorted(messages), False))
        del self.relays[:-RELAYS]

    @precondition(lambda self: self.relays)
    @rule(index=PICK, fault=FAULTS)
    def a_relay_sends(self, index: int, fault: str) -> None:
        messages, _ = self.relays[index % len(self.relays)]
        sent = [sent_of(name, text(message)) for name, message in messages]
        made = [Job(item.unique, item.header.encode(), item.delay_ms) for item in sent]
        self._run(
            "relay",
            lambda: jobs.relay(self.kit.keys, made),
            lambda: self.watch.accepted(self.model, sent, self.model.relay(sent)),
            fault,
        )
        self.relays[index % len(self.relays)] = messages, True

    @precondition(lambda self: any(sent for _, sent in self.relays))
    @rule(index=PICK, fault=FAULTS)
    def a_relay_drops_what_was_accepted(self, index: int, fault: str) -> None:
        done = [relay for relay in self.relays if relay[1]]
        relay = done[index % len(done)]
        names = [name for name, _ in relay[0]]
        self._run("relay", lambda: jobs.relayed(self.kit.keys, names), lambda: self.model.relayed(names), fault)
        self.relays.remove(relay)

    @precondition(lambda self: self.model.outbox)
    @rule()
    def a_relay_runs_to_its_end(self) -> None:
        self.a_relay_reads()
        last = len(self.relays) - 1
        self.a_relay_sends(last, "")
        relay = self.relays[last]
        self.relays.remove(relay)
        self.relays.insert(0, relay)
        self.a_relay_drops_what_was_accepted(0, "")

    # --- room in a bounded queue

    @precondition(lambda self: self.model.maxsize and len(self.turns) < PUTTERS)
    @rule(hears=st.booleans(), fault=FAULTS)
    def wait_for_room(self, hears: bool, fault: str) -> None:
        self.made += 1
        self._wait_room(f"{self.process.token if hears else 'gone'}/{self.made}", LAST_PLACE, fault)

    @precondition(lambda self: self.turns)
    @rule(index=PICK, fault=FAULTS)
    def look_for_room_again(self, index: int, fault: str) -> None:
        address = self._pick(index, self.turns)
        self._wait_room(address, self.turns[address], fault)

    def _wait_room(self, address: str, turn: str, fault: str = "") -> None:
        def expected() -> Wait | None:
            return self.model.wait_room(address, turn)

        wait = self._run("putter", lambda: queues.wait_room(self.kit.keys, address, turn), expected, fault)
        if wait is None:
            self.called.add(address)
        else:
            self.turns[address] = wait.turn
            self.called.discard(address)

    @precondition(lambda self: self.called)
    @rule(index=PICK, fault=FAULTS)
    def put_when_there_is_room(self, index: int, fault: str) -> None:
        address = self._pick(index, self.called)
        sent = [self._new_job(0, None, None)]
        made = [Job(sent[0].unique, sent[0].header.encode())]
        letter = self._run(
            "producer",
            lambda: jobs.enqueue(self.kit.keys, made),
            lambda: self.watch.accepted(self.model, sent, self.model.enqueue(sent)),
            fault,
        )
        if letter == "F":
            self._wait_room(address, self.turns.get(address, LAST_PLACE))
        else:
            self.called.discard(address)
            self.turns.pop(address, None)

    @precondition(lambda self: self.turns)
    @rule(index=PICK, fault=FAULTS)
    def stop_waiting_for_room(self, index: int, fault: str) -> None:
        address = self._pick(index, self.turns)
        self.turns.pop(address)
        self.called.discard(address)
        self._run(
            "putter",
            lambda: queues.leave_room(self.kit.keys, address),
            lambda: self.model.leave_room(address),
            fault,
        )

    @invariant()
    def nobody_waits_beside_room(self) -> None:
        if self.model.putters and self.model.room > 0:
            assert len(self.called) >= self.model.room, "11: who waits for room is told when there is some"


def sent_of(name: str, message: str) -> Sent:
    """Read a message of the outbox."""
    delay, _, header = message.partition("\n")
    fields = header.partition("\n")[0].split(";")
    limit = float(fields[3]) if "x" in fields[1] else float("inf")
    return Sent(name.partition("/")[2], header, int(delay), float(fields[4] or 0), limit)
