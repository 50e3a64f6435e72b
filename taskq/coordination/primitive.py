"""What all primitives share: a name that is the same thing everywhere, and who it is that holds one."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from taskq.broker.keys import QueueKeys
from taskq.client.operation import Operation, aperform, perform
from taskq.model.discipline import check_name

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.client.listener import Listener

T = TypeVar("T")


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


def current_owner() -> Any:
    """Return who is calling: the running asyncio task, else the thread or greenlet by its number."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        loop = asyncio._get_running_loop()
        if loop is not None:
            return asyncio.current_task(loop) or loop
    return threading.get_ident()
