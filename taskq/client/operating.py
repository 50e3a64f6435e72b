"""The members of an app for whoever operates it. Their modules are imported at the first use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.client.control import Control
    from taskq.client.inspection import Inspect
    from taskq.client.lifecycle import Follower


class OperatesJobs:
    """A part of ``TaskQ``, and of nothing else."""

    @property
    def inspect(self) -> Inspect:
        """What waits, what runs, why something failed, who has it."""
        from taskq.client.inspection import Inspect

        return Inspect(cast("TaskQ", self))

    @property
    def control(self) -> Control:
        """What an operator does: pause, purge, retry, move."""
        from taskq.client.control import Control

        return Control(cast("TaskQ", self))

    def events(
        self,
        queues: Iterable[str] | None = None,
        tasks: Iterable[str] | None = None,
        kinds: Iterable[str] | None = None,
        duration: float | None = None,
    ) -> Follower:
        """Follow what becomes of jobs and workers from the moment this returns.

        Args:
            queues: only jobs of these queues, and workers that serve one of them; all where None.
            tasks: only jobs of these tasks, by full name or shell pattern such as ``mail.*``; no workers then.
            kinds: only these kinds of events.
            duration: seconds after which it ends; None for never.

        Raises:
            InvalidOption, InvalidQueueName, InvalidTimeout: an argument cannot be used.
            BrokerError: the server refuses, or cannot be reached.
        """
        from taskq.client.lifecycle import follow

        return follow(cast("TaskQ", self), queues=queues, tasks=tasks, kinds=kinds, duration=duration)
