"""What tests of interrupted waits share."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from taskq.client.operation import Hear


class Cut(BaseException):
    """As ``gevent.Timeout`` is, or what ends a thread at its time limit."""


def cut_at_hearing(
    operation: Any, number: int, before: Callable[[], object], error: BaseException
) -> Generator[Any, Any, Any]:
    """Do what an operation does, but interrupt one of its waits for news, the first or a later one."""
    answer, failure, heard = None, None, 0
    while True:
        try:
            need = operation.send(answer) if failure is None else operation.throw(failure)
        except StopIteration as end:
            return end.value
        answer = failure = None
        try:
            heard += isinstance(need, Hear)
            if isinstance(need, Hear) and heard == number:
                before()
                failure = error
            else:
                answer = yield need
        except BaseException as raised:
            failure = raised
