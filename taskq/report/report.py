"""What a report is made of: finished jobs, and what was asked for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from taskq.client.runs import Found, Run, read_runs

if TYPE_CHECKING:
    from taskq.app import TaskQ


@dataclass(frozen=True, slots=True)
class Report:
    """Finished jobs of one namespace.

    Attributes:
        app: the app's name.
        namespace: first part of its keys.
        found: what was read, with the span of time that was asked for.
        queues: only jobs of these; empty for all.
        tasks: only jobs of these; empty for all.
        group: only this job and those that came from it; empty for all.
    """

    app: str
    namespace: str
    found: Found
    queues: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    group: str = ""

    @property
    def runs(self) -> list[Run]:
        """The jobs, in the order of their ends."""
        return self.found.runs


def make_report(
    app: TaskQ,
    *,
    since: float | timedelta | None = None,
    until: float | timedelta | None = None,
    queues: Collection[str] = (),
    tasks: Collection[str] = (),
    group: str = "",
) -> Report:
    """Read what a report shows; arguments and errors as of ``read_runs``."""
    found = read_runs(app, since=since, until=until, queues=queues, tasks=tasks, group=group)
    return Report(app.settings.name, app.settings.namespace, found, tuple(queues), tuple(tasks), group)
