"""From a result record to the value or the exception that a caller gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from taskq.errors import JobError, RemoteError, TaskqError, UnknownOrExpired, shorten
from taskq.model.outcome import RECORD_VERSION, Ending, ErrorInfo, Record, decode_record, exception_of
from taskq.model.signature import plain_signature

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.client.task import Task


def read_record(data: bytes, job_id: str) -> Record:
    """Read a result record; a damaged one is that of a failure."""
    try:
        return decode_record(data)
    except msgspec.MsgspecError as error:
        info = ErrorInfo("DamagedRecord", f"the result of job {job_id} cannot be read: {error}; {shorten(data[:40])}")
        return Record(RECORD_VERSION, Ending.FAILED, error=info)


def gone(job_id: str) -> UnknownOrExpired:
    """Return the error for an id under which there is nothing."""
    return UnknownOrExpired(
        f"job {job_id} is unknown: mistyped, or ended and its result expired or was never kept (ignore_result)"
    )


def open_record(
    app: TaskQ, record: Record, job_id: str, task: Task[..., Any] | None
) -> tuple[Any, BaseException | None]:
    """Return the value of a job that succeeded and None, or None and what its waiters get raised."""
    if record.ending != Ending.SUCCEEDED:
        return None, _raised_again(exception_of(record, job_id), app.settings.exceptions)
    if task is None:
        task = app.tasks.get(record.task)
    signature = task.signature if task is not None else plain_signature(record.task)
    try:
        return signature.decode_result(app._serializers.codec(record.codec), record.payload), None
    except TaskqError as error:
        return None, error


def _raised_again(error: JobError, classes: tuple[type[Exception], ...]) -> Exception:
    """Return an instance of the class of that name which the app opted in to, else the error as it is."""
    if isinstance(error, RemoteError):
        for cls in classes:
            if cls.__name__ == error.type:
                try:
                    again = cls(error.message)
                except Exception:  # its constructor wants something else
                    return error
                again.__cause__ = error
                return again
    return error
