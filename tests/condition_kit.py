"""What tests of conditions share: threads that wait, one after another."""

from __future__ import annotations

from concurrent.futures import Executor, Future

from coordination_kit import DEADLINE, until
from servers import TestServer

from taskq.coordination.condition import Condition


def in_line(server: TestServer, condition: Condition, number: int) -> None:
    """Return when ``number`` wait, and nobody has the lock."""
    with server.client() as client:
        key = condition._keys.key("waiting")
        until(lambda: client.zcard(key) == number and not condition.locked(), f"{number} in line")


def wait(condition: Condition, timeout: float = DEADLINE) -> bool:
    """Take the lock and wait."""
    with condition:
        return condition.wait(timeout)


def stand(
    threads: Executor, server: TestServer, condition: Condition, number: int = 1, timeout: float = DEADLINE
) -> list[Future[bool]]:
    """Have threads wait one after another, each when the one before is in line."""
    waits = []
    for _ in range(number):
        waits.append(threads.submit(wait, condition, timeout))
        in_line(server, condition, len(waits))
    return waits


def results(waits: list[Future[bool]]) -> list[bool]:
    """What each wait returned."""
    return [one.result(DEADLINE) for one in waits]
