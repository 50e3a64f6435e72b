"""Log lines through a bounded queue: a terminal that is stopped, or a pipe that nobody reads, stops no supervisor."""

from __future__ import annotations

import contextlib
import copy
import logging
import queue
from collections.abc import Iterator
from logging.handlers import QueueHandler, QueueListener

from taskq.worker import logs

CAPACITY = 10_000  # records; some megabytes, minutes of a busy supervisor
LAST_LINES = 1.0  # seconds that an ending process gives its reader for what is still in the queue


class BoundedHandler(QueueHandler):
    """Puts records into a queue and never waits; ``dropped`` counts those it had no room for."""

    def __init__(self, records: queue.Queue[logging.LogRecord | None]) -> None:
        super().__init__(records)
        self.records = records
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return what is queued: the message as it reads now, its arguments may change before it is written."""
        prepared = copy.copy(record)
        prepared.msg, prepared.args = record.getMessage(), None
        return prepared

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue the record, or count it."""
        try:
            self.records.put_nowait(record)
        except queue.Full:
            self.dropped += 1  # under the handler's lock


class Listener(QueueListener):
    """Writes what is queued, in a thread of its own, and says how much was dropped."""

    def __init__(self, source: BoundedHandler, handler: logging.Handler) -> None:
        super().__init__(source.records, handler)
        self._source = source
        self._handler = handler
        self._told = 0

    def handle(self, record: logging.LogRecord) -> None:
        """Write one record.

        Not through ``Handler.handle``: that holds the handler's lock while a blocked descriptor is written to, and the
        exit of the process waits for every handler's lock.
        """
        dropped = self._source.dropped
        if dropped > self._told:
            missing, self._told = dropped - self._told, dropped
            text = f"{missing} log records were dropped: nobody read the log for a while"
            self._handler.emit(logging.makeLogRecord(_warning(text)))
        self._handler.emit(record)

    def enqueue_sentinel(self) -> None:
        """Queue the end, if there is room for it soon."""
        with contextlib.suppress(queue.Full):
            self._source.records.put(None, timeout=LAST_LINES)

    def stop(self) -> None:
        """Give the thread a moment for the rest; one that is blocked is left behind, it is a daemon."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self.enqueue_sentinel()
            thread.join(LAST_LINES)


def _warning(text: str) -> dict[str, object]:
    return {
        "name": "taskq.log",
        "levelno": logging.WARNING,
        "levelname": "WARNING",
        "msg": text,
        "action": "log_dropped",
    }


@contextlib.contextmanager
def bounded_logging(level: str, kind: str, fd: int, capacity: int = CAPACITY) -> Iterator[BoundedHandler]:
    """Send this process's records to ``fd`` through a bounded queue, for the length of a block.

    Raises:
        InvalidOption: on an unknown level or format.
    """
    logs.configure(level, kind, fd)
    own, root = logging.getLogger("taskq"), logging.getLogger()
    handler = own.handlers[0]
    bounded = BoundedHandler(queue.Queue(capacity))
    for logger in (own, root):
        logger.handlers[:] = [bounded if one is handler else one for one in logger.handlers]
    listener = Listener(bounded, handler)
    listener.start()
    try:
        yield bounded
    finally:
        listener.stop()
        for logger in (own, root):
            logger.handlers[:] = [one for one in logger.handlers if one is not bounded]
