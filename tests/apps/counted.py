"""Jobs that do nothing, and a worker that tells what memory it holds: ``python -m apps.counted worker ...``."""

from __future__ import annotations

import gc
import os
import signal
import sys

from taskq import TaskQ

app = TaskQ("counted")
_log = os.open(os.environ.get("COUNTED_LOG", os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_blocks = os.environ.get("COUNTED_BLOCKS", os.devnull)


@app.task(ignore_result=True)
def noop(number: int) -> None:
    os.write(_log, b".")


@app.task
def answer(number: int) -> int:
    os.write(_log, b".")
    return number


@app.task(ignore_result=True)
def tell_blocks() -> None:
    """Append how many blocks this process holds."""
    gc.collect()
    line = b"%d\n" % sys.getallocatedblocks()
    fd = os.open(_blocks, os.O_WRONLY | os.O_APPEND)
    os.write(fd, line)
    os.close(fd)


if __name__ == "__main__":
    from taskq.__main__ import main

    # The supervisor runs no code of an app, and leaves this signal alone.
    signal.signal(signal.SIGUSR1, lambda *_: tell_blocks.function())
    main()
