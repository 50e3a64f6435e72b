"""Tasks for the tests of children. Where a test must know that a job has begun, the job makes a file."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import os
import subprocess
import threading
import time
from pathlib import Path

from taskq.app import TaskQ
from taskq.client.context import JobContext, current_job
from taskq.errors import Retry, TimeLimitExceeded

app = TaskQ("childapp", url="redis://127.0.0.1:1/0")
urgent = app.PriorityQueue("urgent", maxsize=9)
PATIENCE = 30.0  # seconds after which a job that nobody releases gives up
mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="clean")
seen: list[str] = []


def touch(path: str) -> None:
    Path(path).touch()


def await_file(path: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not Path(path).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.002)


@app.hooks.before_run
def note_start(context: JobContext) -> None:
    seen.append(f"before {context.task}")
    if context.task == "hooked":
        raise ValueError("a hook that fails")


@app.hooks.after_outcome
def note_end(context: JobContext, outcome: object) -> None:
    seen.append(f"after {context.task} {outcome.verdict}")
    if context.task == "hooked":
        raise SystemExit(1)


@app.task(name="add")
def add(a: int, b: int) -> int:
    return a + b


@app.task(name="aadd")
async def aadd(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


@app.task(name="echo")
def echo(value: object) -> object:
    return value


@app.task(name="noop", ignore_result=True)
def noop() -> None:
    pass


@app.task(name="anoop", ignore_result=True)
async def anoop() -> None:
    pass


@app.task(name="hooked", queue=urgent)
def hooked() -> list[str]:
    return list(seen)


@app.task(name="seen")
def get_seen() -> list[str]:
    return list(seen)


@app.task(name="boom", max_retries=2, retry_on=(ValueError,), backoff=4.0, jitter=0.0)
def boom(kind: str = "ValueError") -> None:
    raise {"ValueError": ValueError, "KeyError": KeyError}[kind]("the reason")


@app.task(name="boom_quiet", ignore_result=True)
def boom_quiet() -> None:
    raise ValueError("the reason")


@app.task(name="again", max_retries=2, backoff=4.0, jitter=0.0)
def again(countdown: object) -> None:
    raise Retry("later", countdown=countdown)  # type: ignore[arg-type]  # what a careless caller gives


@app.task(name="leave")
def leave(kind: str) -> None:
    raise {
        "SystemExit": SystemExit,
        "KeyboardInterrupt": KeyboardInterrupt,
        "GeneratorExit": GeneratorExit,
        "CancelledError": asyncio.CancelledError,
        "StopIteration": StopIteration,
    }[kind]


@app.task(name="aleave")
async def aleave(kind: str) -> None:
    await asyncio.sleep(0)
    leave(kind)


class Exploding(Exception):
    """Nothing of it can be used."""

    def __str__(self) -> str:
        raise SystemExit("in __str__")

    __repr__ = __str__

    def __reduce__(self) -> str:
        raise SystemExit("in __reduce__")


@app.task(name="explode")
def explode() -> None:
    raise Exploding


@app.task(name="result")
def result(kind: str) -> object:
    return {"object": object(), "large": b"x" * (17 * 1024 * 1024)}[kind]


@app.task(name="who", bind=True)
def who(context: JobContext) -> list[object]:
    here = current_job.get()
    assert here is context
    served = sorted(here.served_queues)
    return [here.task, here.queue, here.attempt, here.delivery, dict(here.headers), here.root, here.parent, served]


@app.task(name="awho", bind=True)
async def awho(context: JobContext) -> list[object]:
    await asyncio.sleep(0)
    return who()


@app.task(name="stain")
def stain() -> str:
    found = mark.get()
    mark.set("dirty")
    return found


@app.task(name="astain")
async def astain() -> str:
    return stain()


@app.task(name="hold")
def hold(started: str, release: str) -> str:
    touch(started)
    await_file(release)
    return "held"


@app.task(name="ahold")
async def ahold(started: str, release: str) -> str:
    touch(started)
    deadline = time.monotonic() + PATIENCE
    while not Path(release).exists():  # noqa: ASYNC240 (a test's signal; it takes microseconds)
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)
    return "held"


@app.task(name="maybe_hold", ignore_result=True)
def maybe_hold(started: str = "", release: str = "") -> None:
    if started:
        touch(started)
        await_file(release)


@app.task(name="amaybe_hold", ignore_result=True)
async def amaybe_hold(started: str = "", release: str = "") -> None:
    if started:
        await ahold(started, release)


@app.task(name="brief", ignore_result=True)
def brief() -> None:
    """Keep the processor busy for a moment."""
    deadline = time.perf_counter() + 0.0003
    while time.perf_counter() < deadline:
        pass


@app.task(name="abrief", ignore_result=True)
async def abrief() -> None:
    brief.function()


@app.task(name="nap")
def nap(seconds: float) -> None:
    time.sleep(seconds)


@app.task(name="anap")
async def anap(seconds: float) -> None:
    await asyncio.sleep(seconds)


@app.task(name="short_naps", ignore_result=True)
def short_naps(seconds: float) -> None:
    time.sleep(seconds)


@app.task(name="spin", time_limit=0.2)
def spin(started: str = "") -> None:
    if started:
        touch(started)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        time.sleep(0.001)


@app.task(name="busy", time_limit=0.2)
def busy() -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        pass


@app.task(name="aspin", time_limit=0.2)
async def aspin(started: str = "") -> None:
    if started:
        touch(started)
    await asyncio.sleep(PATIENCE)


@app.task(name="retried_spin", time_limit=0.1, max_retries=1, retry_on=(TimeLimitExceeded,), backoff=3.0, jitter=0.0)
def retried_spin() -> None:
    spin()


@app.task(name="stubborn", time_limit=0.1)
async def stubborn() -> str:
    try:
        await asyncio.sleep(PATIENCE)
    except asyncio.CancelledError:
        return "went on"
    return "slept"


@app.task(name="count_threads")
def count_threads() -> int:
    return threading.active_count()


@app.task(name="die")
def die(code: int = 1) -> None:
    os._exit(code)


@app.task(name="adie")
async def adie() -> None:
    os._exit(1)


@app.task(name="litter")
def litter() -> int:
    for fd in (1, 2):
        os.write(fd, b"\xff\x00junk\n" * 100)
    os.closerange(0, 21)
    return os.open(os.devnull, os.O_RDWR)


@app.task(name="fork_and_return")
def fork_and_return(how: str, path: str) -> int:
    pid = os.fork()
    if pid == 0:
        if how == "return":
            return 0
        raise SystemExit(3)
    _, status = os.waitpid(pid, 0)
    Path(path).write_text(str(os.waitstatus_to_exitcode(status)))
    return pid


@app.task(name="sleeper")
def sleeper() -> int:
    return subprocess.Popen(["sleep", "60"]).pid


@app.task(name="signalled")
def signalled() -> int:
    """Start a program and end it as one does: children must not inherit ignored signals."""
    process = subprocess.Popen(["sleep", "60"])
    process.terminate()
    return process.wait(10)


@app.task(name="forked_signal")
def forked_signal(number: int) -> int:
    pid = os.fork()
    if pid == 0:
        time.sleep(PATIENCE)
        os._exit(0)
    os.kill(pid, number)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@app.task(name="deaf")
def deaf(started: str) -> None:
    """Block the whole process: no thread of it runs while C code keeps the interpreter's lock."""
    touch(started)
    ctypes.PyDLL(None).sleep(30)


@app.task(name="daemonize")
def daemonize() -> int:
    """Leave a fork behind that has every descriptor of its origin, in a session of its own."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        ctypes.PyDLL(None).sleep(30)
        os._exit(0)
    return pid


@app.task(name="exit_in_greenlet")
def exit_in_greenlet() -> str:
    import gevent

    def leave_at_once() -> None:
        raise SystemExit(5)

    gevent.spawn(leave_at_once)
    gevent.sleep(0.01)
    return "done"


@app.task(name="grow")
def grow(megabytes: int) -> None:
    app.kept = bytearray(os.urandom(1024) * 1024 * megabytes)  # type: ignore[attr-defined]


@app.task(name="orphan_tasks")
async def orphan_tasks() -> str:
    """Leave asyncio tasks behind, one of which exits."""

    async def leave_later() -> None:
        await asyncio.sleep(0.01)
        raise SystemExit(5)

    app.left = [asyncio.create_task(leave_later()), asyncio.create_task(asyncio.sleep(60))]  # type: ignore[attr-defined]
    await asyncio.sleep(0.05)
    return "done"


@app.task(name="fate_of_orphans")
def fate_of_orphans() -> list[bool]:
    return [task.cancelled() for task in app.left]  # type: ignore[attr-defined]


@app.task(name="keep_task", ignore_result=True)
async def keep_task() -> None:
    app.task_of_job = asyncio.current_task()  # type: ignore[attr-defined]


@app.task(name="cancel_kept_task", ignore_result=True)
async def cancel_kept_task() -> None:
    app.task_of_job.cancel()  # type: ignore[attr-defined]


@app.task(name="say")
def say(text: str) -> None:
    print(text)  # noqa: T201


def add_two(value: int) -> int:
    """No app and no task."""
    return value + 2
