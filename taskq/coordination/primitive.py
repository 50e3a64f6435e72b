"""What all primitives share: a name that is the same thing everywhere, and who it is that holds one."""

from __future__ import annotations

import logging
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from taskq.broker.call import Call, Command
from taskq.broker.keys import QueueKeys
from taskq.client.operation import Operation, aperform, perform
from taskq.errors import TaskqError
from taskq.model.discipline import check_name

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.client.listener import Listener

T = TypeVar("T")
TIDYING: Final = 1.0  # seconds; an answer takes milliseconds, or the server is away and all runs out by itself

logger = logging.getLogger(__name__)


class Primitive:
    """Named by kind and name, in all processes of the app's namespace. Making one sends nothing.

    Attributes:
        name: 1 to 100 letters, digits, '.', '_' or '-'.
    """

    kind: ClassVar[str]

    def __init__(self, app: TaskQ, name: str) -> None:
        self._app = app
        self.name = check_name(name, self.kind)
        self._keys = QueueKeys(app.settings.namespace, f"{self.kind}:{name}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def _is_like(self, other: Primitive) -> bool:
        """Tell whether ``other`` of the same name was made with the same arguments."""
        return repr(self) == repr(other)

    @property
    def _listener(self) -> Listener:
        return self._app._listener

    def _perform(self, operation: Operation[T]) -> T:
        return perform(operation, self._app.broker)

    async def _aperform(self, operation: Operation[T]) -> T:
        return await aperform(operation, self._app.broker)


def brief(call: Call[T]) -> Call[T]:
    """Return ``call`` as one that nobody who is on the way out has to wait for."""
    return replace(call, deadline=TIDYING)


def within(call: Call[T], deadline: float | None) -> Call[T]:
    """Return ``call`` as one that a wait until ``deadline``, in monotonic seconds, need not outlast for long."""
    return call if deadline is None else replace(call, deadline=max(TIDYING, deadline - time.monotonic()))


def tidied(call: Call[Any] | Command[Any]) -> Operation[bool]:
    """Have a call done that leaves nothing behind at the server; answers whether it was done.

    However it ends, the caller goes on with what it was about to return or raise: what it leaves at a server that is
    away runs out by itself.
    """
    try:
        yield replace(call, deadline=TIDYING)
    except TaskqError as error:
        logger.info("something was left to run out by itself: %s", error, extra={"action": "not_tidied"})
        return False
    return True


def current_owner() -> Any:
    """Return who is calling: the running asyncio task, else the thread or greenlet by its number."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        loop = asyncio._get_running_loop()
        if loop is not None:
            return asyncio.current_task(loop) or loop
    return threading.get_ident()
