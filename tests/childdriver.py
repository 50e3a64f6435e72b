"""A small supervisor for tests: one real child over its real socket, jobs by hand, answers by handle."""

from __future__ import annotations

import os
import select
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from taskq.model.job import encode_body, encode_header
from taskq.model.outcome import Record, decode_record
from taskq.model.serializer import Serializers
from taskq.model.signature import plain_signature
from taskq.worker.child_options import ChildOptions
from taskq.worker.children import Child
from taskq.worker.protocol import Ended, Frame, Hello, JobFrame, Jobs, encode_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

APPS = str(Path(__file__).parent / "apps")
DEADLINE = 20.0  # seconds after which a test gives up; none should come near it
SIGNATURE = plain_signature("any")
CODEC = Serializers().codec("")
POOLS = ("process", "thread", "gevent", "asyncio")
SHARED = POOLS[1:]  # where one child runs several jobs


def job_data(
    task: str, *args: Any, flags: str = "", reply: str = "", codec: str = "", meta: Any = None, **kwargs: Any
) -> bytes:
    """Return a job as it is stored."""
    payload = SIGNATURE.encode_arguments(CODEC, args, kwargs)
    header = b"1700000000000;" + encode_header(reply=reply, flags=flags).encode()
    return header + encode_body(task, payload, codec, meta)


def value_of(ended: Ended) -> Any:
    """Return the value in the record of a success."""
    record = decode_record(ended.record)
    assert record.ending == "succeeded", record
    return SIGNATURE.decode_result(CODEC, record.payload)


def eventually(condition: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
    """Poll until ``condition`` is true and return what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.005)
    return found


def alive(pid: int) -> bool:
    """Tell whether a process runs: neither gone nor a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except FileNotFoundError:
        return False


class Driver:
    """One child; killed at the end of the block."""

    def __init__(self, pool: str = "process", slots: int = 4, app: str = "childapp", **options: Any) -> None:
        options.setdefault("sys_path", APPS)
        options.setdefault("worker", "w1")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the driver)
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self.offset_us = time.time_ns() // 1000 - time.monotonic_ns() // 1000
        self.child = Child.start(
            ChildOptions(app=app, pool=pool, slots=1 if pool == "process" else slots, **options),
            stdout=self._output.fileno(),
            stderr=self._errors.fileno(),
        )
        self.frames: list[tuple[Frame, Any]] = []
        self.ended: dict[int, Ended] = {}
        self.returned: list[int] = []
        self.given: set[int] = set()
        self._handle = 0
        self._poll = select.poll()
        self._poll.register(self.child.fileno(), select.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.close()
        if sys.exc_info()[0] is not None:
            sys.stderr.write(self.log())
        self._errors.close()
        self._output.close()

    def hello(self) -> Hello:
        """Wait for the first frame."""
        self.until(lambda: self.frames, "HELLO")
        kind, payload = self.frames[0]
        assert kind is Frame.HELLO
        return payload

    def started(self) -> Self:
        """Wait until the child is ready."""
        assert self.hello().error == ""
        return self

    def log(self) -> str:
        """Return what the child wrote to its standard error."""
        return os.pread(self._errors.fileno(), 1 << 20, 0).decode()

    def output(self) -> str:
        """Return what the child wrote to its standard output."""
        return os.pread(self._output.fileno(), 1 << 20, 0).decode()

    # -- to the child

    def frame(self, data: bytes, state: bytes = b"") -> JobFrame:
        """Return a job under the next handle."""
        self._handle += 1
        self.given.add(self._handle)
        return JobFrame(self._handle, "default", f"job{self._handle}", 1, state, data)

    def give(self, frames: Iterable[JobFrame]) -> None:
        """Send jobs in one frame."""
        now_us = time.monotonic_ns() // 1000 + self.offset_us
        self.child.send(encode_frame(Frame.JOBS, Jobs(self.offset_us, now_us, list(frames))))

    def send(self, task: str, *args: Any, state: bytes = b"", **options: Any) -> int:
        """Send one job; return its handle."""
        frame = self.frame(job_data(task, *args, **options), state)
        self.give([frame])
        return frame.handle

    def tell(self, kind: Frame, payload: Any = None) -> None:
        """Send another frame."""
        self.child.send(encode_frame(kind, payload))

    # -- from the child

    def until(self, condition: Callable[[], Any], what: str, seconds: float = DEADLINE) -> None:
        """Read frames until ``condition`` is true."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.child.ended or time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds} s: {what}; frames {self.frames[-3:]}; log:\n{self.log()}")
            self.child.flush()
            self._poll.poll(5)
            for kind, payload in self.child.read_frames():
                self.take(kind, payload)

    def take(self, kind: Frame, payload: Any) -> None:
        """Note one frame; a handle that was not given, or was answered already, is an error."""
        self.frames.append((kind, payload))
        if kind is Frame.DONE:
            for ended in [*(Ended(handle, "o") for handle in payload.plain), *payload.ended]:
                self.given.remove(ended.handle)
                self.ended[ended.handle] = ended
        elif kind is Frame.BACK:
            self.given.difference_update(payload)
            self.returned += payload

    def wait(self, handle: int, seconds: float = DEADLINE) -> Ended:
        """Return the answer to a job."""
        self.until(lambda: handle in self.ended, f"answer to {handle}", seconds)
        return self.ended[handle]

    def run(self, task: str, *args: Any, **options: Any) -> Ended:
        """Send one job and return its answer."""
        return self.wait(self.send(task, *args, **options))

    def value(self, task: str, *args: Any, **options: Any) -> Any:
        """Send one job and return its value."""
        return value_of(self.run(task, *args, **options))

    def record(self, task: str, *args: Any, **options: Any) -> Record:
        """Send one job and return its record."""
        return decode_record(self.run(task, *args, **options).record)

    def exit_code(self) -> int:
        """Wait for the end of the process, without reading what it sent."""
        return eventually(lambda: self.child.process.poll() is not None, "exit") and self.child.process.returncode
