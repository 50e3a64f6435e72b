"""How log records become lines: text for people, JSON for machines."""

from __future__ import annotations

import json
import logging
import os
import time
from typing import Any

from taskq.errors import InvalidOption, clean, shorten

FORMATS = ("text", "json")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def one_line(text: str, limit: int = 200) -> str:
    """Return the last line of ``text`` that is not blank, cleaned, in at most ``limit`` characters."""
    lines = text[-4 * limit :].strip().splitlines()
    line = clean(lines[-1].strip()) if lines else ""
    return line if len(line) <= limit else line[: limit - 1] + "…"


class TextFormatter(logging.Formatter):
    """``2026-01-31 12:00:00.123 INFO    4711 taskq.job: message``, in local time."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s.%(msecs)03d %(levelname)-7s %(process)d %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S"
        )

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's lines."""
        return clean(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object per record: the standard fields, then whatever ``extra`` held; times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, Any] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        fields |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=shorten)


class DescriptorHandler(logging.Handler):
    """Writes each record with one ``write`` to a file descriptor, so that lines of many processes do not mix.

    What cannot be written is dropped: nobody may fail because nobody reads his log.
    """

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        try:
            data = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            pass
        except Exception:
            self.handleError(record)


def check_level(level: object) -> str:
    """Return ``level`` in upper case if it is a level's name.

    Raises:
        InvalidOption: otherwise.
    """
    if not isinstance(level, str) or level.upper() not in LEVELS:
        raise InvalidOption(f"log level {shorten(level)} is none of {', '.join(LEVELS)}")
    return level.upper()


def make_formatter(kind: object) -> logging.Formatter:
    """Return the formatter of ``kind``.

    Raises:
        InvalidOption: if it is none of FORMATS.
    """
    if kind == "text":
        return TextFormatter()
    if kind == "json":
        return JsonFormatter()
    raise InvalidOption(f"log format {shorten(kind)} is none of {', '.join(FORMATS)}")


def configure(level: str, kind: str, fd: int) -> None:
    """Send the records of this process to ``fd``.

    taskq's own go through a handler of their own, so that an app which configures logging afresh keeps both.

    Raises:
        InvalidOption: on an unknown level or format.
    """
    handler = DescriptorHandler(fd)
    handler.setFormatter(make_formatter(kind))
    own = logging.getLogger("taskq")
    own.handlers[:] = [handler]
    own.setLevel(check_level(level))
    own.propagate = False
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(handler)
        root.setLevel(check_level(level))
