"""Runs ONE job: prepare -> run -> settle, each a step over one ``Attempt``.

``prepare`` reads the envelope and finds the task; ``run`` holds everything that may run foreign code (decoding the
arguments, the task, encoding its result) and is the only part that a pool may interrupt; ``settle`` (``judge.py``)
says how it ended. Nothing here knows of pools, sockets or Redis.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping
from contextvars import Context
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from taskq.client.context import JobContext, current_job
from taskq.client.importable import CALL_TASK
from taskq.errors import (
    MAX_SHOWN,
    CallRefused,
    ResultTooLarge,
    SchemaTooNew,
    SerializationError,
    SignatureError,
    UnknownSigningKey,
    UnknownTask,
    shorten,
)
from taskq.model.following import TAKES, taking, with_first
from taskq.model.job import FLAG_IGNORE_RESULT, VERSION, decode_body, decode_state, newer_version, split_known
from taskq.model.outcome import ErrorInfo, Outcome, Verdict, error_info
from taskq.model.serializer import Serializers
from taskq.model.signing import is_signed
from taskq.worker.attempt import Attempt, Batch, Known, Stage
from taskq.worker.importing import refuse
from taskq.worker.judge import FRESH, Judge, follow_ups_of
from taskq.worker.protocol import MAX_FRAME, Ended, JobFrame

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.client.hooks import HookList
    from taskq.model.serializer import Codec
    from taskq.model.signing import Signer

RESULT_ROOM = MAX_FRAME // 2  # bytes: a result travels in one frame with its follow-ups
_NO_HEADERS: Mapping[str, Any] = MappingProxyType({})

logger = logging.getLogger(__name__)


class Execution:
    """The steps, for the tasks of one app.

    Args:
        app: whose registry is the only place where a task is looked up.
        worker: the worker's name, for result records.
        child: this process's number, for result records.
        served: the queues that the worker serves.
    """

    def __init__(self, app: TaskQ, worker: str, child: int, served: Collection[str] = ()) -> None:
        self._app = app
        self._worker = worker
        self._signer = app._signer
        self._judge = Judge(worker, child, app._signer)
        self._served = frozenset(served)
        self._known: dict[str, Known] = {}
        self._codecs = Serializers()  # for jobs of another codec than their task's: data only, whatever the app allows
        self._max_result = min(app.settings.max_result, RESULT_ROOM)

    # -- prepare ------------------------------------------------------------------------------------------------------

    def prepare(self, frame: JobFrame, batch: Batch) -> Attempt:
        """Return the attempt, ready to run, or with a ``refusal`` that is the whole answer. Never raises."""
        attempt = Attempt(frame, batch)
        try:
            parse(attempt, self._signer)
            known = self._look_up(attempt)
            self._equip(attempt, known)
        except (UnknownTask, SchemaTooNew, UnknownSigningKey) as error:
            attempt.refusal = self._judge.deferred(attempt, error)
        except (CallRefused, SignatureError) as error:
            attempt.refusal = self._judge.dead(attempt, error_info(error))
        except Exception as error:  # whatever a damaged envelope provokes
            said = f"corrupt envelope: {error_info(error).message[:MAX_SHOWN]}; {shorten(frame.data[:40])}"
            info = ErrorInfo("CorruptEnvelope", said)
            attempt.refusal = self._judge.dead(attempt, info)
        return attempt

    def _look_up(self, attempt: Attempt) -> Known:
        name = attempt.body.task
        known = self._known.get(name)
        if known is None:
            task = self._app.tasks.get(name)
            if task is None:
                if name == CALL_TASK:
                    raise refuse(attempt.body, self._codecs)
                raise UnknownTask(
                    f"no task {shorten(name)} is registered with this worker's app: start workers whose app has it"
                )
            known = self._known[name] = Known(task)
        return known

    def _equip(self, attempt: Attempt, known: Known) -> None:
        frame, meta = attempt.frame, attempt.body.meta
        task = known.task
        attempt.known = known
        attempt.task = task
        attempt.quiet = task.ignore_result or FLAG_IGNORE_RESULT in attempt.header.flags
        if not meta:
            attempt.limit = task.time_limit
            headers, root, parent = _NO_HEADERS, "", ""
        else:
            attempt.limit = _seconds(meta, "time_limit", task.time_limit)
            attempt.passes = TAKES in meta and bool(taking(meta, "link"))
            headers = dict(meta.get("headers") or {})
            root, parent = str(meta.get("root") or ""), str(meta.get("parent") or "")
        job_id = f"{frame.queue}/{frame.unique}"
        attempt.context = JobContext(
            job_id,
            task.name,
            frame.queue,
            attempt.state.attempts + 1,
            frame.delivery,
            headers,
            root or job_id,
            parent,
            self._served,
            self._worker,
            attempt.header.enqueued_ms,
            attempt.batch.offset_us,
        )

    # -- run ----------------------------------------------------------------------------------------------------------

    def run(self, attempt: Attempt) -> None:
        """Decode, call, encode. Raises whatever foreign code raises, and may be interrupted anywhere."""
        current_job.set(attempt.context)
        args, kwargs = self._decode(attempt)
        attempt.stage = Stage.RUN
        value = attempt.task.function(*args, **kwargs)
        if not attempt.quiet or attempt.passes:
            self._encode(attempt, value)

    async def run_async(self, attempt: Attempt) -> None:
        """``run`` for a task that is a coroutine function."""
        current_job.set(attempt.context)
        args, kwargs = self._decode(attempt)
        attempt.stage = Stage.RUN
        value = await attempt.task.function(*args, **kwargs)
        if not attempt.quiet or attempt.passes:
            self._encode(attempt, value)

    def _decode(self, attempt: Attempt) -> tuple[tuple[Any, ...], dict[str, Any]]:
        task, body = attempt.task, attempt.body
        codec: Codec = task.codec
        if body.codec != codec.name:
            codec = self._codecs.codec(body.codec)
        args, kwargs = task.signature.decode_arguments(codec, body.payload)
        return ((attempt.context, *args), kwargs) if task.bind else (args, kwargs)

    def _encode(self, attempt: Attempt, value: Any) -> None:
        attempt.stage = Stage.ENCODE
        payload = attempt.task.signature.encode_result(attempt.task.codec, value)
        if len(payload) > self._max_result:
            raise ResultTooLarge(
                f"the result of {attempt.task.name} has {len(payload)} bytes, over max_result of {self._max_result}; "
                "store it elsewhere and return its name"
            )
        attempt.payload = payload
        if attempt.passes:
            self._pass_on(attempt)

    def _pass_on(self, attempt: Attempt) -> None:
        """Give the result to the follow-ups that take it; the job fails if that cannot be."""
        numbers, codec, limit = taking(attempt.body.meta, "link"), attempt.task.codec.name, self._app.settings.max_body
        room, attempt.given = RESULT_ROOM - len(attempt.payload), []
        for number, (queue, unique, delay_ms, data) in enumerate(follow_ups_of(attempt.body.meta, "link")):
            given = data
            if number in numbers:
                try:
                    given = with_first(data, attempt.payload, codec)
                except ValueError as error:
                    raise SerializationError(f"link {queue}/{unique} cannot take the result: {error}") from None
                if self._signer is not None and is_signed(attempt.frame.data):
                    given = self._signer.sign_again(queue, unique, given)
            room -= len(given)
            if len(given) > limit or room < 0:
                raise ResultTooLarge(
                    f"link {queue}/{unique} of {attempt.task.name} has {len(given)} bytes with the result, over "
                    f"max_body of {limit}, or all links have too many; store the result elsewhere and pass its name"
                )
            attempt.given.append((queue, unique, delay_ms, given))

    # -- settle -------------------------------------------------------------------------------------------------------

    def settle(self, attempt: Attempt, slot: int, started: float, finished: float) -> Ended | None:
        """See ``Judge.settle``."""
        return self._judge.settle(attempt, slot, started, finished)

    def cancelled(self, attempt: Attempt) -> Ended:
        """Return the answer to a job that was revoked before it started."""
        return attempt.refusal or self._judge.cancelled(attempt)

    # -- hooks --------------------------------------------------------------------------------------------------------

    def before(self, attempt: Attempt, within: Context | None = None) -> None:
        """Let the app's hooks see a job that is about to run, in the context ``within``, else in the current one."""
        if self._app.hooks.before_run:
            run_hooks(self._app.hooks.before_run, attempt.context, within=within)

    def after(self, attempt: Attempt, ended: Ended | None, within: Context | None = None) -> None:
        """Let the app's hooks see how it ended, in the context ``within``, else in the current one."""
        if self._app.hooks.after_outcome:
            run_hooks(self._app.hooks.after_outcome, attempt.context, outcome_of(ended), within=within)


def parse(attempt: Attempt, signer: Signer | None = None) -> None:
    """Read header, body and state; with a signer nothing of the body before its signature has been checked.

    Raises:
        SchemaTooNew: if the envelope is of a version that this package does not know.
        ValueError, msgspec.DecodeError: if it is damaged.
    """
    frame = attempt.frame
    attempt.state = decode_state(frame.state) if frame.state else FRESH
    if (newer := newer_version(frame.data)) is not None:
        raise SchemaTooNew(
            f"its envelope has version {newer} and this worker reads {VERSION}: start workers of the newer taskq, "
            "which take it, and stop this one"
        )
    attempt.header, body = split_known(frame.data)
    if not 1 <= attempt.header.version <= VERSION:
        raise ValueError(f"there is no envelope version {attempt.header.version}")
    if signer is not None:
        signer.check(frame.queue, frame.unique, frame.data)
    attempt.body = decode_body(body)


def outcome_of(ended: Ended | None) -> Outcome:
    """Return what hooks are shown."""
    if ended is None:
        return Outcome(Verdict.DONE)
    return Outcome(Verdict(ended.verdict), ended.record, ended.delay_ms, ended.ttl_ms, ended.errors)


def run_hooks(hooks: HookList[Any], *args: object, within: Context | None = None) -> None:
    """Run the hooks of one place; even one that exits harms nobody."""
    try:
        if within is None:
            hooks.run(*args)
        else:
            within.run(hooks.run, *args)
    except BaseException:
        logger.exception("a hook of %s left with an exit", hooks.place, extra={"action": "hook_failed"})


def _seconds(meta: dict[str, Any], key: str, default: float | None) -> float | None:
    value = meta.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{key} {shorten(value)} is no number of seconds")
    return float(value)
