"""From a call to the job that is sent: everything that can be refused is refused here, before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskq.client.canvas import Signature
from taskq.client.context import current_job
from taskq.client.hooks import Sending
from taskq.client.operation import Operation
from taskq.client.options import CallOptions, check_delay, check_expires, check_meta, check_room
from taskq.errors import BadArguments, InvalidOption, InvalidPriority, PayloadTooLarge, shorten
from taskq.model.discipline import Discipline, check_priority
from taskq.model.following import CODECS, TAKES, derived_id
from taskq.model.job import FLAG_IGNORE_RESULT, Job, check_job_id, encode_body, encode_header

if TYPE_CHECKING:
    from taskq.broker.queues import Declared
    from taskq.client.options import Links
    from taskq.client.sending import Sender
    from taskq.client.task import Task
    from taskq.model.following import FollowUp


@dataclass(frozen=True, slots=True)
class Draft:
    """One job, ready to be sent.

    Attributes:
        queue: where to.
        job: what.
        reply: token of the process that is told of its end; empty where no result is kept.
        room: seconds to wait for room, None without a limit.
        chosen: the caller chose the id.
    """

    queue: str
    job: Job
    reply: str
    room: float | None
    chosen: bool


def draft(
    task: Task[..., Any],
    sender: Sender,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: CallOptions,
    seen: list[Sending],
) -> Operation[Draft]:
    """Make the job of one call. Declares the queues that it and its follow-ups go to.

    What hooks were shown is entered in ``seen``, also where the call is refused after that.

    Raises:
        InvalidCall: one of its kinds, for arguments or options that cannot become a job.
        QueueConflict, BrokerError: see ``Sender.declare``.
    """
    queue = task.queue if options.queue is None else task.app._queue_name(options.queue)
    delay_ms, room = check_delay(options.countdown, options.eta), check_room(options.timeout)
    expires_ms = check_expires(task.expires if options.expires is None else options.expires)
    unique = task.app._new_id() if options.job_id is None else check_job_id(options.job_id)
    priority = None if options.priority is None else check_priority(options.priority)
    task.app._check_rank(queue, priority)
    quiet = _is_quiet(task, options)
    _check_call(task, args, kwargs)
    args, kwargs = task.signature.bind(args, kwargs)
    meta = check_meta(options.headers, None if quiet else options.result_ttl, options.time_limit)
    add_origin(meta)
    own = meta.get("headers", {})
    seen += add_hook_headers(task, meta, queue, unique, args, kwargs)
    added = {name: value for name, value in meta.get("headers", {}).items() if own.get(name) is not value}
    for key, links in (("link", options.link), ("link_error", options.link_error)):
        if links is not None:
            meta[key], takes = yield from _follow_ups(sender, _listed(links, key), queue, unique, key, meta, added)
            if takes:
                _check_passing(task, key, takes)
                meta.setdefault(TAKES, {})[key] = list(takes)
    payload = task.signature.encode_arguments(task.codec, args, kwargs)
    body = check_size(task, encode_body(task.name, payload, task.codec.name, meta))
    declared = yield from sender.declare(queue)
    head = encode_header(
        "" if quiet else sender.listener.token,
        FLAG_IGNORE_RESULT if quiet else "",
        expires_ms,
        rank(declared, priority, task.priority),
    )
    job = Job(unique, _signed(task, queue, unique, head.encode(), body), delay_ms)
    return Draft(queue, job, "" if quiet else sender.listener.token, room, options.job_id is not None)


def _signed(task: Task[..., Any], queue: str, unique: str, head: bytes, body: bytes) -> bytes:
    signer = task.app._signer
    return head + body if signer is None else signer.sign(queue, unique, head, body)


def _check_call(task: Task[..., Any], args: object, kwargs: object) -> None:
    """Refuse what would be taken apart: the letters of a text are hardly meant as arguments."""
    if not isinstance(args, Sequence) or isinstance(args, str | bytes | bytearray | memoryview):
        raise BadArguments(
            f"task {task.name!r}: args {shorten(args)} is no list or tuple of arguments; for a single one say (value,)"
        )
    if not isinstance(kwargs, Mapping):
        raise BadArguments(f"task {task.name!r}: kwargs {shorten(kwargs)} is no dict of arguments by name")


def _is_quiet(task: Task[..., Any], options: CallOptions) -> bool:
    if options.ignore_result is not None and not isinstance(options.ignore_result, bool):
        raise InvalidOption(f"ignore_result {shorten(options.ignore_result)} is neither True nor False")
    if options.result_ttl == 0 and not isinstance(options.result_ttl, bool):
        return True
    return task.ignore_result if options.ignore_result is None else options.ignore_result


def rank(declared: Declared, priority: float | None, default: float | None) -> float | None:
    """Return the priority that the header carries; only one that this very call asked for is refused.

    Raises:
        InvalidPriority: the queue is no priority queue.
    """
    if declared.discipline is Discipline.PRIORITY:
        return default if priority is None else priority
    if priority is not None:
        raise InvalidPriority(
            f"priority {priority:g} on a {declared.discipline} queue declared by {declared.by!r}: "
            "only priority queues have priorities; use app.PriorityQueue"
        )
    return None


def check_size(task: Task[..., Any], body: bytes) -> bytes:
    """Return ``body`` if it may be sent.

    Raises:
        PayloadTooLarge: with size and limit.
    """
    limit = task.app.settings.max_body
    if len(body) > limit:
        raise PayloadTooLarge(
            f"job of task {task.name!r} has {len(body)} bytes, over max_body of {limit}; "
            "store the data elsewhere and pass its name"
        )
    return body


def add_origin(meta: dict[str, Any]) -> None:
    """Note from which job this call comes, if from any."""
    context = current_job.get()
    if context is not None:
        meta["parent"], meta["root"] = context.id, context.root or context.id


def add_hook_headers(
    task: Task[..., Any],
    meta: dict[str, Any],
    queue: str,
    unique: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    many: bool = False,
) -> tuple[Sending, ...]:
    """Let the app's hooks see the call and add headers to it; return what they were shown, if there are any."""
    hooks = task.app.hooks
    if not (hooks.before_send or hooks.after_send):
        return ()
    headers = dict(meta.get("headers", {}))
    sending = Sending(task.name, queue, f"{queue}/{unique}", tuple(args), dict(kwargs), headers, many)
    if headers := hooks.headers_for(sending):
        meta["headers"] = headers
    return (sending,)


def _follow_ups(
    sender: Sender,
    calls: Sequence[Signature],
    queue: str,
    unique: str,
    kind: str,
    meta: dict[str, Any],
    added: dict[str, Any],
) -> Operation[tuple[list[FollowUp], dict[int, Task[..., Any]]]]:
    """Return the follow-ups, and by number the tasks of those that are given a value.

    The id of each derives from the parent's, so it is made once. The headers ``added`` by hooks are theirs too: a trace
    goes on in them.
    """
    found: list[FollowUp] = []
    takes: dict[int, Task[..., Any]] = {}
    parent = f"{queue}/{unique}"
    origin: dict[str, Any] = {"parent": parent, "root": meta.get("root", parent)}
    if added:
        origin["headers"] = added
    for number, call in enumerate(calls):
        task = call.task
        if call.immutable:
            args, kwargs = task.signature.bind(call.args, call.kwargs)
        else:
            args, kwargs = task.signature.bind_rest(call.args, call.kwargs)
            takes[number] = task
        payload = task.signature.encode_arguments(task.codec, args, kwargs)
        body = encode_body(task.name, payload, task.codec.name, origin)
        declared = yield from sender.declare(task.queue)
        expires_ms = check_expires(task.expires)
        flags = FLAG_IGNORE_RESULT if task.ignore_result else ""
        head = encode_header("", flags, expires_ms, rank(declared, None, task.priority))
        derived = derived_id(unique, kind, number)
        found.append((task.queue, derived, 0, _signed(task, task.queue, derived, head.encode(), body)))
    return found, takes


def _listed(links: Links, kind: str) -> list[Signature]:
    """Return what was given as calls.

    Raises:
        InvalidOption: one of them is none.
    """
    return [_call_of(link, kind) for link in (links if isinstance(links, list) else [links])]


def _call_of(link: Any, kind: str) -> Signature:
    from taskq.client.task import Task

    if isinstance(link, Signature):
        return link
    parts = (link,) if isinstance(link, Task) else link
    if isinstance(parts, tuple) and 1 <= len(parts) <= 3 and isinstance(parts[0], Task):
        args, kwargs = parts[1] if len(parts) > 1 else (), parts[2] if len(parts) > 2 else {}
        if isinstance(args, list | tuple) and isinstance(kwargs, Mapping):
            return Signature(parts[0], tuple(args), kwargs, immutable=True)
    raise InvalidOption(
        f"{kind} {shorten(link)} is no task, task.s(...), task.si(...), (task, args) or (task, args, kwargs)"
    )


def _check_passing(parent: Task[..., Any], kind: str, takes: Mapping[int, Task[..., Any]]) -> None:
    """Refuse to pass a value on to a task that could not read it.

    Raises:
        InvalidOption: naming both serializers.
    """
    for task in takes.values():
        given, read = (parent.codec.name if kind == "link" else task.codec.name), task.codec.name
        if given != read or read not in CODECS:
            raise InvalidOption(
                f"{kind} {task.name}.s(): a value written by serializer {given!r} cannot be passed on to a task that "
                f"reads {read!r}; use si(), or give both tasks the serializer '' or 'json'"
            )
