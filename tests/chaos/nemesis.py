"""Carries out the strikes of a plan on a fleet, and writes down which of them may make jobs run again."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import redis
from chaos.checker import Fault
from chaos.fleet import BEHIND_PROXY, LEASE, Fleet, Member, pause_until
from chaos.plan import QUEUES, Strike
from chaos.proxy import NONE
from chaos.proxy import Fault as Broken

NEAR = 1.5  # seconds: a worker may not have been heard of between two hindrances that follow so soon
HINDERED = LEASE / 2  # seconds: so long, and its lease may be over before it comes through again
OUTAGE = 0.6  # seconds, the longest of the connections behind the proxy


class Nemesis:
    """Strikes one after another; what lasts is ended by a timer of its own, so that strikes overlap.

    Args:
        fleet: what it strikes.
        pause: pauses or resumes a queue.
        tell: is given each strike.
    """

    def __init__(self, fleet: Fleet, pause: Callable[[str, bool], object], tell: Callable[[str], None]) -> None:
        self._fleet = fleet
        self._pause = pause
        self._tell = tell
        self._timers: list[threading.Timer] = []
        self._hindered: list[Fault] = []
        self._faults: list[Fault] = []
        self._brief: list[Fault] = []
        self._outages: list[Fault] = []

    def disturbances(self) -> list[Fault]:
        """Return when a worker did not reach the server, or none did: what ended then was not settled at once."""
        return [*self._outages, *self._hindered, *self._brief]

    def faults(self) -> list[Fault]:
        """Return what may have made jobs run again; short hindrances only where several add up."""
        found, last = list(self._faults), dict[str, Fault]()
        for following in sorted(self._hindered, key=lambda one: one.begin):
            one, before = following, last.get(following.worker)
            if before is not None and following.begin - before.end < NEAR:
                one = Fault(one.worker, before.begin, max(before.end, following.end))
            last[one.worker] = one
            if one.end - one.begin > HINDERED:
                found.append(Fault(one.worker, one.begin, one.end + LEASE))
        return found

    def run(self, strikes: list[Strike], begin: float) -> None:
        """Carry out all strikes; ``begin`` is the monotonic time of the run's begin."""
        for strike in strikes:
            pause_until(begin + strike.at)
            self._tell(str(strike))
            getattr(self, "_" + strike.kind.replace(" ", "_"))(strike)
        for timer in self._timers:
            timer.join()

    def _after(self, seconds: float, what: Callable[[], object]) -> None:
        timer = threading.Timer(seconds, what)
        timer.start()
        self._timers.append(timer)

    def _worker(self, strike: Strike) -> Member:
        return self._fleet.workers[strike.victim % len(self._fleet.workers)]

    def _kill_child(self, strike: Strike) -> None:
        member = self._worker(strike)
        children = sorted(member.running.children()) if member.running.process.poll() is None else []
        if children:
            pid = children[strike.victim // 7 % len(children)]
            begin = time.monotonic()
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self._faults.append(Fault(member.name, begin, time.monotonic(), pid))

    def _kill_worker(self, strike: Strike) -> None:
        member = self._worker(strike)
        begin, name = time.monotonic(), member.name
        self._fleet.kill(member)
        self._faults.append(Fault(name, begin, time.monotonic()))

    def _stop_worker_short(self, strike: Strike) -> None:
        member, seconds = self._worker(strike), LEASE * (0.1 + 0.2 * strike.dose)
        if self._stop(member, seconds):
            self._hinder(member, seconds)

    def _stop_worker_long(self, strike: Strike) -> None:
        member, seconds = self._worker(strike), LEASE * (1.3 + strike.dose)
        begin = time.monotonic()
        if self._stop(member, seconds):
            # What a worker of that name finished just before was not settled; nor what its children finished meanwhile.
            self._faults.append(Fault(member.name, begin, begin + seconds))

    def _stop(self, member: Member, seconds: float) -> bool:
        if member.stopped or member.running.process.poll() is not None:
            return False
        worker, member.stopped = member.running, True
        worker.signal(signal.SIGSTOP)

        def go_on() -> None:
            if member.process is worker:
                member.stopped = False
                worker.signal(signal.SIGCONT)

        self._after(seconds, go_on)
        return True

    def _kill_producer(self, strike: Strike) -> None:
        member = self._fleet.producers[strike.victim % len(self._fleet.producers)]
        self._fleet.kill(member)

    def _outage(self, strike: Strike) -> float:
        """Return for how many seconds the connections behind the proxy are disturbed."""
        seconds = OUTAGE * (0.3 + 0.7 * strike.dose)
        for member in self._fleet.workers:
            if member.kind in BEHIND_PROXY:
                self._hinder(member, seconds)
        return seconds

    def _hinder(self, member: Member, seconds: float) -> None:
        now = time.monotonic()
        self._hindered.append(Fault(member.name, now, now + seconds))

    def _cut_connections(self, strike: Strike) -> None:
        now = time.monotonic()
        self._fleet.proxy.cut(reset=strike.victim % 2 == 0)
        self._brief += [Fault(one.name, now, now) for one in self._fleet.workers if one.kind in BEHIND_PROXY]

    def _silence_connections(self, strike: Strike) -> None:
        self._fleet.proxy.silence()
        self._after(self._outage(strike), self._fleet.proxy.resume)

    def _refuse_connections(self, strike: Strike) -> None:
        self._fleet.proxy.refuse()
        self._fleet.proxy.cut()
        self._after(self._outage(strike), self._fleet.proxy.listen)

    def _slow_connections(self, strike: Strike) -> None:
        proxy = self._fleet.proxy
        slow = Broken(delay=0.02 + 0.08 * strike.dose, rate=50_000)
        proxy.always = slow
        proxy.arm(slow)

        def quicken() -> None:
            proxy.always = NONE
            proxy.arm(NONE)

        self._after(self._outage(strike), quicken)

    def _restart_server(self, strike: Strike) -> None:
        with self._server_away():
            (self._fleet.server.kill if strike.victim % 2 else self._fleet.server.terminate)()
            time.sleep(0.7 * strike.dose)
            self._fleet.server.start()

    def _lose_server(self, strike: Strike) -> None:
        """Let the server be away for longer than a lease: who finds it first must not take the others for dead."""
        with self._server_away():
            self._fleet.server.kill()
            time.sleep(LEASE * (1.1 + strike.dose))
            self._fleet.server.start()

    def _stop_server(self, strike: Strike) -> None:
        """Hold the server for longer than a lease: nobody's may be over because of that."""
        pid = self._fleet.server.pid
        with self._server_away():
            os.kill(pid, signal.SIGSTOP)
            time.sleep(LEASE * (1.1 + strike.dose))
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def _server_away(self) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self._outages.append(Fault("", begin, time.monotonic()))

    def _flush_scripts(self, strike: Strike) -> None:
        with suppress(redis.RedisError), self._fleet.server.client() as client:
            client.script_flush()

    def _pause_queue(self, strike: Strike) -> None:
        name = QUEUES[strike.victim % len(QUEUES)]
        self._pause(name, True)
        self._after(0.3 + strike.dose, lambda: self._pause(name, False))
