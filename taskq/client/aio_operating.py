"""``app.inspect.aio`` and ``app.control.aio``: looking and acting from an event loop.

Each call runs in a thread: whoever operates makes few of them, and each may take many round trips.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from taskq.broker.findings import Finding
    from taskq.broker.queues import QueueInfo
    from taskq.client.control import Control, Moved, Told
    from taskq.client.detail import JobDetail
    from taskq.client.inspection import Inspect, JobInfo
    from taskq.client.workers import WorkerInfo

AT_ONCE: Final = 100  # jobs fetched by one visit to a thread


class AioInspect:
    """See Inspect for arguments and errors."""

    def __init__(self, inspect: Inspect) -> None:
        self._inspect = inspect

    async def queues(self) -> list[QueueInfo]:
        """See ``Inspect.queues``."""
        return await asyncio.to_thread(self._inspect.queues)

    async def workers(self) -> list[WorkerInfo]:
        """See ``Inspect.workers``."""
        return await asyncio.to_thread(self._inspect.workers)

    async def job(self, job_id: str) -> JobDetail:
        """See ``Inspect.job``."""
        return await asyncio.to_thread(self._inspect.job, job_id)

    async def jobs(
        self,
        *,
        queue: str | Collection[str] = (),
        state: str | Collection[str] = (),
        task: str = "",
        since: float | None = None,
        limit: int | None = None,
        newest: bool = False,
    ) -> AsyncIterator[JobInfo]:
        """See ``Inspect.jobs``."""
        found = await asyncio.to_thread(
            self._inspect.jobs, queue=queue, state=state, task=task, since=since, limit=limit, newest=newest
        )
        while part := await asyncio.to_thread(lambda: list(islice(found, AT_ONCE))):
            for job in part:
                yield job

    async def fsck(self, *, queue: str | Collection[str] = (), strict: bool = False) -> AsyncIterator[Finding]:
        """See ``Inspect.fsck``."""
        found = await asyncio.to_thread(self._inspect.fsck, queue=queue, strict=strict)
        while part := await asyncio.to_thread(lambda: list(islice(found, AT_ONCE))):
            for finding in part:
                yield finding


class AioControl:
    """See Control for arguments and errors; ``told`` is called in another thread."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def pause(self, queue: str) -> None:
        """See ``Control.pause``."""
        await asyncio.to_thread(self._control.pause, queue)

    async def resume(self, queue: str) -> None:
        """See ``Control.resume``."""
        await asyncio.to_thread(self._control.resume, queue)

    async def purge(self, queue: str, told: Told | None = None, most: int | None = None) -> int:
        """See ``Control.purge``."""
        return await asyncio.to_thread(self._control.purge, queue, told, most)

    async def retry(self, job_ids: Iterable[str], told: Told | None = None) -> int:
        """See ``Control.retry``."""
        return await asyncio.to_thread(self._control.retry, job_ids, told)

    async def drop(self, job_ids: Iterable[str], told: Told | None = None) -> int:
        """See ``Control.drop``."""
        return await asyncio.to_thread(self._control.drop, job_ids, told)

    async def move(self, job_id: str, to: str) -> Moved:
        """See ``Control.move``."""
        return await asyncio.to_thread(self._control.move, job_id, to)

    async def repair(self, finding: Finding) -> bool:
        """See ``Control.repair``."""
        return await asyncio.to_thread(self._control.repair, finding)

    async def check_queue(self, queue: str) -> None:
        """See ``Control.check_queue``."""
        await asyncio.to_thread(self._control.check_queue, queue)
