"""What each kind of user needs on the server, as rules for its access control list: least commands, least keys.

Scripts run with the rights of their caller, so a role has each command that its scripts call. Keys: ``{*}`` stands for
any queue or primitive; all of one but leases match ``[^l]*``, and a line of waiters is no lease.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from taskq.broker import keys
from taskq.broker.call import Command
from taskq.broker.keys import QueueKeys, check_namespace

_CONNECT: Final = "ping select"
_RUN: Final = "eval evalsha eval_ro evalsha_ro"
_LOOK: Final = (
    "get hexists hget hgetall hlen hmget hrandfield hscan hstrlen info llen mget pttl scan scard smembers time type "
    "zcard zcount zmscore zrange zrevrange zscan zscore"
)
# What the scripts of producers, primitives and data queues call, and what reads results.
_PRODUCE: Final = (
    "del exists get hdel hexists hget hgetall hincrby hlen hmget hset hsetnx hstrlen info llen mget persist pexpire "
    "publish rpush sadd set smembers srem subscribe time type unlink zadd zcard zcount zrange zrangebyscore zrank zrem "
    "zremrangebyrank zremrangebyscore zscore"
)
NOBODY: Final = "~"  # no worker can have this id


@dataclass(frozen=True, slots=True)
class Role:
    """The rights of one kind of user.

    Attributes:
        about: what it is for, in a few words.
        commands: their names.
        keys: patterns with their rights; ``NS`` stands for the namespace, here and below.
        channels: that it may listen and publish to.
        selectors: further rights that hold together only: a rule each.
    """

    about: str
    commands: str
    keys: str
    channels: str
    selectors: tuple[str, ...] = ()


ROLES: Final[Mapping[str, Role]] = MappingProxyType(
    {
        "producer": Role(
            "sends jobs, waits for results, uses Events, locks and data queues",
            f"{_CONNECT} {_RUN} {_PRODUCE}",
            "~NS:{*}:[^l]* ~NS:{*}:line ~NS:queues",
            "&NS:reply:* &NS:events",
        ),
        "worker": Role(
            "runs jobs, which may do what a producer does",
            f"{_CONNECT} {_RUN} {_PRODUCE} blpop hrandfield hscan",
            "~NS:{*}:* ~NS:queues ~NS:workers ~NS:worker:* ~NS:gone:*",
            "&NS:reply:* &NS:events",
            ("+blpop ~NS:control:*",),  # hears orders, and gives none to others
        ),
        "reader": Role(
            "looks, and changes nothing but which queues are watched by taskq events",
            f"{_CONNECT} eval_ro evalsha_ro subscribe {_LOOK}",
            "%R~NS:*",
            "&NS:events",
            ("+eval +evalsha +hdel +hget +hmget +hset +pexpire +pttl +time ~NS:{*}:meta",),
        ),
        "admin": Role(
            "looks and acts: sends, cancels, moves, retries and purges jobs, pauses queues, asks workers to stop",
            f"{_CONNECT} {_RUN} {_PRODUCE} {_LOOK} lrem ltrim",
            "~NS:{*}:* ~NS:queues ~NS:control:* %R~NS:*",
            "&NS:reply:* &NS:events",
            ("+pexpire ~NS:*",),  # what taskq fsck --repair gives its time to live again
        ),
    }
)


def rule(role: str, namespace: str, user: str) -> str:
    """Return the command that gives a user the rights of a role and takes all others; its passwords stay.

    Args:
        role: one of ROLES.
        namespace: first part of the keys.
        user: its name, without blanks.

    Raises:
        ConfigError: the namespace cannot begin keys.
    """
    chosen, parts = ROLES[role], ["ACL", "SETUSER", user, "on", "resetkeys", "resetchannels", "clearselectors", "-@all"]
    parts += [chosen.keys, chosen.channels]
    parts += [f"+{command}" for command in sorted(set(chosen.commands.split()))]
    parts += [f"({selector})" for selector in chosen.selectors]
    return " ".join(parts).replace("NS:", f"{check_namespace(namespace)}:")


def probes(queue: QueueKeys) -> list[Command[object]]:
    """Return what only a worker may do with a queue, done to a worker that does not exist: it changes nothing."""
    namespace = queue.namespace
    parts = (
        ("HDEL", queue.lease(NOBODY), NOBODY),
        ("ZREM", keys.roster(namespace), NOBODY),
        ("DEL", keys.card(namespace, NOBODY)),
        ("BLPOP", keys.control(namespace, NOBODY), "0.001"),  # seconds
    )
    return [Command(one, lambda reply: reply) for one in parts]
