"""Every key name, and nothing else that knows how one is spelled."""

from __future__ import annotations

import re

from taskq.errors import ConfigError, shorten

SCHEMA = 1  # of the key layout; a queue written by a newer one is refused before any write
NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


def check_namespace(namespace: object) -> str:
    """Return ``namespace`` if it can begin keys.

    Raises:
        ConfigError: if it is no text, or has other characters or more than 40.
    """
    if not isinstance(namespace, str) or NAMESPACE.fullmatch(namespace) is None:
        raise ConfigError(
            f"namespace {shorten(namespace)} cannot be used: 1 to 40 letters, digits, '.', '_' or '-', "
            "the first a letter or digit"
        )
    return namespace


class QueueKeys:
    """The keys of one queue. All share the hash tag ``{queue}``, hence one Redis node.

    meta: hash, the queue's settings and counters. jobs: hash, id to header and body. state: hash, id to what differs
    from the default. ready, delayed, suspect, dead, quarantine: sorted sets of ids. ended, revoked, outbox: hashes.
    workers: sorted set, worker to lease deadline. wake: list of at most one token.
    """

    __slots__ = ("_known", "namespace", "prefix", "queue")

    def __init__(self, namespace: str, queue: str) -> None:
        self.namespace = namespace
        self.queue = queue
        self.prefix = f"{namespace}:{{{queue}}}:"
        self._known: dict[tuple[str, ...], tuple[str, ...]] = {}

    def fixed(self, names: tuple[str, ...], worker: str = "") -> tuple[str, ...]:
        """Return the keys of ``names``; ``lease`` is the one of ``worker``, ``session`` is left out."""
        if "lease" in names:
            return tuple(self.lease(worker) if n == "lease" else self.prefix + n for n in names if n != "session")
        known = self._known.get(names)
        if known is None:
            known = self._known[names] = tuple(self.prefix + name for name in names if name != "session")
        return known

    def key(self, name: str) -> str:
        """Return one fixed key."""
        return self.prefix + name

    def lease(self, worker: str) -> str:
        """Hash of the jobs leased to ``worker``."""
        return f"{self.prefix}l:{worker}"

    def session(self, session: str) -> str:
        """Last reply of a session; gone five minutes after its last call."""
        return f"{self.prefix}s:{session}"

    def result(self, unique: str) -> str:
        """Result record of a job; gone after its time-to-live."""
        return f"{self.prefix}r:{unique}"

    def mark(self, unique: str) -> str:
        """Says for some minutes that a follow-up was accepted."""
        return f"{self.prefix}m:{unique}"


def registry(namespace: str) -> str:
    """Set of the names of all queues."""
    return f"{namespace}:queues"


def roster(namespace: str) -> str:
    """Sorted set: worker id to the server time (seconds) of its last sign of life."""
    return f"{namespace}:workers"


def card(namespace: str, worker: str) -> str:
    """What a worker says of itself; gone soon after it does."""
    return f"{namespace}:worker:{worker}"


def control(namespace: str, worker: str) -> str:
    """List of what a worker is asked to do; gone a minute after the last was added."""
    return f"{namespace}:control:{worker}"


def gone(namespace: str, worker: str) -> str:
    """Says for a day that it was announced that a worker vanished."""
    return f"{namespace}:gone:{worker}"


def channels(namespace: str) -> str:
    """Prefix of the channels on which results are announced; a producer's token follows."""
    return f"{namespace}:reply:"


def events(namespace: str) -> str:
    """Channel on which it is told what becomes of jobs, while somebody watches."""
    return f"{namespace}:events"


def results(namespace: str, queue: str = "") -> str:
    """Glob of all result records of a namespace, or of one queue of it; other keys may match it too."""
    return f"{_literal(namespace)}:{{{_literal(queue) or '*'}}}:r:*"


def split_result(namespace: str, key: str) -> tuple[str, str] | None:
    """Split the key of a result record into queue and unique part; None for another key."""
    tag, found, unique = key.removeprefix(f"{namespace}:{{").partition("}:r:")
    return (tag, unique) if found and key.startswith(f"{namespace}:{{") else None


def _literal(text: str) -> str:
    return re.sub(r"[*?\[\]\\^]", r"\\\g<0>", text)
