"""Actors: each does what it is told, one thing at a time, and says how that went.

``python actor.py KIND URL NAMESPACE`` reads requests and writes replies, one JSON object a line. Kinds: ``thread``,
``gevent`` (the same threads, patched into greenlets) and ``asyncio`` (tasks of one loop, by ``.aio``).

A request is ``{id, actor, thing: [class, name, options], call, args, kwargs}``; its reply ``{id, value}`` or
``{id, error, bases, message}``. ``{id, ask: "parked", actor}`` is answered at once: whether it waits for a signal.
"""

from __future__ import annotations

import json
import sys

if __name__ == "__main__" and sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()

import asyncio
import builtins
import contextlib
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from taskq import TaskQ

PATIENCE = 20.0  # seconds to subscribe
Request = dict[str, Any]
Reply = dict[str, Any]


class Host:
    """The actors of one process. They share one app, as the threads of a program do."""

    def __init__(self, url: str, namespace: str, reply: Callable[[Reply], None]) -> None:
        self.app = TaskQ("actor", url, namespace)
        self.reply = reply
        self._things: dict[str, Any] = {}

    def warm(self) -> None:
        """Subscribe, so that whoever waits later waits for a signal and nothing else."""
        listener = self.app._listener
        listener.start()
        deadline = time.monotonic() + PATIENCE
        while listener.epoch is None:
            assert time.monotonic() < deadline, "no subscription"
            time.sleep(0.002)

    def thing(self, name: list[Any]) -> Any:
        key = json.dumps(name)
        if key not in self._things:
            kind, own_name, options = name
            self._things[key] = getattr(self.app, kind)(
                own_name, **{key: self.value(each) for key, each in options.items()}
            )
        return self._things[key]

    def value(self, sent: Any) -> Any:
        """Return an argument; ``{"$call": [thing, method]}`` and ``{"$raise": class}`` are functions that do that."""
        if isinstance(sent, dict) and "$tuple" in sent:
            return tuple(sent["$tuple"])
        if isinstance(sent, dict) and "$call" in sent:
            thing, method = sent["$call"]
            return lambda: getattr(self.thing(thing), method)()  # noqa: PLW0108 (looked up when it is called)
        if isinstance(sent, dict) and "$raise" in sent:
            return lambda: _raise(sent["$raise"])
        return sent

    def arguments(self, request: Request) -> tuple[list[Any], dict[str, Any]]:
        args = [self.value(each) for each in request.get("args", [])]
        return args, {key: self.value(each) for key, each in request.get("kwargs", {}).items()}

    def ended(self, request: Request, value: Any = None, error: BaseException | None = None) -> None:
        if error is None:
            if not isinstance(value, int | float | str | list | tuple | None):
                value = repr(value)
            self.reply({"id": request["id"], "value": value})
        else:
            bases = [each.__name__ for each in type(error).__mro__]
            self.reply({"id": request["id"], "error": bases[0], "bases": bases, "message": str(error)})


class ThreadHost(Host):
    """Actors that are threads, or greenlets where threading is patched."""

    def __init__(self, url: str, namespace: str, reply: Callable[[Reply], None]) -> None:
        super().__init__(url, namespace, reply)
        self._inboxes: dict[int, queue.Queue[Request | None]] = {}
        self._stacks: dict[int, Callable[[], Any]] = {}
        self._threads: list[threading.Thread] = []
        self.warm()

    def receive(self, request: Request) -> None:
        actor = request["actor"]
        if request.get("ask") == "parked":
            self.ended(request, self._parked(actor))
            return
        if actor not in self._inboxes:
            self._inboxes[actor] = queue.Queue()
            thread = threading.Thread(target=self._serve, args=(actor,), name=f"actor-{actor}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._inboxes[actor].put(request)

    def close(self) -> None:
        for inbox in self._inboxes.values():
            inbox.put(None)
        for thread in self._threads:
            thread.join(1)
        self.app.close()

    def _serve(self, actor: int) -> None:
        self._stacks[actor] = _own_stack()
        while (request := self._inboxes[actor].get()) is not None:
            try:
                value = self._perform(request)
            except BaseException as error:
                self.ended(request, error=error)
            else:
                self.ended(request, value)

    def _perform(self, request: Request) -> Any:
        thing, call = self.thing(request["thing"]), request["call"]
        args, kwargs = self.arguments(request)
        if call == "with":
            with thing:
                return _run_body(thing, args, kwargs)
        if call == "read":
            return getattr(thing, *args)
        return getattr(thing, call)(*args, **kwargs)

    def _parked(self, actor: int) -> bool:
        stack = self._stacks.get(actor)
        frame = stack() if stack is not None else None
        while frame is not None:
            if frame.f_code.co_name == "heard":
                return True
            frame = frame.f_back
        return False


class AsyncHost(Host):
    """Actors that are tasks of one event loop."""

    def __init__(self, url: str, namespace: str, reply: Callable[[Reply], None]) -> None:
        super().__init__(url, namespace, reply)
        self._inboxes: dict[int, asyncio.Queue[Request]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.warm()

    def receive(self, request: Request) -> None:
        actor = request["actor"]
        if request.get("ask") == "parked":
            self.ended(request, any(name == "heard" for name in self._awaited(actor)))
            return
        if actor not in self._inboxes:
            self._inboxes[actor] = asyncio.Queue()
            self._tasks[actor] = asyncio.ensure_future(self._serve(actor))
        self._inboxes[actor].put_nowait(request)

    async def _serve(self, actor: int) -> None:
        while True:
            request = await self._inboxes[actor].get()
            try:
                value = await self._perform(request)
            except Exception as error:
                self.ended(request, error=error)
            else:
                self.ended(request, value)

    async def _perform(self, request: Request) -> Any:
        thing, call = self.thing(request["thing"]), request["call"]
        args, kwargs = self.arguments(request)
        if call == "with":
            async with thing:
                return _run_body(thing, args, kwargs)
        if call == "read":
            return getattr(thing, *args)
        method = getattr(thing.aio, call, None)
        return await method(*args, **kwargs) if method is not None else getattr(thing, call)(*args, **kwargs)

    def _awaited(self, actor: int) -> Iterator[str]:
        task = self._tasks.get(actor)
        coroutine: Any = task.get_coro() if task is not None else None
        while coroutine is not None:
            if hasattr(coroutine, "cr_code"):
                yield coroutine.cr_code.co_name
            coroutine = getattr(coroutine, "cr_await", None)


def _own_stack() -> Callable[[], Any]:
    """Return what returns the frame at which the calling thread, or greenlet, is."""
    patching = sys.modules.get("gevent.monkey")
    if patching is not None and patching.is_module_patched("threading"):
        from greenlet import getcurrent

        mine = getcurrent()
        return lambda: mine.gr_frame
    number = threading.get_ident()
    return lambda: sys._current_frames().get(number)


def _run_body(thing: Any, calls: list[list[Any]], options: dict[str, Any]) -> list[Any]:
    """Do what stands in a with-block: calls of the same thing, then perhaps an error."""
    values = [getattr(thing, call)(*args) if call != "read" else getattr(thing, *args) for call, *args in calls]
    if "error" in options:
        _raise(options["error"])
    return values


def _raise(name: str) -> None:
    raise getattr(builtins, name)("as told")


def main() -> None:
    kind, url, namespace = sys.argv[1:]
    lock = threading.Lock()

    def reply(message: Reply) -> None:
        with lock, contextlib.suppress(BrokenPipeError):
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()

    if kind == "asyncio":
        asyncio.run(_serve_loop(url, namespace, reply))
        return
    lines: Any = sys.stdin
    if kind == "gevent":
        from gevent.fileobject import FileObject

        lines = FileObject(sys.stdin.buffer, "r")
    host = ThreadHost(url, namespace, reply)
    reply({"id": 0, "value": "ready"})
    for line in lines:
        host.receive(json.loads(line))
    host.close()


async def _serve_loop(url: str, namespace: str, reply: Callable[[Reply], None]) -> None:
    host = AsyncHost(url, namespace, reply)
    loop = asyncio.get_running_loop()
    reply({"id": 0, "value": "ready"})
    for _ in itertools.count():
        line = await loop.run_in_executor(None, sys.stdin.readline)
        if not line:
            break
        host.receive(json.loads(line))
    for task in host._tasks.values():
        task.cancel()
    await asyncio.gather(*host._tasks.values(), return_exceptions=True)
    host.app.close()


if __name__ == "__main__":
    main()
