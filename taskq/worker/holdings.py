"""What jobs hold under leases: renewed by the supervisor, which no job keeps busy, and freed when their child dies."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from taskq.broker import barriers, items, permits
from taskq.broker.keys import QueueKeys
from taskq.client.keeper import Keeper, Kept, Kind, use_up
from taskq.errors import TaskqError
from taskq.worker.protocol import Frame, Holding, Holdings, encode_frame

if TYPE_CHECKING:
    from taskq.broker.broker import Broker
    from taskq.broker.call import Call
    from taskq.worker.link import Link

FREEING = 5.0  # seconds for which freeing what a dead child held is tried; then its leases run out

logger = logging.getLogger("taskq.worker")


class LinkedKeeper(Keeper):
    """The child's end: tells the supervisor what to keep, and hears from it what is lost."""

    def __init__(self, broker: Broker, link: Link) -> None:
        super().__init__(broker)
        self._link = link

    def keep(self, held: Kept) -> None:
        """See ``Keeper.keep``."""
        self._kept[held.address] = held
        holding = Holding(held.kind, held.tag, held.address, held.lease, held.limit)
        self._link.send(encode_frame(Frame.HOLDINGS, Holdings([holding], [])))

    def drop(self, held: Kept) -> None:
        """See ``Keeper.drop``."""
        if self._kept.pop(held.address, None) is not None:
            self._link.send(encode_frame(Frame.HOLDINGS, Holdings([], [held.address])))

    def lose(self, addresses: list[str]) -> None:
        """Take note of what the supervisor could not renew."""
        for address in addresses:
            held = self._kept.pop(address.removeprefix(permits.USED), None)
            if held is not None and address.startswith(permits.USED):
                use_up(held)
            elif held is not None:
                held.lose()

    def close(self) -> None:
        """See ``Keeper.close``; the supervisor's thread stays."""


class Keepers:
    """Has the keeper of one child's app; a process that a job forks has no supervisor, and keeps for itself."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._pid = os.getpid()
        self._made: LinkedKeeper | None = None

    def make(self, broker: Broker) -> Keeper:
        """Return a keeper for ``broker``; the same one after the app was closed, as the supervisor goes on."""
        if os.getpid() != self._pid:
            return Keeper(broker)
        if self._made is None:
            self._made = LinkedKeeper(broker, self._link)
        return self._made

    def lose(self, addresses: list[str]) -> None:
        """Take note of what the supervisor could not renew."""
        if self._made is not None:
            self._made.lose(addresses)


class Remote:
    """Something that a child holds, see ``Kept``."""

    __slots__ = ("_held", "_keys", "_tell", "address", "kind", "lease", "limit", "tag")

    def __init__(self, holding: Holding, keys: QueueKeys, tell: Callable[[str], None], held: dict[str, Remote]) -> None:
        self.kind = Kind(holding.kind)
        self.tag = holding.tag
        self.address = holding.address
        self.lease = holding.lease
        self.limit = holding.limit
        self._keys = keys
        self._tell = tell
        self._held = held  # by its child

    def __str__(self) -> str:
        return f"{self.kind} {self.address} of {self.tag!r}, held by a job,"

    @property
    def group(self) -> Hashable:
        """See ``Kept``."""
        return (self.kind, self.tag, self.lease)

    def renewal(self, addresses: Sequence[str]) -> Call[list[str]]:
        """See ``Kept``."""
        if self.kind is Kind.PERMIT:
            return permits.keep(self._keys, addresses, self.lease)
        if self.kind is Kind.CLAIM:
            return items.keep(self._keys, addresses, self.lease)
        return barriers.keep(self._keys, addresses, self.lease)

    def lose(self) -> None:
        """See ``Kept``."""
        self._tell(self.address)

    def use_up(self) -> None:
        """See ``Usable``."""
        self._held.pop(self.address, None)
        self._tell(permits.USED + self.address)

    def freeing(self) -> Call[Any]:
        """Return the call that frees it, or breaks what cannot go on without it."""
        if self.kind is Kind.PERMIT:
            return permits.give(self._keys, [self.address], limit=self.limit, lease=self.lease, dead=True)
        if self.kind is Kind.CLAIM:
            return items.end_claims(self._keys, [items.claim_of(self._keys, self.address)], back=True)
        return barriers.leave(self._keys, self.address, None, stays=False)


class Holder:
    """The supervisor's end: what each child holds.

    Args:
        broker: where the leases are.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._keeper = Keeper(broker)
        self._held: dict[int, dict[str, Remote]] = {}  # by the child's pid, then by address

    def take(self, pid: int, news: Holdings, tell: Callable[[str], None]) -> None:
        """Keep what a child holds from now on, and let go of what it gave back; ``tell`` is called for what is lost."""
        held = self._held.setdefault(pid, {})
        for holding in news.kept:
            remote = Remote(holding, QueueKeys(self._broker.namespace, holding.tag), tell, held)
            held[holding.address] = remote
            self._keeper.keep(remote)
        for address in news.dropped:
            dropped = held.pop(address, None)
            if dropped is not None:
                self._keeper.drop(dropped)

    def bury(self, pid: int) -> None:
        """Free what a dead child held; returns at once."""
        held = self._held.pop(pid, None)
        if not held:
            return
        remotes = list(held.values())  # the keeper's thread may take one out
        for remote in remotes:
            self._keeper.drop(remote)
        threading.Thread(target=self._free, args=(remotes,), name="taskq-freeing", daemon=True).start()

    def close(self) -> None:
        """End the thread."""
        for held in list(self._held.values()):
            for remote in list(held.values()):
                self._keeper.drop(remote)  # no child is left to be told
        self._keeper.close()

    def _free(self, held: list[Remote]) -> None:
        with self._broker.session() as session:
            for remote in held:
                try:
                    session.run(remote.freeing(), FREEING)
                except TaskqError as error:
                    logger.warning("%s is not freed: %s", remote, error, extra={"action": "not_freed"})
                else:
                    logger.info("%s is free: its child died", remote, extra={"action": "freed"})
