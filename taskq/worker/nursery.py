"""Starts, watches and replaces the children of one worker."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import selectors
import signal
import time
from collections.abc import Callable, Collection, Iterable

from taskq.errors import ProtocolError
from taskq.worker.children import Child
from taskq.worker.dispatch import Dispatcher, Hand
from taskq.worker.guard import Guard
from taskq.worker.holdings import Holder
from taskq.worker.options import WorkerOptions
from taskq.worker.protocol import PROTOCOL, Frame, Hello, encode_frame
from taskq.worker.reload import forget_compiled, stale_settings

logger = logging.getLogger("taskq.worker")
YOUNG = 2.0  # seconds: a child that dies before is replaced with growing delay
FIRST_DELAY, LONGEST_DELAY = 0.1, 10.0  # seconds
APART_IDLE = 10.0  # seconds for which a child for suspects is kept without one
YIELD = 1.0  # seconds that a job over its limit has to give way before its child is replaced
TICK = 0.02  # seconds between looks at the slot tables while jobs run
SHARE = 20  # a look waits for so many times as long as the last one took: 3 ms with ten thousand slots
MOST_KILLS = 3  # in a row, of first children; who kills the third one kills the fourth one, too
NEIGHBOURS = 10.0  # seconds that the other jobs of such a child have to end, or one without jobs has to exit
RESTLESS = 5  # imports in a row that a change of the code cut short: who edits is slower than that


class Nursery:
    """The children of one worker.

    Args:
        options: pool kind, how many, limits.
        dispatcher: gets their answers and what dead ones leave.
        selector: watches their sockets; the key's data is a function to call.
        worker: the worker's id.
        version: of this package; a child of another one means that it was upgraded under a running worker.
        post: runs a function in the loop, from any thread.
    """

    def __init__(
        self,
        options: WorkerOptions,
        dispatcher: Dispatcher,
        selector: selectors.BaseSelector,
        worker: str,
        version: str,
        post: Callable[[Callable[[], None]], None],
    ) -> None:
        self._options = options
        self._dispatcher = dispatcher
        self._selector = selector
        self._worker = worker
        self._version = version
        self._post = post
        self._guard = Guard()
        self._start_at = 0.0  # monotonic seconds of the next start; after young deaths
        self._look_at = 0.0  # monotonic seconds of the next look at the slot tables
        self._delay = FIRST_DELAY
        self.first_hello: Hello | None = None
        self._proven = False  # a child has started with the code as it is; until then only one is tried
        self._broken = False  # the code as it is cannot be imported: nothing is started until it changes
        self._cut_short = 0  # imports in a row that ended as the code changed
        self._kills = 0  # of children that were importing the app, by SIGKILL: the kernel's, say, short of memory
        self.outdated = False
        self.stopping = False
        self.holder: Holder | None = None  # from the moment that the broker is known

    # --- starting -----------------------------------------------------------------------------------------------

    def start(self, *, apart: bool = False) -> Hand:
        """Start one child."""
        child = Child.spawn(self._options, 1 if apart else self._options.slots, self._worker)
        self._guard.add(child.pid)
        hand = Hand(child, apart=apart)
        self._dispatcher.hands.append(hand)
        self._selector.register(child.fileno(), selectors.EVENT_READ, functools.partial(self._ready, hand))
        return hand

    def start_again(self) -> bool:
        """Start another first child if the last one was killed from outside, unless that happens again and again."""
        if not 0 < self._kills < MOST_KILLS:
            return False
        self.start()
        return True

    def keep(self, now: float) -> None:
        """Start what is missing: children up to the number wanted, and one for suspects while there are any."""
        if self.stopping:
            return
        hands = self._dispatcher.hands
        if now >= self._start_at:
            self._start_missing(now)
        for hand in hands:
            if hand.stale and hand.ready and not (hand.feeding or hand.held or hand.retire_at):
                hand.retire_at = now + NEIGHBOURS
            if (
                hand.apart
                and hand.feeding
                and not hand.held
                and now - hand.heard > APART_IDLE
                and not self._dispatcher.suspects
            ):
                self.dismiss(hand)
                hand.retire_at = now + NEIGHBOURS

    def _start_missing(self, now: float) -> None:
        apart = any(hand.apart and not hand.stale for hand in self._dispatcher.hands)
        suspects = self._proven and self._dispatcher.suspects and not apart
        try:
            for _ in range(self._missing()):
                self.start()
            if suspects:
                self.start(apart=True)
        except OSError as error:  # no memory, no process, no descriptor left: the running children go on
            logger.error("a child could not be started: %s", error, extra={"action": "child_failed"})
            self._start_later(now)

    def _start_later(self, now: float) -> None:
        self._start_at = self._dispatcher.suspects_from = now + self._delay
        self._delay = min(LONGEST_DELAY, self._delay * 2)

    def _missing(self) -> int:
        """Return how many children are to be started: of code that may not start, one at a time."""
        return 0 if self._broken else (self._options.children if self._proven else 1) - self._regular()

    def _regular(self) -> int:
        """Return how many children count: not those that leave, unless a closing one still fills all its slots."""
        return sum(
            not (hand.apart or hand.retire_at or hand.doomed or (hand.closing and len(hand.held) < hand.slots))
            for hand in self._dispatcher.hands
            if not hand.stale
        )

    @property
    def retiring(self) -> bool:
        """Whether a child is to be killed at a set time."""
        return any(hand.retire_at for hand in self._dispatcher.hands)

    def deadline(self, now: float) -> float:
        """Return the monotonic time until which the loop may sleep as far as children go."""
        if self.stopping:
            return now + TICK
        hands = self._dispatcher.hands
        limit = math.inf
        if self._dispatcher.held or self.retiring:
            limit = now + TICK
        if self._missing() > 0:
            limit = min(limit, max(now, self._start_at))
        for hand in hands:
            if hand.apart and hand.feeding and not hand.held and not self._dispatcher.suspects:
                limit = min(limit, max(now, hand.heard + APART_IDLE))
        return limit

    def dismiss(self, hand: Hand) -> None:
        """Let a child finish what it has, then exit."""
        if hand.feeding or not hand.ready:
            hand.feeding = False
            hand.child.send(encode_frame(Frame.STOP))

    def renew(self, sources: Collection[str]) -> None:
        """Replace all children, as the app's code has changed; running jobs end where they run, without a bound.

        One new child is tried. When it is ready the old ones get nothing more and hand back what they have not started;
        if it cannot start they go on, until the code changes again.

        Args:
            sources: paths of what has changed.
        """
        self._proven = self._broken = False
        self._start_at, self._delay = 0.0, FIRST_DELAY
        self._cut_short += any(not (hand.ready or hand.doomed) for hand in self._dispatcher.hands)
        for hand in self._dispatcher.hands:
            hand.stale = True
            if not hand.ready:  # it holds nothing
                self._kill(hand)
        forget_compiled(sources)
        if self._cut_short >= RESTLESS:
            logger.warning(
                "%s changed while the app was imported, %d times in a row: does the app write it then?",
                min(sources), self._cut_short, extra={"action": "reload_restless"},
            )  # fmt: skip
            self._cut_short = 0

    def _approve(self, hello: Hello) -> None:
        """Go over to the code as it is, with which a child has started."""
        self._proven, self._cut_short = True, 0
        stale = [hand for hand in self._dispatcher.hands if hand.stale and hand.feeding]
        for hand in stale:
            self._dispatcher.recall(hand)
            self.dismiss(hand)
        if stale:
            logger.info("the changed code is used from here on", extra={"action": "reloaded"})
        if self.first_hello is None:
            self.first_hello = hello
        elif left := stale_settings(self.first_hello, hello, chosen=bool(self._options.queues)):
            logger.warning("the app has changed %s: start the worker again", left, extra={"action": "restart_needed"})

    def _give_up(self, hand: Hand, reason: str) -> None:
        """Start nothing more until the code changes; those that run go on with what they have imported."""
        self._broken = hand.doomed = True
        self._cut_short = 0
        way = "the old code is used" if self._dispatcher.feeding else "no job is run"
        logger.error("%s; %s until a file changes", reason, way, extra={"action": "reload_refused"})

    # --- listening ----------------------------------------------------------------------------------------------

    def watch_writing(self) -> None:
        """Wait for room in the sockets of children that could not take all at once."""
        for hand in self._dispatcher.hands:
            if hand.child.wants_write != hand.writing and not hand.child.ended:
                hand.writing = hand.child.wants_write
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if hand.writing else 0)
                key = self._selector.get_key(hand.child.fileno())
                self._selector.modify(hand.child.fileno(), events, key.data)

    def _ready(self, hand: Hand) -> None:
        hand.child.flush()
        try:
            for kind, payload in hand.child.read_frames():
                self._take(hand, kind, payload)
        except ProtocolError as error:
            logger.error("child %d: %s; it is killed", hand.child.pid, error, extra={"action": "child_broken"})
            hand.child.kill()
        if hand.child.ended:
            self._unwatch(hand)

    def _take(self, hand: Hand, kind: Frame, payload: object) -> None:
        if kind is Frame.DONE:
            self._dispatcher.done(hand, payload)  # type: ignore[arg-type]  # decoded by its type
        elif kind is Frame.BACK:
            self._dispatcher.back(hand, payload)  # type: ignore[arg-type]
        elif kind is Frame.HOLDINGS and self.holder is not None:
            pid = hand.child.pid
            self.holder.take(pid, payload, lambda address: self._lost(pid, address))  # type: ignore[arg-type]
        elif kind is Frame.HELLO:
            self._greet(hand, payload)  # type: ignore[arg-type]

    def _lost(self, pid: int, address: str) -> None:
        """Tell a child in the loop, as only there its socket is written."""
        self._post(lambda: self._tell_lost(pid, address))

    def _tell_lost(self, pid: int, address: str) -> None:
        for hand in self._dispatcher.hands:
            if hand.child.pid == pid and not hand.child.ended:
                hand.child.send(encode_frame(Frame.LOST, [address]))

    def _greet(self, hand: Hand, hello: Hello) -> None:
        if hand.stale:  # the code changed while it came: it is killed
            return
        if hello.error:
            if self._options.reload and not self._proven:
                self._give_up(hand, hello.error)
                return
            if self.first_hello is None:
                self.first_hello = hello  # the worker ends with this reason: it is told once
                return
            logger.error("child %d cannot start: %s", hello.pid, hello.error, extra={"action": "child_failed"})
            return
        if hello.protocol != PROTOCOL or hello.version != self._version:
            self.outdated = True
            logger.error(
                "child %d runs taskq %s, this worker %s; it drains: start it again",
                hello.pid, hello.version, self._version,
                extra={"action": "version_changed"},
            )  # fmt: skip
            return
        self._dispatcher.tasks = hello.tasks
        hand.ready = hand.feeding = True
        hand.heard = time.monotonic()
        if not self._proven:
            self._approve(hello)
        logger.info("child %d is ready", hello.pid, extra={"action": "child_ready", "child": hello.pid})

    # --- watching -----------------------------------------------------------------------------------------------

    def watch(self, now: float) -> None:
        """Enforce time limits, mark long jobs, call back what waits behind them."""
        if now >= self._look_at:
            for hand in self._dispatcher.hands:
                if hand.held:
                    running = hand.child.table.running()
                    self._enforce(hand, running, now)
                    self._dispatcher.mark_long(hand, running, now)
            self._look_at = now + max(TICK, SHARE * (time.monotonic() - now))
        for hand in self._dispatcher.hands:
            alone = bool(hand.offenders) and hand.offenders.keys() >= hand.held.keys()
            if hand.retire_at and (now >= hand.retire_at or alone) and not hand.doomed:
                self._kill(hand)
        self._dispatcher.call_back(now)

    def _enforce(self, hand: Hand, running: Iterable[tuple[int, float, float]], now: float) -> None:
        alone = self._options.pool == "process" or hand.apart
        patience = 0.0 if alone else YIELD
        for handle, started, deadline in running:
            lease = hand.held.get(handle)
            if lease is None:
                continue
            if handle in hand.asked and now >= hand.asked[handle] + patience:
                self._end_child(hand, now)
            elif deadline and now >= deadline + patience and handle not in hand.offenders:
                hand.offenders[handle] = repr(deadline - started)
                name = f"{lease.queue.name}/{lease.unique}"
                logger.error(
                    "job %s is over its time limit of %g s", name, deadline - started,
                    extra={"action": "time_limit", "job": name},
                )  # fmt: skip
                self._end_child(hand, now)

    def _end_child(self, hand: Hand, now: float) -> None:
        """Kill a child whose job does not stop: at once if it runs nothing else, or when its neighbours ended."""
        if self._options.pool == "process" or hand.apart:
            self._kill(hand)
        elif not hand.retire_at:
            hand.feeding = False
            hand.retire_at = now + NEIGHBOURS
            self._dispatcher.recall(hand)

    def _kill(self, hand: Hand) -> None:
        hand.doomed = True
        hand.feeding = False
        hand.child.kill()

    def reap(self) -> None:
        """Collect ended processes: children with what they leave, and orphans that were handed to this process."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for hand in self._dispatcher.hands:
                if hand.child.pid == pid:
                    self._bury(hand, status)
                    break

    def _bury(self, hand: Hand, status: int) -> None:
        child = hand.child
        child.exited(status)
        try:
            frames, running = child.collect()
            for kind, payload in frames:
                self._take(hand, kind, payload)
        except ProtocolError as error:
            logger.error("child %d: %s", child.pid, error, extra={"action": "child_broken"})
            running = [handle for handle, _, _ in child.table.running()]
        self._unwatch(hand)
        self._dispatcher.hands.remove(hand)
        cause = f"child {child.pid} {describe(status)}"
        planned = hand.doomed or self.stopping or (status == 0 and not running and hand.ready)
        if self._options.reload and not (self._proven or planned or hand.ready):
            self._give_up(hand, f"{cause} before the app was imported")
            planned = True
        elif self._broken and hand.ready and not hand.apart:
            self._miss_old()
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if not hand.ready:
            self._kills = self._kills + 1 if killed else 0
        if not planned:
            logger.warning("%s", cause, extra={"action": "child_died", "child": child.pid})
        self._dispatcher.bury(hand, running, cause)
        if self.holder is not None:
            self.holder.bury(child.pid)
        self._guard.remove(child.pid)
        child.close()
        if not planned and (not hand.ready or (not hand.apart and time.monotonic() - hand.born < YOUNG)):
            self._start_later(time.monotonic())
        elif not planned:
            self._delay = FIRST_DELAY

    def _miss_old(self) -> None:
        """One with the old code is gone, and code that cannot be imported takes its place by none."""
        left = self._dispatcher.feeding
        if not left:
            self._broken = False  # one more try tells why nothing runs
            return
        shown = "1 child" if left == 1 else f"{left} children"
        are = "is" if left == 1 else "are"
        logger.warning(
            "%s with the old code %s left until a file changes", shown, are, extra={"action": "old_child_gone"}
        )

    def _unwatch(self, hand: Hand) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(hand.child.fileno())

    def kill_all(self) -> None:
        """Kill every child; their running jobs go back uncounted."""
        for hand in self._dispatcher.hands:
            hand.doomed = True
            hand.child.kill()

    def close(self) -> None:
        """End the guard."""
        self._guard.close()


def describe(status: int) -> str:
    """Return how a process ended, from its wait status."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return f"was killed by {signal.Signals(number).name}"
        except ValueError:
            return f"was killed by signal {number}"
    return f"exited with code {os.waitstatus_to_exitcode(status)}"
