"""What comes to the supervisor's loop: sockets that are ready, functions that threads post, signals."""

from __future__ import annotations

import contextlib
import ctypes
import selectors
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future

from taskq.broker.connection import Link
from taskq.worker.wire import Wire

PR_SET_CHILD_SUBREAPER = 36  # prctl: orphaned grandchildren come here, and are reaped as by pid 1
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD)


class Inbox:
    """Waits for all of it at once.

    Attributes:
        selector: of sockets; a key's data is the function to call.
        signals: that came and were not looked at; never iterated: one may come between.
        child_ended: a process ended since this was last set to False.
    """

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.signals: deque[int] = deque()
        self.child_ended = False
        self._posted: deque[Callable[[], None]] = deque()
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)
        self.selector.register(self._wake_out, selectors.EVENT_READ, self._awake)

    @contextlib.contextmanager
    def own_signals(self) -> Iterator[None]:
        """Take the process's signals, and the orphans among its descendants, for the length of a block."""
        _become_subreaper()
        before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        wakeup = signal.set_wakeup_fd(self._wake_in.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _: object) -> None:
        if number == signal.SIGCHLD:
            self.child_ended = True
        else:
            self.signals.append(number)

    def wait(self, seconds: float) -> None:
        """Sleep until something comes, at most so long; call what it is for."""
        for key, _ in self.selector.select(max(0.0, seconds)):
            key.data()
        while self._posted:
            self._posted.popleft()()

    def _awake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake_out.recv(4096):
                pass

    def post(self, function: Callable[[], None]) -> None:
        """Run ``function`` in the loop; any thread may call this."""
        self._posted.append(function)
        with contextlib.suppress(BlockingIOError, OSError):  # full: the loop is about to wake; closed: it has ended
            self._wake_in.send(b"\0")

    def aside(self, step: Callable[[], object]) -> Future[object]:
        """Do ``step`` in a thread; return how it ends, which wakes the loop. Nothing waits for it at exit."""
        ended: Future[object] = Future()

        def work() -> None:
            try:
                ended.set_result(step())
            except BaseException as error:  # raised by whoever asks for the result
                ended.set_exception(error)
            self.post(lambda: None)

        threading.Thread(target=work, name="taskq-aside", daemon=True).start()
        return ended

    def watch(self, link: Link | None, wire: Wire) -> None:
        """Call ``wire.turn`` when ``link`` has something, or room where ``wire`` is writing; None for no more."""
        for key in list(self.selector.get_map().values()):
            if key.data == wire.turn:
                self.selector.unregister(key.fileobj)
        if link is not None:
            event = selectors.EVENT_WRITE if wire.writing else selectors.EVENT_READ
            self.selector.register(link.fileno(), event, wire.turn)

    def close(self) -> None:
        """Close the selector and what wakes it."""
        self.selector.close()
        self._wake_in.close()
        self._wake_out.close()


def _become_subreaper() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
