"""Whether a server is one that keeps jobs safe: looked at by ``taskq doctor``, and by every worker before it starts.

``gather`` asks the server, ``check`` of ``diagnosis.py`` judges what it said. Nothing is written.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from taskq.broker import jobs, keys
from taskq.broker import queues as queue_calls
from taskq.broker.address import Address
from taskq.broker.call import Command
from taskq.broker.connection import Link
from taskq.broker.diagnosis import Facts, Finding, check
from taskq.broker.failures import is_broken, is_passing, translate
from taskq.broker.keys import QueueKeys
from taskq.broker.session import CALL_DEADLINE, Patience, pauses
from taskq.errors import AuthenticationFailed, BrokerError, BrokerUnavailable, SchemaTooNew, WrongServer, WrongType

__all__ = ["Facts", "Finding", "check", "examine", "gather", "refuse", "server_time"]

T = TypeVar("T")
MAX_QUEUES = 1000  # of the registry; a fifth of a second

# What each fixed key of a queue holds, where it exists; as the docstring of QueueKeys says.
QUEUE_TYPES: Mapping[str, str] = {
    "meta": "hash",
    "jobs": "hash",
    "state": "hash",
    "ready": "zset",
    "delayed": "zset",
    "suspect": "zset",
    "dead": "zset",
    "quarantine": "zset",
    "ended": "hash",
    "revoked": "hash",
    "outbox": "hash",
    "workers": "zset",
    "wake": "list",
    "items": "zset",
    "tally": "hash",
    "claims": "zset",
    "claimed": "hash",
    "getters": "zset",
    "putters": "zset",
    "joiners": "set",
}

# What a refusal is raised as; any other is a WrongServer.
ERRORS: Mapping[str, type[BrokerError]] = {"scripts": AuthenticationFailed, "schema": SchemaTooNew, "keys": WrongType}


def examine(
    link: Link, namespace: str, queues: Sequence[str] | None = None, deadline: float = CALL_DEADLINE
) -> list[Finding]:
    """Return what there is to say of a server, in a fixed order of checks.

    Args:
        link: a connection, opened here; the caller closes it.
        namespace: first part of the keys.
        queues: whose keys are looked at; None for all in the registry, at most MAX_QUEUES.
        deadline: seconds that a server has which takes no commands yet, or is lost after it answered; one that never
            answers has 4 s at most.

    Raises:
        BrokerUnavailable: nothing answers within 4 s, or the connection breaks until the deadline.
        BrokerError: it refuses the login, is no Redis, or takes no commands until the deadline.
    """
    started, reached = time.monotonic(), False
    again = pauses(started + deadline)
    while True:
        _reach(link, deadline, started, reached=reached)
        reached = True
        try:
            return check(gather(link, namespace, queues))
        except BrokerUnavailable:
            link.close()
            pause = next(again, None)
            if pause is None:
                raise
            time.sleep(pause)


def refuse(findings: Sequence[Finding]) -> None:
    """Raise if any finding is a refusal; the message has them all.

    Raises:
        WrongServer: or AuthenticationFailed, SchemaTooNew, WrongType, by the first refusal.
    """
    refusals = [finding for finding in findings if finding.level == "refuse"]
    if refusals:
        raise ERRORS.get(refusals[0].name, WrongServer)("; ".join(finding.text for finding in refusals))


def server_time() -> Command[float]:
    """Read the server's clock, in seconds since 1970."""
    return Command(("TIME",), lambda reply: int(reply[0]) + int(reply[1]) / 1e6)


# --- asking -----------------------------------------------------------------------------------------------------------


def gather(link: Link, namespace: str, queues: Sequence[str] | None) -> Facts:
    """Ask the server, which answers; raises as ``examine`` does."""
    if queues is None:
        queues = (_ask(link, jobs.queue_names(namespace)) or [])[:MAX_QUEUES]
    info = _ask(link, Command(("INFO",), _fields)) or {}
    ahead = _clock_ahead(link)
    save = _ask(link, Command(("CONFIG", "GET", "save"), _snapshots))
    masters = _ask(link, Command(("CLUSTER", "INFO"), _masters)) if info.get("cluster_enabled") == "1" else 1
    named = [QueueKeys(namespace, queue) for queue in queues]
    expected = {keys.registry(namespace): "set", keys.roster(namespace): "zset"}
    expected |= {queue.key(name): kind for queue in named for name, kind in QUEUE_TYPES.items()}
    types = _types(link, list(expected))
    schemas: dict[str, str] = {}
    for queue in named:
        if types is None or types.get(queue.key("meta")) == "hash":
            schema = _ask(link, Command(("HGET", queue.key("meta"), "schema"), _text))
            schemas |= {queue.queue: schema} if schema is not None else {}
    denied = _scripts_denied(link, named or [QueueKeys(namespace, "default")])
    return Facts(link.address, info, ahead, save, masters or 1, denied, schemas, types, expected)


def _reach(link: Link, deadline: float, started: float, *, reached: bool) -> None:
    """Connect; a server that is just starting has 4 s to appear, and the deadline to read its data.

    One that was ``reached`` before has the deadline for both, from when it was first asked.
    """
    ping: Command[object] = Command(("PING",), lambda reply: reply)
    patience = Patience(link.address, "ping", deadline, reached, started)
    while True:
        try:
            link.connect()
            link.run(ping)
        except Exception as error:
            link.close()
            patience.sent = patience.sent or is_passing(error)  # it is there: waiting helps
            try:
                pause = patience.pause_after(error)
            except BrokerUnavailable as failure:
                hint = "" if reached else _hint(link.address, error)
                raise BrokerUnavailable(f"{failure}{hint}") from None
            time.sleep(pause)
        else:
            return


def _hint(address: Address, error: Exception) -> str:
    """Return what a peer means that takes connections and then says nothing, or hangs up."""
    silent = any(words in str(error) for words in ("Timeout", "closed by", "reset by", "WRONG_VERSION", "EOF"))
    if address.scheme == "unix" or not silent:
        return ""
    other = "redis://" if address.scheme == "rediss" else "rediss://"
    return f" (TLS mismatch? the url says {address.scheme}://, the server may want {other})"


def _ask(link: Link, command: Command[T]) -> T | None:
    """Return the answer, or None if the server denies or does not know the command."""
    try:
        return link.run(command)
    except Exception as error:
        if is_broken(error) or is_passing(error):
            raise translate(error, link.address) from None
        return None


def _clock_ahead(link: Link) -> float:
    began = time.time()
    server = _ask(link, server_time())
    return server - (began + time.time()) / 2 if server is not None else 0.0


def _types(link: Link, names: Sequence[str]) -> dict[str, str] | None:
    try:
        link.send(b"".join(Command(("TYPE", name), _text).pack() for name in names))
    except Exception as error:
        raise translate(error, link.address) from None
    found: dict[str, str] | None = {}
    for name in names:
        try:
            kind = _text(link.receive())
        except Exception as error:
            if is_broken(error) or is_passing(error):
                raise translate(error, link.address) from None
            found = None
        else:
            if found is not None and kind not in {None, "none"}:
                found[name] = kind or ""
    return found


def _scripts_denied(link: Link, named: Sequence[QueueKeys]) -> str:
    for queue in named:
        try:
            link.run_script(queue_calls.inspect(queue))
        except Exception as error:
            if is_broken(error) or is_passing(error):
                raise translate(error, link.address) from None
            meaning = translate(error, link.address)
            if not isinstance(meaning, WrongType | SchemaTooNew):  # these have checks of their own
                return str(meaning)
    return ""


def _text(reply: Any) -> str | None:
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply


def _fields(reply: Any) -> dict[str, str]:
    lines = (_text(reply) or "").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _snapshots(reply: Sequence[bytes]) -> bool | None:
    return bool(reply[1].strip()) if len(reply) == 2 else None


def _masters(reply: Any) -> int:
    size = _fields(reply).get("cluster_size", "1")
    return int(size) if size.isdigit() else 1
