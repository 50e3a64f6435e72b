"""What tests of executors share: an app with tasks that return, fail, or are coroutine functions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from client_kit import client_app

from taskq import TaskQ


@contextlib.contextmanager
def executor_app(url: str, namespace: str) -> Iterator[TaskQ]:
    """An app with the tasks ``add``, ``fail`` and ``later``."""
    with client_app("executor", url, namespace) as app:

        @app.task(name="fail")
        def fail(number: int, at: int = 0) -> int:
            if number == at:
                raise ZeroDivisionError(f"at {number}")
            return number

        @app.task(name="later")
        async def later(number: int) -> int:
            await asyncio.sleep(0)
            return number

        yield app
