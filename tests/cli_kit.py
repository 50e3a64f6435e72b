"""Runs the command line as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 60.0  # seconds; a loaded machine starts a process in one


@dataclass(frozen=True)
class Run:
    """How one command line ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Cli:
    """The command line with an environment, in a directory."""

    environment: Mapping[str, str]
    folder: Path

    def __call__(self, *arguments: str, **changes: str) -> Run:
        """Run ``taskq arguments`` to its end; ``changes`` are environment variables, an empty one is removed."""
        done = subprocess.run(
            [sys.executable, "-m", "taskq", *arguments],
            cwd=self.folder,
            env=self.merged(changes),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Run(done.returncode, done.stdout, done.stderr)

    def shell(self, line: str, **changes: str) -> Run:
        """Run a line of bash in which ``taskq`` is the command line."""
        script = f'taskq() {{ "{sys.executable}" -m taskq "$@"; }}; {line}'
        done = subprocess.run(
            ["/bin/bash", "-c", script],
            cwd=self.folder,
            env=self.merged(changes),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Run(done.returncode, done.stdout, done.stderr)

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start ``taskq arguments``; the caller ends it."""
        return subprocess.Popen(
            [sys.executable, "-m", "taskq", *arguments],
            cwd=self.folder,
            env=self.merged({}),
            stdin=subprocess.DEVNULL,
            text=True,
            **options,
        )

    def on_terminal(self, *arguments: str, answer: str = "", **changes: str) -> Run:
        """Run ``taskq arguments`` on a terminal of 100 columns, with what is typed; its output and errors are one."""
        master, terminal = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "taskq", *arguments],
            cwd=self.folder,
            env={"TERM": "xterm", "COLUMNS": "100", **self.merged(changes)},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        os.write(master, answer.encode())
        text = b""
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while part := os.read(master, 65_536):
                text += part
        os.close(master)
        return Run(process.wait(PATIENCE), text.decode(), "")

    def merged(self, changes: Mapping[str, str]) -> dict[str, str]:
        base = {name: value for name, value in os.environ.items() if not name.startswith(("TASKQ_", "PYTHON"))}
        return {name: value for name, value in {**base, **self.environment, **changes}.items() if value}


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Send Ctrl-C; returns exit code, output and errors."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err
