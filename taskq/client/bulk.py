"""``delay_many``: while the server takes a thousand jobs, the next thousand are made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from taskq.broker import bulk
from taskq.broker.jobs import BATCH_BYTES, BATCH_JOBS
from taskq.client.drafting import add_hook_headers, add_origin, check_size
from taskq.client.operation import Operation, aperform, perform
from taskq.client.resultset import ResultSet
from taskq.client.sending import check_new
from taskq.errors import BadArguments, Indeterminate, InvalidCall
from taskq.model.job import encode_body

if TYPE_CHECKING:
    from taskq.broker.call import Argument, Call
    from taskq.broker.queues import Declared
    from taskq.broker.session import Session
    from taskq.client.sending import Sender
    from taskq.client.task import Task

R = TypeVar("R")
PARTS = 3  # of a job in a flat chunk: unique, delay, data


def send_many(task: Task[..., R], iterables: tuple[Iterable[Any], ...]) -> ResultSet[R]:
    """See ``Task.delay_many``."""
    sender = task.app._sender
    declared = perform(sender.declare(task.queue), sender.broker)
    results = _results(task, sender)
    chunks = _chunks(task, sender, declared, _calls(iterables))
    try:
        first = next(chunks, None)
        if first is not None:
            with sender.broker.session() as session:
                _pipeline(sender, session, results, first, chunks)
    except BaseException as error:
        _report(error, results)
        raise
    return results


def _pipeline(
    sender: Sender, session: Session, results: ResultSet[Any], chunk: list[Argument], chunks: Iterator[list[Argument]]
) -> None:
    queue = results.queue
    forced, keys = sender.is_forced(queue), sender.broker.keys(queue)
    following: list[Argument] | None = chunk
    while following is not None:
        chunk = following
        flight = session.begin(bulk.enqueue_flat(keys, chunk, forced=forced))
        try:
            following = next(chunks, None)
        finally:
            # Also where making the next chunk failed: this one is on its way.
            letters = session.finish(flight)
            perform(_place(sender, results, chunk, letters), sender.broker)


async def asend_many(task: Task[..., R], iterables: tuple[Iterable[Any], ...]) -> ResultSet[R]:
    """See ``Task.delay_many``; the loop runs on between two chunks."""
    sender = task.app._sender
    declared = await aperform(sender.declare(task.queue), sender.broker)
    results = _results(task, sender)
    try:
        for chunk in _chunks(task, sender, declared, _calls(iterables)):
            await aperform(_place(sender, results, chunk, None), sender.broker)
    except BaseException as error:
        _report(error, results)
        raise
    return results


def _results(task: Task[..., R], sender: Sender) -> ResultSet[R]:
    return ResultSet(task.app, task.queue, [], task, "" if task.ignore_result else sender.listener.token)


def _calls(iterables: tuple[Iterable[Any], ...]) -> Iterator[tuple[Any, ...]]:
    if not iterables:
        raise BadArguments("delay_many needs at least one iterable, as the builtin map does")
    return zip(*iterables, strict=False)


def _chunks(
    task: Task[..., Any], sender: Sender, declared: Declared, calls: Iterator[tuple[Any, ...]]
) -> Iterator[list[Argument]]:
    """Yield the jobs of ``calls``, each as three values in a row, in chunks of as many as one round trip carries."""
    make = _maker(task, task._header(sender, declared))
    flat: list[Argument] = []
    size = number = 0
    for number, args in enumerate(calls):
        try:
            unique, data = make(args)
        except InvalidCall as error:
            error.add_note(f"delay_many: item {number} cannot become a job")
            raise
        if flat and size + len(data) > BATCH_BYTES:
            yield flat
            flat, size = [], 0
        flat += (unique, 0, data)
        size += len(data)
        if len(flat) == PARTS * BATCH_JOBS:
            yield flat
            flat, size = [], 0
    if flat:
        yield flat


def _maker(task: Task[..., Any], head: bytes) -> Any:
    """Return the function that makes a job of positional arguments; with all it needs at hand, as it runs a lot."""
    app, name, codec, codec_name, queue = task.app, task.name, task.codec, task.codec.name, task.queue
    bind, encode, limit, new_id = (
        task.signature.bind,
        task.signature.encode_arguments,
        app.settings.max_body,
        app._new_id,
    )
    origin: dict[str, Any] = {}
    add_origin(origin)
    hooked, signer = bool(app.hooks.before_send), app._signer

    def make(args: tuple[Any, ...]) -> tuple[str, bytes]:
        bound, named = bind(args, {})
        unique, meta = new_id(), origin
        if hooked:
            meta = dict(origin)
            add_hook_headers(task, meta, queue, unique, bound, named, many=True)
        body = encode_body(name, encode(codec, bound, named), codec_name, meta)
        if len(body) > limit:
            check_size(task, body)
        return unique, head + body if signer is None else signer.sign(queue, unique, head, body)

    return make


def _place(sender: Sender, results: ResultSet[Any], chunk: list[Argument], letters: str | None) -> Operation[None]:
    """Send a chunk, or what is left of it after the answer ``letters``, and enter its jobs in the set."""
    queue = results.queue
    forced, keys = sender.is_forced(queue), sender.broker.keys(queue)

    def rest(done: int) -> Call[str]:
        return bulk.enqueue_flat(keys, chunk[PARTS * done :], forced=forced)

    letters = yield from sender.offer(queue, rest, letters=letters)
    uniques = [str(unique) for unique in chunk[::PARTS]]
    check_new(queue, uniques, letters)
    results._uniques += uniques


def _report(error: BaseException, results: ResultSet[Any]) -> None:
    after = "the next chunk may be too" if isinstance(error, Indeterminate) else "nothing after them was sent"
    error.add_note(f"delay_many: {len(results)} jobs were enqueued before this and stay so; {after}")
    with contextlib.suppress(AttributeError):  # an exception with slots
        error.enqueued = results  # type: ignore[attr-defined]
