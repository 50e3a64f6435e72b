"""Runs the command line, as ``taskq`` or ``python -m taskq``. Imports nothing else and patches nothing."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # typing itself would have to be loaded
if TYPE_CHECKING:
    from types import FrameType


def main() -> None:
    """Run the command line, which exits the process."""
    first = os.getpid() == 1
    if first:
        obey_signals()
    from taskq.cli.main import main as run

    if first:
        restore_interrupt()
    run()


def obey_signals() -> None:
    """End by TERM and INT as any process would.

    To process 1, as of a container, the kernel sends no signal that has no handler; a worker's own come with its loop.
    """
    import signal

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)


def restore_interrupt() -> None:
    """Have INT raise KeyboardInterrupt again, now that there is somebody who takes it."""
    import signal

    signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (a handler's shape)
    os._exit(128 + number)


if __name__ == "__main__":
    main()
