"""What tests of the broker's scripts share: a queue with a clock of its own, seeded and read back key by key."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from redis.exceptions import ResponseError

from taskq.broker import queues, scripts, work, workers
from taskq.broker.address import parse_url
from taskq.broker.call import Command
from taskq.broker.connection import Link
from taskq.broker.keys import QueueKeys
from taskq.model.discipline import Discipline
from taskq.model.job import Job, encode_header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskq.broker.call import Call

T = TypeVar("T")
Snapshot = dict[str, Any]

SECOND = 1_000_000  # microseconds
NOW = 1_800_000_000 * SECOND  # where a test's clock starts
NOW_MS = NOW // 1000
TIMES = workers.LeaseTimes(beat=0.1, ttl=0.6)
CLOCK = "__now"  # the key that holds a test's time; the shipped scripts must not know it

# Wraps redis.call: a key that was not declared ends the script, as it would in a cluster whose slots move.
GUARD = """
local server = redis
local declared = {}
for _, key in ipairs(KEYS) do declared[key] = true end
local function check(command, ...)
  if command == 'TIME' or command == 'PUBLISH' then return end
  for i = 1, command == 'EXISTS' and select('#', ...) or 1 do
    if not declared[(select(i, ...))] then error('undeclared key ' .. tostring((select(i, ...)))) end
  end
end
local redis = {
  call = function(...) check(...) return server.call(...) end,
  pcall = function(...) check(...) return server.pcall(...) end,
  error_reply = server.error_reply,
}
"""
TEST_CLOCK = f"""
local clock_read = false
local function read_clock()
  assert(not clock_read, 'the clock is read twice')
  clock_read = true
  return tonumber(server.call('GET', string.match(KEYS[1], '^.-}}:') .. '{CLOCK}'))
end
"""


@functools.cache
def guarded(name: str) -> scripts.Script:
    """Return a script that reads the test's clock and refuses undeclared keys."""

    def read(path: str) -> str:
        return TEST_CLOCK if path == "include/clock" else scripts.read_lua(path)

    script = scripts.build(name, read)
    shebang, _, rest = script.source.partition("\n")
    source = f"{shebang}\n{GUARD}{rest}"
    return dataclasses.replace(script, source=source, sha=hashlib.sha1(source.encode()).hexdigest())


def data(
    body: str = "x",
    *,
    at_ms: int = NOW_MS,
    flags: str = "",
    reply: str = "",
    expires_ms: int | None = None,
    priority: float | None = None,
) -> str:
    """Return a job as the server stores it."""
    return f"{at_ms:013};{encode_header(reply, flags, expires_ms, priority)}{body}"


def job(unique: str, body: str = "x", *, delay_ms: int = 0, **header: Any) -> Job:
    """Return a job as a producer sends it."""
    return Job(unique, data(body, **header).partition(";")[2].encode(), delay_ms)


def text(value: bytes) -> str:
    """Return stored bytes as text that shows what is not."""
    return value.decode("utf-8", "backslashreplace")


class Kit:
    """One queue on one server, its clock, and one session whose numbers ascend by themselves."""

    def __init__(self, url: str, namespace: str, queue: str = "q") -> None:
        self.url = url
        self.keys = QueueKeys(namespace, queue)
        self.link = Link(parse_url(url))
        self.session = "session"
        self.seq = 0
        self.now = NOW
        self.set_clock(NOW)

    # --- the clock

    def set_clock(self, now: int) -> None:
        """Set the server's time, in microseconds."""
        self.now = now
        self.command("SET", self.keys.key(CLOCK), now)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.set_clock(self.now + round(seconds * SECOND))

    # --- calls

    def command(self, *parts: Any) -> Any:
        """Run a plain command."""
        return self.link.run(Command(parts, lambda reply: reply))

    def run(self, call: Call[T], *, seq: int | None = None, session: str | None = None) -> T:
        """Run a call on the test's clock, with the next number where none is given."""
        if seq is None:
            self.seq += 1
            seq = self.seq
        guarded_call = dataclasses.replace(call, script=guarded(call.script.name))
        return self.link.run_script(guarded_call, session or self.session, seq)

    def refused(self, call: Call[Any], match: str, **numbers: Any) -> None:
        """Run a call that must be refused without any effect."""
        before = self.snapshot(), self.sessions()
        with pytest.raises(ResponseError, match=match):
            self.run(call, **numbers)
        assert (self.snapshot(), self.sessions()) == before

    def replays(self, call: Call[Any]) -> None:
        """Run a call; check that repeated it has its old answer and no effect, and that older numbers are refused."""
        self.seq += 5
        first = self.run(call)
        before = self.snapshot(), self.sessions()
        self.advance(1)
        assert self.run(call, seq=self.seq) == first, "the same answer"
        assert (self.snapshot(), self.sessions()) == before, "no second effect"
        self.refused(call, "TASKQ_STALE", seq=self.seq - 1)
        self.refused(dataclasses.replace(call, first="other"), "TASKQ_MIXUP", seq=self.seq)
        self.refused(call, "TASKQ_ARGS", seq=0)

    # --- keys

    def seed(self, **keys: Mapping[str, Any] | list[str] | str) -> None:
        """Write keys by name; a mapping with numbers is a sorted set, ``lease_w`` is the lease of worker ``w``."""
        for name, value in keys.items():
            key = self.keys.prefix + name.replace("lease_", "l:").replace("result_", "r:").replace("mark_", "m:")
            if isinstance(value, str):
                self.command("SET", key, value)
            elif isinstance(value, list):
                self.command("RPUSH", key, *value)
            elif any(not isinstance(score, str) for score in value.values()):
                self.command("ZADD", key, *[part for member, score in value.items() for part in (score, member)])
            else:
                self.command("HSET", key, *[part for pair in value.items() for part in pair])

    def declare(self, discipline: Discipline = Discipline.FIFO, maxsize: int = 0) -> None:
        """Write the least that makes a queue of it."""
        self.seed(meta={"discipline": str(discipline), "maxsize": str(maxsize)})

    def worker(self, name: str = "w", seconds: float = 10.0) -> str:
        """Give a worker a lease."""
        self.command("ZADD", self.keys.key("workers"), self.now + round(seconds * SECOND), name)
        return name

    def snapshot(self) -> Snapshot:
        """Read every key of the queue but the clock and the sessions: name after the prefix to content."""
        return {name: self.read(name) for name in self._names() if not name.startswith("s:")}

    def sessions(self) -> dict[str, str]:
        """Read the stored replies."""
        return {name: self.read(name) for name in self._names() if name.startswith("s:")}

    def read(self, name: str) -> Any:
        """Read one key whatever its type; None if there is none."""
        key = self.keys.prefix + name
        kind = self.command("TYPE", key)
        if kind == b"hash":
            return self._pairs(self.command("HGETALL", key))
        if kind == b"zset":
            return {k: float(v) for k, v in self._pairs(self.command("ZRANGE", key, 0, -1, "WITHSCORES")).items()}
        if kind == b"list":
            return [text(value) for value in self.command("LRANGE", key, 0, -1)]
        return text(self.command("GET", key)) if kind == b"string" else None

    def ttl(self, name: str) -> int:
        """Return the milliseconds a key still lives; -1 for ever, -2 if it is gone."""
        return int(self.command("PTTL", self.keys.prefix + name))

    def counters(self) -> dict[str, int]:
        """Read the counters."""
        meta = self.read("meta") or {}
        return {name: int(meta[name]) for name in queues.COUNTERS if name in meta}

    def claim(self, count: int = 10, *, suspects: int = 0, worker: str = "w") -> list[tuple[str, str]]:
        """Claim jobs; returns (id, delivery)."""
        reply = self.run(work.step(self.keys, worker, work.StepRequest(count=count, suspects=suspects)))
        return claims_of(reply)

    def close(self) -> None:
        """Remove what the test wrote, and the connection."""
        for name in self._names():
            self.command("DEL", self.keys.prefix + name)
        self.command("DEL", self.keys.key(CLOCK))
        self.link.close()

    def _names(self) -> list[str]:
        pattern = self.keys.prefix.replace("{", "[{]") + "*"
        found = sorted(text(key)[len(self.keys.prefix) :] for key in self.command("KEYS", pattern))
        return [name for name in found if name != CLOCK]

    def _pairs(self, flat: list[bytes]) -> dict[str, str]:
        return {text(flat[i]): text(flat[i + 1]) for i in range(0, len(flat), 2)}


def claims_of(reply: work.StepReply) -> list[tuple[str, str]]:
    """Return (id, delivery) of each job that a step handed out."""
    claims = reply.claims
    return [(text(claims[i]), text(claims[i + 1]).partition(";")[0]) for i in range(0, len(claims), 3)]


def commands_of(kit: Kit, call: Call[Any]) -> int:
    """Run a call as it is shipped, by its hash; return how many commands the script ran."""
    kit.command("SCRIPT", "LOAD", call.script.source)
    kit.command("CONFIG", "RESETSTAT")
    kit.seq += 1
    kit.link.run_script(call, kit.session, kit.seq)
    lines = kit.command("INFO", "commandstats").decode().splitlines()
    calls = {line.partition(":")[0]: int(line.split("calls=")[1].split(",")[0]) for line in lines if "calls=" in line}
    return sum(n for name, n in calls.items() if name not in {"cmdstat_evalsha", "cmdstat_config|resetstat"})
