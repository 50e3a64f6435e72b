"""From a result record to the value or the exception that a caller gets."""

from __future__ import annotations

import ast
import builtins
import contextlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from taskq.client.naming import default_name
from taskq.errors import JobError, RemoteError, SignatureError, TaskqError, UnknownOrExpired, shorten
from taskq.model.outcome import (
    RECORD_VERSION,
    Ending,
    ErrorInfo,
    Record,
    decode_record,
    error_info,
    exception_of,
    type_name,
)
from taskq.model.signature import plain_signature

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.client.task import Task
    from taskq.model.signing import Signer

# Python's own exceptions by name: a fixed table, so that a name from a record never leads anywhere else. Without those
# that steer generators: raised out of a future they would end somebody's loop, and asyncio refuses them.
_BUILTINS: Final[Mapping[str, type[Exception]]] = MappingProxyType(
    {
        name: cls
        for name, cls in vars(builtins).items()
        if isinstance(cls, type) and issubclass(cls, Exception) and name not in {"StopIteration", "StopAsyncIteration"}
    }
)


class _Shown(str):
    """A key of which only its ``repr`` is known."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def read_record(data: bytes, job_id: str, signer: Signer | None = None) -> Record:
    """Read a result record; a damaged or forged one is that of a failure."""
    try:
        return decode_record(data if signer is None else signer.open_result(job_id, data))
    except SignatureError as error:
        return Record(RECORD_VERSION, Ending.FAILED, error=error_info(error))
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
    if task is None:
        task = app.tasks.get(record.task)
    if record.ending != Ending.SUCCEEDED:
        declared = (*(task.raises if task is not None else ()), *app.settings.exceptions)
        return None, _raised_again(exception_of(record, job_id), declared, app.name)
    signature = task.signature if task is not None else plain_signature(record.task, app._forms)
    try:
        return signature.decode_result(app._serializers.codec(record.codec), record.payload), None
    except TaskqError as error:
        return None, error


def _raised_again(error: JobError, declared: Iterable[type[Exception]], app: str) -> Exception:
    """Return an instance of the very class that was raised if it is allowed, with the error as its cause; else that."""
    if not isinstance(error, RemoteError):
        return error
    cls = _BUILTINS.get(error.type) or next((cls for cls in declared if _name_of(cls, app) == error.type), None)
    again = _rebuild(cls, error.message) if cls is not None else None
    if again is None:
        return error
    again.__cause__ = error
    return again


def _name_of(cls: type[Exception], app: str) -> str:
    """Return the name under which a worker knows a class, which may be in what is the main module only here."""
    return default_name(cls, app) if cls.__module__ == "__main__" else type_name(cls)


def _rebuild(cls: type[Exception], message: str) -> Exception | None:
    """Return an exception that prints as the original did; None if the class does not allow that.

    Its arguments did not travel. Where the constructor wants others, or makes another text of the message, it is left
    out: what it would have set is missing then.
    """
    given = _key(message) if issubclass(cls, KeyError) else message
    arguments = (given,) if message else ()
    for make in (cls, cls.__new__):
        with contextlib.suppress(Exception):
            again: Exception = make(*arguments) if make is cls else make(cls, *arguments)
            if isinstance(again, cls) and str(again) == message:
                return again
    return None


def _key(message: str) -> Any:
    """Return the key of a KeyError, whose text is the key's ``repr``."""
    if message[:1] in {"'", '"'} or message.lstrip("-").isdigit():
        with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            key = ast.literal_eval(message)
            if repr(key) == message:
                return key
    return _Shown(message)
