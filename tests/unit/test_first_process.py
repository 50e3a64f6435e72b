"""What ``taskq`` does about signals where the kernel does nothing for it: as process 1."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

ALONE = """
import os, signal
from taskq import __main__ as entry
entry.obey_signals()
{then}
os.kill(os.getpid(), {number})
"""


def ended(number: int, then: str = "") -> subprocess.CompletedProcess[str]:
    code = ALONE.format(number=int(number), then=then)
    return subprocess.run([sys.executable, "-c", code], check=False, timeout=60, capture_output=True, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_with_its_number_and_without_a_word(number: int) -> None:
    done = ended(number)
    assert (done.returncode, done.stderr) == (128 + number, "")


def test_an_interrupt_is_left_to_the_command_once_that_is_loaded() -> None:
    assert "KeyboardInterrupt" in ended(signal.SIGINT, "entry.restore_interrupt()").stderr


def test_no_handler_is_installed_by_another_process() -> None:
    code = (
        "import signal, sys; sys.argv = ['taskq', '--version']; from taskq import __main__ as entry\n"
        "try:\n    entry.main()\nfinally:\n    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


MAIN = """
import os, signal, sys
from taskq import __main__ as entry
os.getpid = lambda: {pid}


class Loading:
    def find_spec(self, name, path, target=None):
        if name == "taskq.cli.main":
            signal.raise_signal(signal.SIGTERM)


sys.meta_path.insert(0, Loading())
entry.main()
"""


@pytest.mark.parametrize(("pid", "code"), [(1, 128 + signal.SIGTERM), (2, -signal.SIGTERM)])
def test_process_1_ends_by_a_signal_that_comes_while_the_command_is_loaded(pid: int, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", MAIN.format(pid=pid)], check=False, timeout=60, capture_output=True)
    assert done.returncode == code
