"""What tests of the embedded server share: programs that use it, clients of it, and its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from worker_kit import wait_until

from taskq import embedded

DEADLINE = 10.0  # seconds: the machine may run other suites

# What a program does with it; each waits for a line on its standard input before it goes on.
PROGRAM = """
import atexit, os, sys
from pathlib import Path
from taskq import embedded
root = Path(sys.argv[1])
def tell(value): print(value, flush=True)
"""
USE = PROGRAM + "sys.stdin.readline(); embedded.url(root); tell(embedded.status(root).pid); sys.stdin.readline()"


@contextlib.contextmanager
def client(url: str) -> Iterator[redis.Redis]:
    """Return a connected redis-py client for the length of a block."""
    with redis.Redis.from_url(url, retry=None) as connected:
        yield connected


@contextlib.contextmanager
def running(script: str, *arguments: object) -> Iterator[Any]:
    """Run a program of its own; it ends at the end of the block, if only because its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        assert process.stdin is not None
        assert process.stderr is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        error = process.stderr.read()
        assert process.wait(timeout=30) == 0, error


def go(process: Any) -> None:
    """Let a program go on."""
    process.stdin.write("\n")
    process.stdin.flush()


def kill(pid: int, root: Path) -> None:
    """Kill a server that is not our child, and see it gone."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not embedded.status(root).running, "the server is gone", DEADLINE)


def ended(pid: int) -> bool:
    """Tell whether a process that is not our child is gone, or waits for its parent to notice."""
    return not Path(f"/proc/{pid}/cwd").exists()


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    """Return the text of an error, which has one line."""
    assert "\n" not in str(error.value)
    return str(error.value)
