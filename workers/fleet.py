"""The worker processes of the demo: started, watched, stopped, their output kept in files."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from workers.signals import Signals

GRACE = 15.0  # seconds from TERM to KILL: the worker's own grace of 8 s and its way out
POLL = 0.02  # seconds between looks at processes that are ending
TAIL = 15  # lines of a log shown when something failed: a traceback and what led to it


@dataclass(frozen=True, slots=True)
class Member:
    """One process, with the file that its output goes to."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


class MemberError(Exception):
    """A worker ended on its own, or did not end well when told to."""

    def __init__(self, member: Member, what: str) -> None:
        super().__init__(f"the {member.name} worker {what}")
        self.member = member


class Fleet:
    """Processes that end together; a context manager that stops them.

    Args:
        folder: where their logs go; made when missing.
        signals: what can interrupt a start.
        grace: seconds from TERM to KILL.
    """

    def __init__(self, folder: Path, signals: Signals, grace: float = GRACE) -> None:
        self.members: list[Member] = []
        self._folder = folder
        self._signals = signals
        self._grace = grace

    def start(self, name: str, command: list[str]) -> Member:
        """Start a process in a group of its own, so that a Ctrl-C at the terminal reaches it through us only."""
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / f"{name}.log"
        # Between the start and the entry in the list a signal would leave the process running for ever.
        with self._signals.held(), log.open("wb") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, process_group=0
            )
            member = Member(name, process, log)
            self.members.append(member)
        return member

    def check(self) -> None:
        """Look after the processes.

        Raises:
            MemberError: one has ended.
        """
        for member in self.members:
            code = member.process.poll()
            if code is not None:
                raise MemberError(member, f"ended with {_ending(code)} in mid-crawl")

    def stop(self) -> None:
        """Send TERM to all and wait; who is still there after the grace, or at a second interrupt, is killed.

        Raises:
            MemberError: one had to be killed, or ended with another code than 0.
        """
        with self._signals.held():
            members, self.members = self.members, []
            killed = self._terminate(members)
        for member in members:
            if member in killed:
                raise MemberError(member, f"did not stop within {self._grace:g} s of SIGTERM and was killed")
            if member.process.returncode != 0:
                raise MemberError(member, f"ended with {_ending(member.process.returncode)} after SIGTERM")

    def _terminate(self, members: list[Member]) -> list[Member]:
        for member in members:
            if member.process.poll() is None:
                member.process.terminate()
        deadline = time.monotonic() + self._grace
        running = members
        while running and time.monotonic() < deadline and not self._signals.waiting:
            time.sleep(POLL)
            running = [member for member in running if member.process.poll() is None]
        _kill(running)
        return running

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except MemberError:
            # When something else failed, that is the news.
            if error is None:
                raise


def _kill(members: list[Member]) -> None:
    for member in members:
        # The whole group: a killed supervisor cannot end its children any more.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(member.process.pid, signal.SIGKILL)
        member.process.wait()


def _ending(code: int) -> str:
    return f"code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def tail(log: Path, lines: int = TAIL) -> str:
    """The last lines of a log, for people; empty when there are none."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def worker_command(pool: str, slots: int, queue: str) -> list[str]:
    """The command line of one `taskq worker` that serves one queue of the crawl."""
    command = [sys.executable, "-m", "taskq", "worker", "--pool", pool, "-c", str(slots), "-Q", queue]
    return [*command, "-A", "workers.app:app"]
