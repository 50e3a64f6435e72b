"""Queues as ``queue.Queue`` has them: items put and got, instead of jobs that workers run."""

from __future__ import annotations

import functools
import queue as standard
import threading
from collections.abc import Hashable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from taskq.broker import items, queues
from taskq.broker.items import ARRIVAL, BATCH_BYTES, BATCH_ITEMS
from taskq.broker.line import LAST_PLACE, NO_PLACE, Wait
from taskq.client.keeper import Kind
from taskq.client.line import deadline_of, is_over, next_look, subscribed
from taskq.client.operation import Hear, MakeBell, Operation, Take, aperform, perform
from taskq.client.waiting import check_wait
from taskq.errors import (
    BrokerError,
    BrokerUnavailable,
    CoordinationError,
    Indeterminate,
    InvalidOption,
    InvalidPriority,
    LeaseLost,
    PayloadTooLarge,
    SerializationError,
    ShutDown,
    TaskqError,
    shorten,
)
from taskq.model.classmap import ClassMap
from taskq.model.discipline import Discipline, check_priority

if TYPE_CHECKING:
    from taskq.broker.call import Call
    from taskq.broker.keys import QueueKeys
    from taskq.client.listener import Listener
    from taskq.client.queues import Queue
    from taskq.client.signals import Bell, Signal

DECLARATIONS: Final = 3  # of one queue within one call; something removes it each time

Item = tuple[str, bytes]  # its place in a priority queue or '', and the codec's name with the encoded value


class Held:
    """One claimed item; see ``Kept``."""

    __slots__ = ("_arrival", "_keys", "address", "claim", "lease")

    def __init__(self, keys: QueueKeys, claim: str, member: bytes, lease: float) -> None:
        self._keys = keys
        self._arrival = int(member[:ARRIVAL])
        self.claim = claim
        self.address = items.address_of(keys, claim)  # the keeper tells those of different queues apart by it
        self.lease = lease

    def __str__(self) -> str:
        return f"the claim on item {self._arrival} of queue {self._keys.queue!r}"

    kind = Kind.CLAIM
    limit = 0

    @property
    def tag(self) -> str:
        """See ``Kept``."""
        return self._keys.queue

    @property
    def group(self) -> Hashable:
        """See ``Kept``."""
        return (self._keys.prefix, self.lease)

    def renewal(self, addresses: Sequence[str]) -> Call[list[str]]:
        """See ``Kept``."""
        return items.keep(self._keys, addresses, self.lease)

    def lose(self) -> None:
        """See ``Kept``; the end of the block finds out."""


def check_blocking(block: object, timeout: Any) -> float | None:
    """Return the seconds to wait, None without a limit, by the rules of ``queue.Queue.get``.

    Raises:
        ValueError: the timeout is negative.
        InvalidTimeout: it is no number.
    """
    if not block:
        return 0.0
    seconds = check_wait(timeout)
    if timeout is not None and timeout < 0:
        raise ValueError(f"'timeout' must be a non-negative number, not {shorten(timeout)}")
    return seconds


class Coder:
    """Turns the items of one queue into bytes and back."""

    def __init__(self, of: Queue) -> None:
        self._of = of
        self._types = ClassMap(of._app._forms())
        self._codec = of._app._codec(None)
        self._prefix = self._codec.name.encode() + b";"
        self._ranked = of.discipline is Discipline.PRIORITY
        self._most = of._app.settings.max_body
        signer = of._app._signer
        self._pickles = signer is None or not signer.required

    def encode(self, value: Any) -> Item:
        """Return an item as it is stored.

        Raises:
            SerializationError: it is no data, or to be pickled where what is stored must be signed.
            InvalidPriority: the queue is one of priorities, and the item has none.
            PayloadTooLarge: it is larger than ``max_body``.
        """
        self._check(self._codec.name)
        place = repr(priority_of(value)) if self._ranked else ""
        payload = self._codec.encode(value, self._types, "item")
        if len(payload) > self._most:
            raise PayloadTooLarge(
                f"item of queue {self._of.name!r} has {len(payload)} bytes, over max_body of {self._most}; store it "
                "elsewhere and put its name"
            )
        return place, self._prefix + payload

    def decode(self, member: bytes) -> Any:
        """Return the value of a stored item.

        Raises:
            SerializationError: it is damaged, or of a codec that is not allowed here.
        """
        if member.startswith(self._prefix, ARRIVAL):
            self._check(self._codec.name)
            return self._codec.decode(member[ARRIVAL + len(self._prefix) :], self._types)
        name, _, payload = member[ARRIVAL:].partition(b";")
        codec = name.decode("utf-8", "replace")
        self._check(codec)
        return self._of._app._serializers.codec(codec).decode(payload, self._types)

    def _check(self, codec: str) -> None:
        if codec == "pickle" and not self._pickles:
            raise SerializationError(
                f"pickle is refused in queue {self._of.name!r}: items are not signed, and require_signed is on; use "
                "another serializer for this app"
            )


def priority_of(value: Any) -> float:
    """Return the priority of an item: itself, or the first element of a tuple or list; lower leaves first.

    Raises:
        InvalidPriority: if that is no finite number.
    """
    first = value[0] if isinstance(value, tuple | list) and value else value
    try:
        return check_priority(first)
    except InvalidPriority as error:
        raise InvalidPriority(
            f"item {shorten(value)} has no priority: put a finite number, or a tuple that begins with one"
        ) from error


def put(of: Queue, stored: Sequence[Item], seconds: float | None) -> Operation[None]:
    """Put items in order, waiting for room.

    Raises:
        queue.Full: there was no room for all; how many were put is in its attribute ``accepted``.
        ShutDown: the queue takes no more.
        QueueConflict, BrokerError: see ``Sender.declare``.
    """
    sent, declarations, deadline = 0, 0, deadline_of(seconds)
    yield from _declare(of)
    stand = yield from _stand(of)
    try:
        while sent < len(stored):
            batch, turn = _batch(stored, sent), stand.turn(seconds)
            answer: items.Put = yield from stand.ask(items.put(of._keys, stand.signal.address, batch, turn), turn)
            sent += answer.accepted
            if answer.shut:
                raise ShutDown(f"queue {of.name!r} is shut down and takes no more items")
            if answer.undeclared:
                declarations += 1
                yield from _declare(of, again=declarations)
            elif answer.wait is not None or answer.full:
                if is_over(deadline):
                    raise _full(of, sent)
                yield from stand.wait(answer.wait, deadline)
    finally:
        yield from stand.leave(of, items.PUTTERS)


def get(of: Queue, most: int, seconds: float | None, lease: float) -> Operation[list[bytes]]:
    """Take up to ``most`` members, at least one.

    Raises:
        queue.Empty: there was none in time.
        ShutDown: there is none and will be none.
        QueueConflict, BrokerError: see ``Sender.declare``.
    """
    answer = yield from _get(of, most, seconds, lease, claim=False)
    return list(answer.members)


def _get(of: Queue, most: int, seconds: float | None, lease: float, *, claim: bool) -> Operation[items.Got]:
    declarations, deadline = 0, deadline_of(seconds)
    yield from _declare(of)
    stand = yield from _stand(of)
    try:
        while True:
            turn = stand.turn(seconds)
            call = items.get(of._keys, stand.signal.address, most=most, turn=turn, lease=lease, claim=claim)
            answer: items.Got = yield from stand.ask(call, turn, of)
            if answer.members:
                return answer
            if answer.shut:
                raise ShutDown(f"queue {of.name!r} is shut down and empty")
            if answer.undeclared:
                declarations += 1
                yield from _declare(of, again=declarations)
            else:
                if is_over(deadline):
                    raise standard.Empty
                yield from stand.wait(answer.wait, deadline)
    finally:
        yield from stand.leave(of, items.GETTERS)


def _give_back(of: Queue, late: items.Got) -> Operation[None]:
    """Put back what came for a caller that was cancelled meanwhile."""
    if late.claims:
        yield items.end_claims(of._keys, late.claims, back=True)
    elif late.members:
        yield items.put_back(of._keys, [(place_of(of, member), member) for member in late.members])


def place_of(of: Queue, member: bytes) -> float:
    """Return where in its queue a member was."""
    if of.discipline is Discipline.PRIORITY:
        try:
            return priority_of(of._coder.decode(member))
        except TaskqError:
            return 0.0  # it cannot be read here, by others perhaps: it is not lost, but its place is
    return int(member[:ARRIVAL]) * (-1 if of.discipline is Discipline.LIFO else 1)


def join(of: Queue) -> Operation[None]:
    """Wait until all items that were put are counted as finished."""
    yield from _declare(of)
    bell, listener = (yield MakeBell()), of._app._listener
    signal = listener.signals.open(bell.ring)
    try:
        yield from subscribed(listener, bell, None)
        while (yield items.join(of._keys, signal.address)):
            yield Hear(bell, next_look(listener, None))
    except (BrokerUnavailable, Indeterminate):
        raise
    except BaseException:
        yield items.leave(of._keys, signal.address, items.JOINERS)
        raise
    finally:
        listener.signals.close(signal)


class _Stand:
    """Where one caller stands: its bell, its signal, and its turn in a line."""

    __slots__ = ("_bell", "_kept", "_lined_up", "_listener", "_ready", "signal")

    def __init__(self, listener: Listener, bell: Bell) -> None:
        self._listener = listener
        self._bell = bell
        self.signal: Signal = listener.signals.open(bell.ring)
        self._ready = listener.epoch is not None
        self._kept = NO_PLACE
        self._lined_up = False  # whether the server may know the address

    def turn(self, seconds: float | None) -> str:
        """Return what to ask with: a place in line only for who waits and can be told."""
        return self._kept or (LAST_PLACE if self._ready and seconds != 0 else NO_PLACE)

    def ask(self, call: Call[Any], turn: str, taker: Queue | None = None) -> Operation[Any]:
        """Run a call that may take a place in line; what it takes off ``taker`` is not lost if it is cancelled."""
        self._lined_up = self._lined_up or turn != NO_PLACE  # also if its answer never comes
        try:
            answer = yield call if taker is None else Take(call, functools.partial(_give_back, taker))
        except (BrokerUnavailable, Indeterminate):
            self._lined_up = False  # to leave would mean to wait as long again
            raise
        except BaseException as error:
            late: items.Got | None = getattr(error, "answer", None)
            if late is not None and taker is not None:
                yield from _give_back(taker, late)
            raise
        if answer.wait is not None:
            self._kept = answer.wait.turn
        elif not answer.undeclared:
            self._lined_up = False
        return answer

    def wait(self, place: Wait | None, deadline: float | None) -> Operation[None]:
        """Wait until it is time to ask again; who has no place in line is seen to be told first."""
        if place is None:
            yield from subscribed(self._listener, self._bell, deadline)
            self._ready = True
            return
        at = next_look(self._listener, deadline, place.again)
        while (yield Hear(self._bell, at)):
            news = [self.signal.news.popleft() for _ in range(len(self.signal.news))]
            if not news or b"" in news:
                return
            at = min(at, next_look(self._listener, deadline, int(news[-1]) / 1e6))  # now at the head of the line

    def leave(self, of: Queue, line: str) -> Operation[None]:
        """Leave nothing behind."""
        self._listener.signals.close(self.signal)
        if self._lined_up:
            yield items.leave(of._keys, self.signal.address, line)


def _stand(of: Queue) -> Operation[_Stand]:
    bell = yield MakeBell()
    return _Stand(of._app._listener, bell)


def _declare(of: Queue, *, again: int = 0) -> Operation[None]:
    sender = of._app._sender
    if again > DECLARATIONS:
        raise BrokerError(f"queue {of.name!r} vanishes as often as it is declared; who flushes the server?")
    if again:
        sender.item_queues.pop(of.name, None)
    yield from sender.declare(of.name, queues.ITEMS)


def _batch(stored: Sequence[Item], start: int) -> list[Item]:
    batch: list[Item] = []
    size = 0
    for item in stored[start : start + BATCH_ITEMS]:
        size += len(item[1])
        if batch and size > BATCH_BYTES:
            break
        batch.append(item)
    return batch


def _full(of: Queue, accepted: int) -> standard.Full:
    error = standard.Full(f"queue {of.name!r} is full (maxsize {of.maxsize})")
    error.accepted = accepted  # type: ignore[attr-defined]
    return error


class Claim:
    """An item under a lease, for the length of a ``with`` block: finished at its end, given back where it raises.

    It is for one block at a time; a second entry raises CoordinationError.
    """

    def __init__(self, of: Queue, seconds: float | None, lease: float) -> None:
        self._of = of
        self._seconds = seconds
        self._lease = lease
        self._held: Held | None = None
        self._in_use = threading.Lock()

    def __enter__(self) -> Any:
        return perform(self._open(), self._of._app.broker)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        perform(self._close(error), self._of._app.broker)

    async def __aenter__(self) -> Any:
        return await aperform(self._open(), self._of._app.broker)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await aperform(self._close(error), self._of._app.broker)

    def _open(self) -> Operation[Any]:
        if not self._in_use.acquire(blocking=False):
            raise CoordinationError(f"this claim of queue {self._of.name!r} is in use; call claim() for each block")
        try:
            got = yield from _get(self._of, 1, self._seconds, self._lease, claim=True)
        except BaseException:
            self._in_use.release()
            raise
        member = got.members[0]
        self._held = Held(self._of._keys, got.claims[0], member, self._lease)
        try:
            self._of._app._sender.keeper.keep(self._held)
            return self._of._coder.decode(member)
        except BaseException as error:
            yield from self._close(error)
            raise

    def _close(self, error: BaseException | None) -> Operation[None]:
        held, self._held = self._held, None
        assert held is not None
        self._in_use.release()
        self._of._app._sender.keeper.drop(held)
        lost = yield items.end_claims(self._of._keys, [held.claim], back=error is not None)
        if lost and error is None:
            raise LeaseLost(f"{held} was lost: its lease of {held.lease:g} s ran out, and others may have the item")


def check_most(most: object) -> int:
    """Return how many items to take at most.

    Raises:
        InvalidOption: if it is no whole number, or less than one; a ValueError.
    """
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise InvalidOption(f"most {shorten(most)} is no whole number of items, 1 or more")
    return min(most, BATCH_ITEMS)
