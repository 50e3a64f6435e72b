"""Finding the result records of a namespace, a page of keys at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from taskq.broker import keys
from taskq.broker.call import Command
from taskq.model.discipline import QUEUE_NAME
from taskq.model.job import JOB_ID

PAGE_KEYS = 1000  # keys that the server looks at in one command; it takes well under a millisecond
FIRST = b"0"  # the cursor to begin with, and the one that the last page gives


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the jobs that have a result record.

    Attributes:
        cursor: for the next page; ``FIRST`` after the last one.
        jobs: unique parts by queue; a page may have none, and a job may come on two pages.
    """

    cursor: bytes
    jobs: dict[str, list[str]]


def scan(namespace: str, cursor: bytes, queue: str = "") -> Command[Page]:
    """Find jobs with a result record, of one queue where one is named; keys that are not ours are left out."""

    def parse(reply: list[Any]) -> Page:
        found: dict[str, list[str]] = {}
        for key in reply[1]:
            parts = keys.split_result(namespace, key.decode("ascii", "replace"))
            if parts is not None and QUEUE_NAME.fullmatch(parts[0]) and JOB_ID.fullmatch(parts[1]):
                found.setdefault(parts[0], []).append(parts[1])
        return Page(reply[0], found)

    return Command(("SCAN", cursor, "MATCH", keys.results(namespace, queue), "COUNT", PAGE_KEYS), parse)
