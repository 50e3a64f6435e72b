"""A kit for the machines, which look at everything after every rule: in one call; and what fsck says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from broker_kit import CLOCK, Kit, Snapshot, text

from taskq.broker import fsck

if TYPE_CHECKING:
    from taskq.broker.broker import Broker
    from taskq.broker.call import Call, Command

READ_ALL = """
local reads = {hash = {'HGETALL'}, zset = {'ZRANGE', 0, -1, 'WITHSCORES'}, list = {'LRANGE', 0, -1}, string = {'GET'}}
local found = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  local kind = redis.call('TYPE', key).ok
  local command = reads[kind]
  found[#found + 1] = {key, kind, redis.call(command[1], key, unpack(command, 2))}
end
return found
"""
DUMP_ALL = """
local found = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  found[#found + 1] = key
  found[#found + 1] = redis.call('DUMP', key)
end
return found
"""


class MachineKit(Kit):
    """A kit that reads all keys in one call."""

    def read_all(self) -> Snapshot:
        """Read every key but the clock: name after the prefix to content."""
        found = {}
        for key, kind, value in self.command("EVAL", READ_ALL, 0, self._pattern()):
            found[text(key)[len(self.keys.prefix) :]] = _content(kind, value)
        del found[CLOCK]
        return found

    def snapshot(self) -> Snapshot:
        return {name: content for name, content in self.read_all().items() if not name.startswith("s:")}

    def dumps(self) -> dict[bytes, bytes]:
        """Every key as the server would write it to disk, sessions included."""
        found = self.command("EVAL", DUMP_ALL, 0, self._pattern())
        return dict(zip(found[::2], found[1::2], strict=True))

    def _pattern(self) -> str:
        return self.keys.prefix.replace("{", "[{]") + "*"


def _content(kind: bytes, value: Any) -> Any:
    if kind == b"string":
        return text(value)
    texts = [text(part) for part in value]
    if kind == b"list":
        return texts
    pairs = dict(zip(texts[::2], texts[1::2], strict=True))
    return {member: float(score) for member, score in pairs.items()} if kind == b"zset" else pairs


class KitBroker:
    """The part of a broker that fsck uses, over a kit."""

    def __init__(self, kit: MachineKit) -> None:
        self._kit = kit
        self.namespace = kit.keys.namespace

    def run(self, call: Call[Any]) -> Any:
        return self._kit.run(call, session="fsck", seq=1)

    def read(self, command: Command[Any]) -> Any:
        return self._kit.link.run(command)


def check_by_fsck(kit: MachineKit, *, strict: bool = False) -> None:
    """Fail if fsck finds anything."""
    found = fsck.check(cast("Broker", KitBroker(kit)), strict=strict)
    assert not found, f"fsck: {found}"
