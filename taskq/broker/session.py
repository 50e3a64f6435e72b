"""A client's numbered calls: each is repeated until its answer is known, and takes effect once."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from taskq.broker.address import Address
from taskq.broker.call import Call, Command, ScriptCall
from taskq.broker.connection import REPLY_TIMEOUT, Link
from taskq.broker.failures import (
    is_broken,
    is_crowded,
    is_missing_script,
    is_moved,
    is_passing,
    reason,
    translate,
    wants_certificate,
)
from taskq.broker.progress import WHOLE
from taskq.errors import BrokerUnavailable, Indeterminate, TaskqError
from taskq.model.job import random_token

T = TypeVar("T")
CALL_DEADLINE = 60.0  # seconds for which a call is repeated; the stored reply lives five minutes
FIRST_CONTACT = 4.0  # seconds until a server that was never reached is reported: a person waits five at most
FIRST_PAUSE = 0.05  # seconds before the first repetition; doubles
LEAST_TIMEOUT = 1.0  # seconds; longer than any script, whatever the deadline
# Seconds for all of a call that is sent again: with the minute for which it is repeated, less than the five minutes for
# which the server would know that it ran before.
REPEATED = 180.0
LONGEST_PAUSE = 2.0  # seconds; a server that restarts is found soon after it is back

FORKED = threading.Lock()  # threads of a child start afresh one after another; free in each new child
os.register_at_fork(after_in_child=FORKED._at_fork_reinit)  # type: ignore[attr-defined]  # as the stdlib's own locks


def pauses(deadline: float) -> Iterator[float]:
    """Yield the seconds to wait before each repetition, with jitter, until ``deadline`` (monotonic)."""
    pause = FIRST_PAUSE
    while (left := deadline - time.monotonic()) > 0:
        yield min(left, pause * random.uniform(0.5, 1.0))
        pause = min(LONGEST_PAUSE, pause * 2)


def reply_timeout(deadline: float) -> float:
    """Return the seconds without a byte that mean a broken connection, for calls that are repeated for ``deadline``."""
    return min(REPLY_TIMEOUT, max(LEAST_TIMEOUT, deadline / 2))


class Numbering:
    """The session's id and the number of its calls; both start afresh in a forked child.

    Otherwise the child's first call would be answered with the parent's stored reply, and its job be lost.
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin a new session."""
        self.pid = os.getpid()
        self.session = random_token()
        self.seq = 0

    def next(self) -> int:
        """Return the number of a new call."""
        self.seq += 1
        return self.seq


class Patience:
    """Decides after each failed attempt whether the call is repeated, and after how long.

    Args:
        address: for messages.
        what: the operation's name, for messages.
        limit: seconds for which a call is repeated.
        reached: whether this server ever answered; one that never did is reported sooner.
        started: when the call was made, in monotonic seconds; now where None.
    """

    def __init__(self, address: Address, what: str, limit: float, reached: bool, started: float | None = None) -> None:
        self._address = address
        self._what = what
        self._limit = limit
        self._started = time.monotonic() if started is None else started
        self._pauses: Iterator[float] | None = None
        self._reached = reached
        self._spoke = False  # the server said that it has no room
        self.sent = False

    @staticmethod
    def no_turn(address: Address, what: str, limit: float) -> BrokerUnavailable:
        """Return the error of a call that was not even sent, as others took all of its time."""
        return BrokerUnavailable(
            f"server {address} kept other calls of this process waiting for {limit:g} s; the {what} was not sent"
        )

    def pause_after(self, error: Exception) -> float:
        """Return the seconds to wait before the next attempt.

        Raises:
            TaskqError: what ``error`` means, if repeating does not help or the deadline has passed.
        """
        if isinstance(error, TaskqError):
            raise error
        if not is_broken(error) and not is_passing(error):
            raise translate(error, self._address, self._what) from None
        self._spoke = self._spoke or is_crowded(error)
        if self._pauses is None:
            patient = self.sent or self._reached
            self._pauses = pauses(self._started + (self._limit if patient else min(self._limit, FIRST_CONTACT)))
        pause = next(self._pauses, None)
        if pause is None:
            raise self._give_up(error) from None
        return pause

    def _give_up(self, error: Exception) -> TaskqError:
        if is_passing(error):
            return translate(error, self._address)
        if self.sent:
            hint = "" if self._reached or self._spoke else "; it never answered: is it behind TLS (rediss://)?"
            return Indeterminate(
                f"no answer from {self._address} ({reason(error)}); the {self._what} may have run, "
                f"repeating it with the same id is safe{hint}"
            )
        hint = wants_certificate(error, self._address)
        return BrokerUnavailable(f"server {self._address} cannot be reached: {reason(error)}{hint}")


class Flight(Generic[T]):
    """A call between ``Session.begin`` and ``Session.finish``; ``sent`` while its reply is awaited."""

    __slots__ = ("call", "sent", "seq")

    def __init__(self, call: Call[T], seq: int) -> None:
        self.call = call
        self.seq = seq
        self.sent = False


class Session:
    """One connection and the calls that go over it, one at a time; any thread may use it."""

    def __init__(self, address: Address, *, deadline: float = CALL_DEADLINE) -> None:
        self._address = address
        self._deadline = deadline
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._link = Link(self._address, timeout=reply_timeout(self._deadline))
        self._reached = False
        self._numbering = Numbering()  # the last: by its pid other threads see that all is fresh

    def check_fork(self) -> None:
        """Start afresh if this process is a fork of the one that used the session."""
        if os.getpid() != self._numbering.pid:
            with FORKED:
                if os.getpid() != self._numbering.pid:
                    self._link.close()
                    self._reset()

    def run(self, call: ScriptCall[T], deadline: float | None = None, patience: float | None = None) -> T:
        """Run a script and return its answer.

        Args:
            call: what to run; it takes effect at most once however often it is sent.
            deadline: seconds for which it is repeated; the session's where None.
            patience: seconds without a byte that mean a broken connection; where None the session's, or ``deadline``
                where that is shorter, but long enough for any script.

        Raises:
            Indeterminate: the deadline passed and the call may have run.
            BrokerUnavailable: the server was not reached; nothing has run.
            BrokerError: the server refused.
        """
        self.check_fork()
        lock = self._lock
        if not lock.locked():
            # Not ``acquire(False)``: an interrupt between that and its ``try`` would leave the lock taken for ever.
            with lock:
                return self._run(call, deadline, patience, None)
        started = self._take_turn(call.script.name, _soonest(deadline, call.deadline))
        try:
            return self._run(call, deadline, patience, started)
        finally:
            lock.release()

    def _run(self, call: ScriptCall[T], deadline: float | None, patience: float | None, started: float | None) -> T:
        session, seq, link = self._numbering.session, self._numbering.next(), self._link
        limit = _soonest(deadline, call.deadline)
        failure = None
        if link.connected and limit is None:  # nearly always; the loop and its closure would cost a tenth of the call
            try:
                return link.run_script(call, session, seq)
            except Exception as error:
                failure = error
            except BaseException:
                link.close()  # its reply may still come and must not answer the next call
                raise
        return self._repeat(
            lambda: link.run_script(call, session, seq),
            limit,
            _what(call.script.name),
            failure,
            started=started,
            patience=patience,
        )

    def read(self, command: Command[T], deadline: float | None = None, patience: float | None = None) -> T:
        """Run a plain command and return its answer; raises as ``run`` does."""
        self.check_fork()
        lock = self._lock
        what, deadline = str(command.parts[0]).lower(), _soonest(deadline, command.deadline)
        if not lock.locked():
            with lock:  # see ``run``
                return self._repeat(lambda: self._link.run(command), deadline, what, patience=patience)
        started = self._take_turn(what, deadline)
        try:
            return self._repeat(lambda: self._link.run(command), deadline, what, started=started, patience=patience)
        finally:
            lock.release()

    def _take_turn(self, what: str, deadline: float | None) -> float:
        """Take the lock, which is the caller's to release; answers when that began, in monotonic seconds.

        Raises:
            BrokerUnavailable: other calls had it for the whole deadline.
        """
        started = time.monotonic()
        limit = self._deadline if deadline is None else deadline
        if not self._lock.acquire(timeout=limit):
            raise Patience.no_turn(self._address, _what(what), limit)
        return started

    def begin(self, call: Call[T]) -> Flight[T]:
        """Send a script and return at once; the session is taken until ``finish``, which must follow.

        Raises:
            BrokerUnavailable: other calls had the session for its whole deadline.
        """
        self.check_fork()
        self._take_turn(call.script.name, call.deadline)  # released by ``finish``
        flight = Flight(call, self._numbering.next())
        try:
            self._link.send(call.pack(self._numbering.session, flight.seq))
            flight.sent = True
        except Exception:
            self._link.close()  # ``finish`` sends it again
        except BaseException:
            self._link.close()
            self._lock.release()
            raise
        return flight

    def finish(self, flight: Flight[T], deadline: float | None = None) -> T:
        """Return the answer of what ``begin`` sent, repeating it as ``run`` does; raises as ``run`` does."""
        session = self._numbering.session

        def attempt() -> T:
            if not flight.sent:
                return self._link.run_script(flight.call, session, flight.seq)
            flight.sent = False
            try:
                return flight.call.parse(self._link.receive())
            except Exception as error:
                if not is_missing_script(error):
                    raise
            return self._link.run_script(flight.call, session, flight.seq)

        try:
            return self._repeat(attempt, deadline, _what(flight.call.script.name))
        finally:
            self._lock.release()

    def _repeat(
        self,
        attempt: Callable[[], T],
        deadline: float | None,
        what: str,
        failure: Exception | None = None,
        *,
        started: float | None = None,
        patience: float | None = None,
    ) -> T:
        """Run ``attempt`` until it answers.

        Args:
            attempt: sends it, and returns its answer.
            deadline: seconds for which it is repeated; the session's where None.
            what: its name, for messages.
            failure: how a first attempt ended, if there was one.
            started: when the call was made, in monotonic seconds; now where None.
            patience: as of ``run``.
        """
        link = self._link
        if deadline is None:
            try:
                return self._persist(attempt, deadline, what, failure, started)
            finally:
                link.whole = WHOLE
        whole = max(LEAST_TIMEOUT, deadline)
        link.hurry(whole if patience is None else patience, whole)
        try:
            return self._persist(attempt, deadline, what, failure, started)
        finally:
            link.hurry(None)

    def _persist(
        self,
        attempt: Callable[[], T],
        deadline: float | None,
        what: str,
        failure: Exception | None,
        started: float | None,
    ) -> T:
        patience: Patience | None = None
        while True:
            if failure is None:
                try:
                    if not self._link.connected:
                        patience = patience or self._patience(deadline, what, started)
                        self._link.connect()
                        patience.sent = True
                    answer = attempt()
                except Exception as error:
                    failure = error
                except BaseException:
                    self._link.close()  # its reply may still come and must not answer the next call
                    raise
                else:
                    self._reached = True
                    return answer
            if patience is None:
                patience = self._patience(deadline, what, started)
                patience.sent = True
            if is_broken(failure) or is_moved(failure):
                self._link.close()
            pause = patience.pause_after(failure)
            failure = None
            if patience.sent:
                self._link.whole = min(self._link.whole, REPEATED)
            time.sleep(pause)

    def _patience(self, deadline: float | None, what: str, started: float | None) -> Patience:
        limit = self._deadline if deadline is None else deadline
        return Patience(self._address, what, limit, self._reached, started)

    def note_answer(self) -> None:
        """Hear that the server answered over another connection: it is waited for like one that was reached."""
        self._reached = True

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        self._link.close()


def _what(name: str) -> str:
    """Return what a script's caller calls it."""
    return name.partition("_")[0]


def _soonest(deadline: float | None, own: float | None) -> float | None:
    return own if deadline is None else deadline if own is None else min(deadline, own)
