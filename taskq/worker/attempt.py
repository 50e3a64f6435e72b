"""One delivery of a job on its way through a child: each step of ``execution.py`` fills in its fields."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

import msgspec

from taskq.model.job import Body, Header, State

if TYPE_CHECKING:
    from taskq.client.context import JobContext
    from taskq.client.task import Task
    from taskq.model.following import FollowUp
    from taskq.model.outcome import ErrorInfo
    from taskq.worker.protocol import Ended, JobFrame

SHORT = 0.001  # seconds: a job that is expected to run less is not worth a wake-up or a frame of its own
_WEIGHT = 0.2  # of the newest run in the mean: five runs forget an outlier


class Known:
    """A task and what this child learnt of it: the mean seconds that its jobs run, None before the first one."""

    __slots__ = ("mean", "short", "task")

    def __init__(self, task: Task[..., Any]) -> None:
        self.task = task
        self.mean: float | None = None
        self.short = False  # an unknown task counts as long

    def observe(self, seconds: float) -> None:
        """Take another run into the mean."""
        mean = self.mean
        self.mean = mean = seconds if mean is None else mean + _WEIGHT * (seconds - mean)
        self.short = mean < SHORT


class Batch(msgspec.Struct, frozen=True):
    """What jobs that came in one frame share.

    Attributes:
        offset_us: the server's clock minus this machine's monotonic clock.
        claimed_us: when they were claimed, by the server's clock.
        arrived: when they reached this child, in monotonic seconds.
    """

    offset_us: int
    claimed_us: int
    arrived: float


class Stage(Enum):
    """What is done with an attempt, so that an error can be judged by where it arose."""

    DECODE = "decode"
    RUN = "run"
    ENCODE = "encode"


class Strike(Enum):
    """Why a running job was interrupted."""

    LIMIT = "limit"
    CANCEL = "cancel"


class Attempt:
    """The value that goes through the steps.

    Attributes:
        frame, batch: as they came from the supervisor.
        header, body, state: the envelope, by ``parse``.
        known, task: by ``look_up``.
        limit: seconds it may run; None for no limit.
        context: what the job itself may see.
        passes: its result is given to a follow-up.
        payload: the encoded result, by ``run``; empty where it is neither kept nor given on.
        given: where it passes: the follow-ups of a success, with the result where they take it, by ``run``.
        error: what was raised instead, with the stage it was raised in.
        info: that error as data, by ``settle`` or with the refusal.
        strike: why it was interrupted, if it was.
        refusal: the answer to a job that cannot be run, by ``prepare``.
    """

    __slots__ = (
        "batch",
        "body",
        "context",
        "error",
        "frame",
        "given",
        "header",
        "info",
        "known",
        "limit",
        "passes",
        "payload",
        "quiet",
        "refusal",
        "stage",
        "state",
        "strike",
        "task",
    )

    header: Header
    body: Body
    state: State
    known: Known
    task: Task[..., Any]
    context: JobContext
    limit: float | None
    quiet: bool
    given: list[FollowUp]

    def __init__(self, frame: JobFrame, batch: Batch) -> None:
        self.frame = frame
        self.batch = batch
        self.stage = Stage.DECODE
        self.payload = b""
        self.passes = False
        self.error: BaseException | None = None
        self.info: ErrorInfo | None = None
        self.strike: Strike | None = None
        self.refusal: Ended | None = None

    @property
    def job_id(self) -> str:
        """The job, as ``queue/unique``."""
        return f"{self.frame.queue}/{self.frame.unique}"

    @property
    def name(self) -> str:
        """The task's name, as far as the envelope could be read."""
        body: Body | None = getattr(self, "body", None)
        return body.task if body is not None else "?"

    @property
    def root(self) -> str:
        """The id of the job from which this one came; empty for a call from outside."""
        body: Body | None = getattr(self, "body", None)
        root = body.meta.get("root", "") if body is not None and body.meta else ""
        return root if isinstance(root, str) else ""

    @property
    def number(self) -> int:
        """Which attempt this is, from 1."""
        state: State | None = getattr(self, "state", None)
        return state.attempts + 1 if state is not None else 1
