"""Calls about a worker's lease on a queue, and about the dead ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from taskq.broker import keys
from taskq.broker.call import Call, Command, make_call
from taskq.broker.keys import SCHEMA, QueueKeys
from taskq.broker.queues import META_TTL_MS
from taskq.broker.scripts import load
from taskq.errors import Fenced, InvalidTimeout

ORDER_TTL_MS: Final = 60_000  # for which a worker that cannot be reached may still hear an order; then nobody waits
GONE_TTL_MS: Final = 86_400_000  # a day, as long as a worker that died without a word is listed
CommandWord: TypeAlias = Literal["stop", "pause", "resume"]


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """How long a worker's lease lives and how often it is renewed, in seconds.

    Five beats fit into a lease, so that the clock guard's threshold of three beats lies below it: an outage is noticed
    before anybody's lease seems to be over.
    """

    beat: float = 5.0
    ttl: float = 25.0

    def __post_init__(self) -> None:
        if not (0.01 <= self.beat <= 3600 and 5 * self.beat <= self.ttl <= 86_400):
            raise InvalidTimeout(f"lease of {self.ttl} s with a beat of {self.beat} s: ttl must be at least 5 beats")

    @property
    def ttl_us(self) -> int:
        """The lease in microseconds."""
        return round(self.ttl * 1_000_000)

    @property
    def beat_us(self) -> int:
        """The beat in microseconds."""
        return round(self.beat * 1_000_000)


def register(queue: QueueKeys, worker: str, times: LeaseTimes) -> Call[bool]:
    """Give ``worker`` its lease; answers False if the id is taken."""
    arguments = (worker, times.ttl_us, SCHEMA)
    return make_call(load()["register"], queue, arguments, lambda reply: reply[0] == b"OK")


def deregister(queue: QueueKeys, worker: str) -> Call[int]:
    """Take ``worker`` off; answers how many jobs it still held, which any reaper takes at once."""
    return make_call(load()["deregister"], queue, (worker,), lambda reply: int(reply[0]), worker=worker)


@dataclass(frozen=True, slots=True)
class Beat:
    """What a heartbeat saw; ``over`` are workers to reap."""

    now: int
    held: int
    ended: int
    outbox: int
    revoked: int
    over: list[str]


def heartbeat(queue: QueueKeys, worker: str, times: LeaseTimes) -> Call[Beat]:
    """Renew a lease.

    Raises (from the call's answer):
        Fenced: the lease is gone.
    """
    arguments = (worker, times.ttl_us, times.beat_us, META_TTL_MS)
    return make_call(load()["heartbeat"], queue, arguments, _beat, worker=worker)


def _beat(reply: list[Any]) -> Beat:
    _check_fence(reply)
    now, held, ended, outbox, revoked = map(int, reply[:5])
    return Beat(now, held, ended, outbox, revoked, [name.decode("utf-8", "replace") for name in reply[5:]])


def reap(queue: QueueKeys, worker: str, times: LeaseTimes) -> Call[tuple[int, int]]:
    """Take up to 100 jobs of a dead worker; answers how many and how many are left, -1 if it may not be reaped."""
    arguments = (worker, times.ttl_us, times.beat_us)
    return make_call(load()["reap"], queue, arguments, lambda reply: (int(reply[0]), int(reply[1])), worker=worker)


def reconcile(queue: QueueKeys, worker: str, held: Sequence[str]) -> Call[tuple[int, list[str]]]:
    """Give back what is leased to ``worker`` and not ``held``; answers how many, and which of ``held`` are not leased.

    Raises (from the call's answer):
        Fenced: the lease is gone.
    """

    def parse(reply: list[Any]) -> tuple[int, list[str]]:
        _check_fence(reply)
        return int(reply[0]), [name.decode("utf-8", "replace") for name in reply[1:]]

    return make_call(load()["reconcile"], queue, (worker, *held), parse, worker=worker)


def _check_fence(reply: list[Any]) -> None:
    if reply[0] == b"FENCED":
        raise Fenced("the worker's lease is gone")


def revoked(queue: QueueKeys) -> Command[dict[str, str]]:
    """Read which jobs are to be dropped: id to ``r``, or ``t`` to stop it even if it runs."""

    def parse(reply: list[bytes]) -> dict[str, str]:
        words = [part.decode("utf-8", "replace") for part in reply]
        return dict(zip(words[::2], words[1::2], strict=True))

    return Command(("HGETALL", queue.key("revoked")), parse)


def write_card(namespace: str, worker: str, text: bytes, ttl_ms: int) -> Command[Any]:
    """Store what a worker says of itself."""
    return Command(("SET", keys.card(namespace, worker), text, "PX", ttl_ms), lambda reply: reply)


def sign_in(namespace: str, worker: str, now: int) -> Command[int]:
    """Enter a worker in the roster with the server's time in seconds."""
    return Command(("ZADD", keys.roster(namespace), now, worker), int)


def prune_roster(namespace: str, before: int) -> Command[int]:
    """Forget workers that gave no sign of life since ``before``, in seconds of the server's time."""
    return Command(("ZREMRANGEBYSCORE", keys.roster(namespace), "-inf", before), int)


def sign_off(namespace: str, worker: str) -> Command[int]:
    """Take a worker from the roster."""
    return Command(("ZREM", keys.roster(namespace), worker), int)


def drop_card(namespace: str, worker: str) -> Command[int]:
    """Remove what a worker said of itself."""
    return Command(("DEL", keys.card(namespace, worker)), int)


def roster(namespace: str) -> Command[list[tuple[str, int]]]:
    """Read the workers with the server's time of their last sign of life."""

    def parse(reply: list[bytes]) -> list[tuple[str, int]]:
        return [(reply[i].decode("utf-8", "replace"), _whole(reply[i + 1])) for i in range(0, len(reply), 2)]

    return Command(("ZRANGE", keys.roster(namespace), 0, -1, "WITHSCORES"), parse)


def read_card(namespace: str, worker: str) -> Command[bytes | None]:
    """Read what a worker says of itself."""
    return Command(("GET", keys.card(namespace, worker)), lambda reply: reply)


def last_seen(namespace: str, worker: str) -> Command[int | None]:
    """Read the server's time of a worker's last sign of life, in seconds; None if it is in no roster (any more)."""
    return Command(("ZSCORE", keys.roster(namespace), worker), lambda reply: None if reply is None else _whole(reply))


# --- orders and news --------------------------------------------------------------------------------------------------


class Order(msgspec.Struct, frozen=True):
    """What a worker is asked to do.

    Attributes:
        command: which.
        token: shown on the worker's card once it has heard.
        asker: who asks, for the worker's log.
    """

    command: CommandWord
    token: Annotated[str, msgspec.Meta(max_length=64)]
    asker: Annotated[str, msgspec.Meta(max_length=200)] = ""


def order(namespace: str, worker: str, what: Order) -> Command[int]:
    """Ask a worker for something, which it may hear twice where a connection breaks; ``keep_orders`` must follow."""
    return Command(("RPUSH", keys.control(namespace, worker), msgspec.json.encode(what)), int)


def take_order_back(namespace: str, worker: str, what: Order) -> Command[int]:
    """Take an order out that nobody has heard, before it is given again."""
    return Command(("LREM", keys.control(namespace, worker), 0, msgspec.json.encode(what)), int)


def keep_orders(namespace: str, worker: str) -> Command[int]:
    """Let a worker's orders be forgotten if it does not hear them."""
    return Command(("PEXPIRE", keys.control(namespace, worker), ORDER_TTL_MS), int)


def await_order(namespace: str, worker: str, seconds: float) -> Command[bytes | None]:
    """Block until a worker is asked for something; None if it was not."""
    parts = ("BLPOP", keys.control(namespace, worker), f"{seconds:.3f}")
    return Command(parts, lambda reply: None if reply is None else reply[1])


def read_order(data: bytes) -> Order | None:
    """Return what is asked for, None if that cannot be read."""
    try:
        return msgspec.json.decode(data, type=Order)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def announce(namespace: str, news: object) -> Command[int]:
    """Tell whoever listens what became of a worker; answers how many do."""
    return Command(("PUBLISH", keys.events(namespace), b"W\n" + msgspec.json.encode(news)), int)


def note_gone(namespace: str, worker: str) -> Command[bool]:
    """Answer True to the first who finds that a worker vanished."""
    return Command(("SET", keys.gone(namespace, worker), "1", "NX", "PX", GONE_TTL_MS), lambda reply: reply is not None)


def _whole(score: bytes) -> int:
    """Return a score as seconds; one that somebody set to infinity by hand is as good as never seen."""
    number = float(score)
    return int(number) if math.isfinite(number) else 0
