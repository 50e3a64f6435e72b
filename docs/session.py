"""Runs the console blocks of a page in order: ``python docs/session.py docs/a-day.md`` records what they print.

The page's first python block is the project's one file, named in its first line. Commands that only look are repeated
until they print what the page says, but for ids, times and rates, or until ``PATIENCE`` is over: what happens in a
worker takes its time.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATIENCE = 20.0  # seconds; a loaded machine starts a process in one
SETTLED = 1.5  # seconds for what the worker does, when it is recorded
WHOLE = "nothing is wrong\n"
LOOKS = re.compile(r"taskq (status|queues|jobs|job|dead list|dead show|workers) ?")
MASKS = (
    (r"\b\d+(\.\d+)? ?s\b|\b\d+m\d\ds\b", "TIME"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", "WHEN"),
    (r"\bshop\.\d+\.[0-9a-v]+", "WORKER"),
    (r"child +\d+, slot \d", "child SLOT"),
    (r'File ".*?shop.py"', 'File "shop.py"'),
    (r"(fifo .*) (-|\d[\d.,]*) +(-|\d[\d.,]*) +(open|paused)", r"\1 RATE RATE \4"),
    (r"-{2,}", ""),
    (r" +", " "),
)


@dataclass
class Step:
    """One command, and what the page says it prints."""

    command: str
    said: str


def steps(page: str) -> list[Step]:
    """Return the page's commands in order."""
    found: list[Step] = []
    for kind, text in BLOCK.findall(page):
        for line in text.splitlines() if kind == "console" else ():
            if line.startswith("$ "):
                found.append(Step(line[2:], ""))
            else:
                found[-1].said += f"{line}\n"
    return found


def masked(text: str) -> str:
    """Return what is the same in each run; jobs that end at the same time come in any order."""
    for pattern, mask in MASKS:
        text = re.sub(pattern, mask, text)
    return "\n".join(sorted(line.strip() for line in text.splitlines()))


class Project:
    """The page's project in a directory of its own, with the embedded server."""

    def __init__(self, page: str, folder: Path) -> None:
        self._folder = folder
        self._workers: list[subprocess.Popen[bytes]] = []
        source = next(text for kind, text in BLOCK.findall(page) if kind == "python")
        name = source.partition("\n")[0].removeprefix("# ")
        (folder / name).write_text(source, "utf-8")
        (folder / "pyproject.toml").write_text(f'[tool.taskq]\napp = "{name.removesuffix(".py")}:app"\n', "utf-8")
        (folder / "bin").mkdir()
        program = folder / "bin" / "taskq"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m taskq "$@"\n', "utf-8")
        program.chmod(0o755)
        base = {key: value for key, value in os.environ.items() if not key.startswith("TASKQ_")}
        self._environment = base | {
            "PATH": f"{program.parent}:{os.environ['PATH']}", "TASKQ_EMBEDDED_QUIET": "1", "TZ": "UTC",
            "TASKQ_HEARTBEAT": "0.2", "TASKQ_LEASE": "5", "NO_COLOR": "1",
        }  # fmt: skip

    def __enter__(self) -> Self:
        self.run("taskq server start")
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGKILL)
            worker.wait()
        self.run("taskq server stop")

    def run(self, command: str) -> str:
        """Run a line of shell; returns all it prints. One that ends with & goes on in the background."""
        if command.endswith("&"):
            shell = ["/bin/sh", "-c", f"exec {command[:-1]}"]
            self._workers.append(subprocess.Popen(shell, cwd=self._folder, env=self._environment))
            return ""
        done = subprocess.run(
            ["/bin/sh", "-c", f"{command} 2>&1"], cwd=self._folder, env=self._environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.stdout.replace(f"{self._folder}/", "")

    def settle(self, step: Step) -> str:
        """Run a step until it prints what the page says; returns what it printed last."""
        deadline = time.monotonic() + PATIENCE
        while True:
            printed = self.run(step.command)
            fits = masked(printed) == masked(step.said)
            if fits or not LOOKS.match(step.command) or time.monotonic() > deadline:
                return printed


def record(page: str) -> str:
    """Return the page with what its commands print now."""
    with tempfile.TemporaryDirectory() as folder, Project(page, Path(folder)) as project:

        def rerun(found: re.Match[str]) -> str:
            if found[1] != "console":
                return found[0]
            return "```console\n" + "".join(_recorded(project, step.command) for step in steps(found[0])) + "```"

        return BLOCK.sub(rerun, page)


def _recorded(project: Project, command: str) -> str:
    if LOOKS.match(command):
        time.sleep(SETTLED)
    return f"$ {command}\n{project.run(command)}"


def differences(page: str) -> Iterator[tuple[str, str, str]]:
    """Run the page; yield each command that prints something else than the page says, with both, masked.

    What is in Redis at the end is checked, too.
    """
    with tempfile.TemporaryDirectory() as folder, Project(page, Path(folder)) as project:
        for step in steps(page):
            printed = project.settle(step)
            if masked(printed) != masked(step.said):
                yield step.command, masked(step.said), masked(printed)
        if (left := project.run("taskq fsck")) != WHOLE:
            yield "taskq fsck", WHOLE, left


if __name__ == "__main__":
    for name in sys.argv[1:]:
        Path(name).write_text(record(Path(name).read_text("utf-8")), "utf-8")
