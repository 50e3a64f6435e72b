"""What a server's own words mean for the jobs on it: the judging half of the doctor, without any I/O."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from taskq.broker.address import Address
from taskq.broker.keys import SCHEMA
from taskq.errors import shorten

Version = tuple[int, int, int]

MINIMUM: Mapping[str, Version] = {"redis": (7, 0, 0), "valkey": (7, 2, 0)}  # script flags such as allow-oom
MAX_CLOCK_DIFFERENCE = 2.0  # seconds; an expiry or eta of the app's clock is off by as much
MAX_NAMED = 3  # keys or queues in one message

# The first patch of each release line with the fixes of October 2025 in the Lua engine: CVE-2025-49844 (code
# execution), -46817, -46818, -46819. A line between these has none from its makers; later lines began with them.
LUA_FIXES: Mapping[str, Mapping[tuple[int, int], int]] = {
    "redis": {(7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2},
    "valkey": {(7, 2): 11, (8, 0): 6, (8, 1): 4},
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, in one line; ``name`` is the check's, for scripts that read the findings."""

    level: Literal["ok", "warn", "refuse"]
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server said of itself.

    Attributes:
        address: where it is.
        info: the fields of INFO; empty where the right to it is missing.
        clock_ahead: seconds by which its clock is ahead of this machine's.
        snapshots: whether it is configured to take any; None where the right to CONFIG GET is missing.
        masters: of the cluster that it is part of; 1 without one.
        scripts_denied: what it answered to our scripts; empty if it runs them.
        schemas: queue to the schema in its settings, for queues that have any.
        types: key to the type it holds, for our keys that exist; None where the right to TYPE is missing.
        expected: key to the type that we keep there.
    """

    address: Address
    info: Mapping[str, str]
    clock_ahead: float = 0.0
    snapshots: bool | None = None
    masters: int = 1
    scripts_denied: str = ""
    schemas: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, str] | None = field(default_factory=dict)
    expected: Mapping[str, str] = field(default_factory=dict)


def check(facts: Facts) -> list[Finding]:
    """Judge what a server said, in a fixed order."""
    if facts.info.get("server_mode", facts.info.get("redis_mode")) == "sentinel":
        text = f"{facts.address} is a Sentinel, which keeps no data; give its master's url"
        return [Finding("refuse", "role", text)]
    found = [*_server(facts)] if facts.info else [_unknown("server", "INFO", "its version, role and memory policy")]
    found += [_clock(facts), *_access(facts), _scripts(facts), _schema(facts), _keys(facts)]
    return found


def _server(facts: Facts) -> Iterator[Finding]:
    product, version = _product(facts.info)
    yield _version(facts, product, version)
    if version is not None:
        yield _lua(product, version)
    yield _role(facts)
    yield _policy(facts)
    yield from _limit(facts)
    yield from _persistence(facts)


def _unknown(name: str, command: str, what: str) -> Finding:
    return Finding("warn", name, f"the server's user has no right to {command}, so {what} cannot be checked")


def _product(info: Mapping[str, str]) -> tuple[str, Version | None]:
    product = "valkey" if "valkey_version" in info else "redis"  # Valkey says a redis_version too, its compatible one
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", info.get(f"{product}_version", ""))
    return product, (int(match[1]), int(match[2]), int(match[3])) if match else None


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))


def _version(facts: Facts, product: str, version: Version | None) -> Finding:
    wanted = "Redis >= 7.0 or Valkey >= 7.2"
    if version is None:
        return Finding("refuse", "version", f"server {facts.address} tells no version; {wanted} is needed")
    text = f"server {facts.address} is {product} {_dotted(version)}"
    if version < MINIMUM[product]:
        return Finding("refuse", "version", f"{text}; {wanted} is needed")
    return Finding("ok", "version", text)


def _lua(product: str, version: Version) -> Finding:
    fixes = LUA_FIXES[product]
    line, text = version[:2], f"{product} {_dotted(version)}"
    fixed = version[2] >= fixes[line] if line in fixes else line > max(fixes)
    if fixed:
        return Finding("ok", "security", f"{text} has the fixes of October 2025 in the Lua engine")
    way_out = f"upgrade to {line[0]}.{line[1]}.{fixes[line]} or later" if line in fixes else "upgrade to a later line"
    return Finding(
        "warn",
        "security",
        f"{text} as its makers released it can run an attacker's code through a script (CVE-2025-49844); {way_out}, "
        "unless its distributor has fixed this build",
    )


def _role(facts: Facts) -> Finding:
    if facts.info.get("role") != "master":
        host, port = facts.info.get("master_host", "?"), facts.info.get("master_port", "?")
        shown = shorten(f"{host}:{port}")
        return Finding(
            "refuse", "role", f"server {facts.address} is a replica, not a master; give its master's: {shown}"
        )
    if facts.masters > 1:
        text = f"server {facts.address} is one of {facts.masters} masters of a cluster, which is not supported yet"
        return Finding("refuse", "role", f"{text}; give a server of its own")
    return Finding("ok", "role", "it is a master")


def _policy(facts: Facts) -> Finding:
    policy = facts.info.get("maxmemory_policy", "")
    if policy == "noeviction":
        return Finding("ok", "memory-policy", "it refuses writes rather than evict jobs when its memory is full")
    if not policy:
        return Finding("warn", "memory-policy", "the server does not tell its maxmemory-policy; it must be noeviction")
    if policy.startswith("volatile-"):
        text = f"maxmemory-policy is {policy}: results may be evicted when the memory is full; set it to noeviction"
        return Finding("warn", "memory-policy", text)
    text = f"maxmemory-policy is {shorten(policy)}: jobs would be evicted when the memory is full; set it to noeviction"
    return Finding("refuse", "memory-policy", text)


def _limit(facts: Facts) -> Iterator[Finding]:
    limit = facts.info.get("maxmemory", "")
    if limit.isdigit() and int(limit):
        yield Finding("ok", "memory-limit", f"maxmemory is {int(limit) // 2**20} MiB")
    elif limit == "0":
        text = "maxmemory is 0: the server grows until the system kills it; set it below the machine's memory"
        yield Finding("warn", "memory-limit", text)


def _persistence(facts: Facts) -> Iterator[Finding]:
    if facts.info.get("aof_enabled") == "1":
        yield Finding("ok", "persistence", "the append-only file is on")
        return
    kept = "since the last snapshot" if facts.snapshots else "whatever no snapshot holds"
    kept = "all of them" if facts.snapshots is False else kept
    text = f"the append-only file is off: a crash of the server loses jobs, {kept}; set appendonly to yes"
    yield Finding("warn", "persistence", text)
    replicas = facts.info.get("connected_slaves", "0")
    if replicas != "0" and not facts.snapshots:
        unless = "" if facts.snapshots is False else " unless it takes snapshots"
        text = f"{shorten(replicas)} replicas follow a server without persistence: its restart empties them too{unless}"
        yield Finding("warn", "replicas", text)


def _clock(facts: Facts) -> Finding:
    ahead = facts.clock_ahead
    if abs(ahead) > MAX_CLOCK_DIFFERENCE:
        way = "ahead of" if ahead > 0 else "behind"
        text = (
            f"the server's clock is {abs(ahead):.1f} s {way} this machine's: etas are off by as much; run NTP on both"
        )
        return Finding("warn", "clock", text)
    return Finding("ok", "clock", f"its clock and this machine's agree within {MAX_CLOCK_DIFFERENCE:g} s")


def is_local(address: Address) -> bool:
    """Tell whether nobody but this machine can listen in."""
    if address.scheme == "unix" or address.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return False


def _access(facts: Facts) -> Iterator[Finding]:
    if is_local(facts.address):
        yield Finding("ok", "access", "it is on this machine")
        return
    if facts.address.password is None:
        text = f"server {facts.address} asks for no password: whoever reaches it can run code there; set requirepass"
        yield Finding("warn", "password", text)
    if facts.address.scheme != "rediss":
        text = f"jobs and password go to {facts.address} in plain text; use rediss:// unless the network is private"
        yield Finding("warn", "encryption", text)
    options = dict(facts.address.options)
    if options.get("ssl_cert_reqs", "required") != "required" or not options.get("ssl_check_hostname", True):
        text = "the url turns the check of the server's certificate off: whoever is in between reads and changes all"
        yield Finding("warn", "certificate", f"{text}; leave ssl_cert_reqs and ssl_check_hostname out")


def _scripts(facts: Facts) -> Finding:
    if facts.scripts_denied:
        return Finding("refuse", "scripts", facts.scripts_denied)
    return Finding("ok", "scripts", "it runs our scripts")


def _schema(facts: Facts) -> Finding:
    newer = {queue: text for queue, text in facts.schemas.items() if not text.isdigit() or int(text) > SCHEMA}
    if newer:
        named = ", ".join(f"{queue} has schema {shorten(text)}" for queue, text in list(newer.items())[:MAX_NAMED])
        text = f"queues were written by a newer taskq: {named}; this one knows {SCHEMA}; upgrade it"
        return Finding("refuse", "schema", text)
    return Finding("ok", "schema", f"no queue was written by a newer taskq ({_count(len(facts.schemas))} looked at)")


def _count(number: int) -> str:
    return "1 queue" if number == 1 else f"{number} queues"


def _keys(facts: Facts) -> Finding:
    if facts.types is None:
        return _unknown("keys", "TYPE", "what our keys hold")
    wrong = [(key, kind) for key, kind in facts.types.items() if kind != facts.expected.get(key)]
    if not wrong:
        return Finding("ok", "keys", "our keys hold what they should")
    named = ", ".join(f"{key} is a {shorten(kind)[1:-1]}, no {facts.expected[key]}" for key, kind in wrong[:MAX_NAMED])
    more = f" and {len(wrong) - MAX_NAMED} more" if len(wrong) > MAX_NAMED else ""
    text = f"keys of taskq hold another type: {named}{more}; they were written by hand: rename or delete them"
    return Finding("refuse", "keys", text)
