"""A job that answers for itself over the socket of its child, as only the child may."""

from __future__ import annotations

import gc
import struct
import time
from dataclasses import dataclass

from taskq import TaskQ
from taskq.client.context import current_job
from taskq.worker.link import Link
from taskq.worker.protocol import Done, Ended, Frame, Holdings, encode_frame

HANDLE = 1  # of the first job that a worker gives out
FORGERIES = {
    "four gigabytes": struct.pack("<IB", 2**32 - 1, Frame.DONE),
    "unknown type": struct.pack("<IB", 1, 99),
    "nested": struct.pack("<IB", 100_002, Frame.DONE) + b"\x95" + b"\x91" * 100_000,
    "no text": struct.pack("<IB", 4, Frame.LOST & 0x7F) + b"\xa1\xff\x00",
    "another way": encode_frame(Frame.STOP),
    "a job that it does not hold": encode_frame(Frame.DONE, Done([], [Ended(10**6, "o")], 1)),
    "a handle that is none": encode_frame(Frame.BACK, [10**6]),
    "verdict": encode_frame(Frame.DONE, Done([], [Ended(HANDLE, "z")], 1)),
    "time": encode_frame(Frame.DONE, Done([], [Ended(HANDLE, "o", b"r", 0, 2**63)], 1)),
    "past": encode_frame(Frame.DONE, Done([], [Ended(HANDLE, "r", b"", -5)], 1)),
    "delay": encode_frame(Frame.DONE, Done([], [Ended(HANDLE, "u", b"", 2**63)], 1)),
    "holdings": encode_frame(Frame.HOLDINGS, Holdings([], ["\x00", "x" * 1000])),
}

app = TaskQ("forging")
app.Queue("default")


@app.task
def forge(name: str) -> None:
    """Send what is no answer, and wait for what comes of it."""
    for link in [one for one in gc.get_objects() if isinstance(one, Link)]:
        link.send(FORGERIES[name])
    time.sleep(2)


@app.task
def add(x: int, y: int) -> int:
    return x + y


@dataclass
class Odd:
    """Made of a job's arguments in the child; makes trouble only there."""

    how: str

    def __post_init__(self) -> None:
        self.inside = current_job.get() is not None
        if not self.inside:
            return
        if self.how == "hangs":
            time.sleep(60)
        if self.how == "exits":
            raise SystemExit(3)
        if self.how == "raises":
            raise GeneratorExit("no \x1b[31mexception")

    def __del__(self) -> None:
        if self.inside and self.how == "goes badly":
            raise ValueError("in __del__")


@app.task(time_limit=0.3)
def take(odd: Odd) -> str:
    """Return how odd it was."""
    return odd.how
