"""What a child answers: many ended jobs in one frame, and never two frames mixed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from taskq.worker.protocol import Done, Ended, Frame, encode_frame

if TYPE_CHECKING:
    from taskq.worker.tally import Tally

LINGER = 0.002  # seconds that an answer may wait for others: far below what a person or a round trip notices
MAX_ANSWERS = 200  # in one frame: so many no-ops end within the time above
MAX_BYTES = 4 * 1024 * 1024  # of records in one frame, unless a single one is larger; MAX_FRAME is far above


class Answers:
    """Ended jobs that the supervisor does not know of yet.

    Any thread may add; adding takes no lock, as lists grow and shrink in one step each.

    Args:
        send: sends one frame's bytes whole, blocking while the socket is full.
        tally: goes with the last answers that it counts, so that none is told of which may yet be lost with the child;
            None where nobody collects it.
    """

    def __init__(self, send: Callable[[bytes], None], tally: Tally | None = None) -> None:
        self._send = send
        self._tally = tally
        self._sending = threading.Lock()  # held while a frame is cut and sent: frames leave in order and whole
        self._plain: list[int] = []
        self._ended: list[Ended] = []
        self._ran: list[float] = []  # seconds, one per answer
        self._since = 0.0  # when the oldest one was added; 0 where that is not known

    def add(self, handle: int, ended: Ended | None, seconds: float, now: float) -> None:
        """Take the answer to ``handle``, which ran ``seconds``; None for a success without a record."""
        if not self._ran:
            self._since = now
        self._ran.append(seconds)  # first: there is never an answer to cut that has no seconds
        if ended is None:
            self._plain.append(handle)
        else:
            self._ended.append(ended)

    def __len__(self) -> int:
        return len(self._ran)

    def due(self, now: float) -> bool:
        """Tell whether the answers should leave."""
        count = len(self._ran)
        return count > 0 and (count >= MAX_ANSWERS or now - self._since >= LINGER)

    def flush(self) -> None:
        """Send all answers that are there."""
        with self._sending:
            while self._plain or self._ended:
                self._send(encode_frame(Frame.DONE, self._cut()))

    def _cut(self) -> Done:
        plain = self._plain[:MAX_ANSWERS]
        del self._plain[: len(plain)]
        ended: list[Ended] = []
        size = 0
        for answer in self._ended[: MAX_ANSWERS - len(plain)]:
            size += _size(answer)
            if ended and size > MAX_BYTES:
                break
            ended.append(answer)
        del self._ended[: len(ended)]
        ran = self._ran[: len(plain) + len(ended)]
        del self._ran[: len(ran)]
        last = not self._plain and not self._ended
        tallies = self._tally.take() if self._tally is not None and last else []
        return Done(plain, ended, int(sum(ran) * 1e6), tallies)


def _size(answer: Ended) -> int:
    return len(answer.record) + len(answer.errors) + sum(len(data) for _, _, _, data in answer.follow_ups)
