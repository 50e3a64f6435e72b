"""Runs the blocks of a page of documentation as printed, in the printed order, in a directory of its own.

What a block is says the line that opens it: ``file=NAME`` is written; ``sh background`` is a worker that runs on;
``sh`` is a command and ``python run`` a program, which print what ``prints=TEXT`` says.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from worker_kit import wait_until

BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: ``python``, ``sh``, ...
        marks: the rest of the line that opens it.
        text: what is in it.
    """

    language: str
    marks: str
    text: str

    @property
    def runs(self) -> bool:
        """Whether it is one of those that ``run_page`` knows."""
        return self.language == "sh" or "file=" in self.marks or "run" in self.marks


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page that name a language."""
    return [Block(*match.groups()) for match in BLOCK.finditer(page.read_text("utf-8"))]


def run_page(found: list[Block], folder: Path, environment: dict[str, str]) -> None:
    """Run blocks in ``folder``; all workers must then leave in good order, and leave whole what is in Redis."""
    log = folder / "worker.log"
    background: list[subprocess.Popen[bytes]] = []
    try:
        for block in found:
            if "file=" in block.marks:
                (folder / _mark(block, "file=").split()[0]).write_text(block.text, "utf-8")
            elif "background" in block.marks:
                with log.open("ab") as out:
                    command = block.text.split()
                    background.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out))
                wait_until(lambda: _ready(log) == len(background), "the worker of the page is up")
            else:
                _run(block, folder, environment, log)
    finally:
        for process in background:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(30) for process in background]
    assert codes == [0] * len(background)
    if (folder / ".taskq").exists():
        _run(Block("sh", "", "taskq fsck --strict"), folder, environment, log)


def _ready(log: Path) -> int:
    return log.read_text("utf-8").count("is ready: pool")


def _run(block: Block, folder: Path, environment: dict[str, str], log: Path) -> None:
    program = ["sh", "-e", "-c", block.text] if block.language == "sh" else [sys.executable, "-c", block.text]
    done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    shown = f"{block.text}\n{done.stdout}{done.stderr}\n{log.read_text('utf-8') if log.exists() else ''}"
    assert done.returncode == 0, shown
    if "prints=" in block.marks:
        assert done.stdout.strip() == _mark(block, "prints=").strip(), shown


def _mark(block: Block, name: str) -> str:
    return block.marks.split(name)[1]
