"""TaskQ: an application's tasks, queues and connection."""

from __future__ import annotations

import difflib
import inspect
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    ParamSpec,
    Self,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

from taskq import config
from taskq.broker import jobs, results
from taskq.broker.address import parse_url
from taskq.broker.keys import check_namespace
from taskq.client import queues as kinds
from taskq.client import result as handles
from taskq.client.hooks import Hooks
from taskq.client.keeper import Keeper
from taskq.client.naming import default_name, is_same_function
from taskq.client.operating import OperatesJobs
from taskq.client.operation import Operation, perform
from taskq.client.options import CallKeywords, TaskKeywords, check_task_options
from taskq.client.sending import Sender
from taskq.client.task import BoundTaskDecorator, CoroutineTask, Task, TaskDecorator
from taskq.coordination.making import MakesPrimitives
from taskq.errors import (
    DuplicateTask,
    InvalidJobId,
    InvalidPriority,
    InvalidTask,
    InvalidURL,
    QueueConflict,
    UnknownOrExpired,
    UnknownTask,
    shorten,
)
from taskq.model.discipline import Discipline, QueueSpec, check_queue_name
from taskq.model.job import IdGenerator, split_id
from taskq.model.serializer import Serializers
from taskq.model.signature import Signature, check_task, plain_signature
from taskq.model.signing import Signer

if TYPE_CHECKING:
    from taskq.broker.broker import Broker
    from taskq.client import executor as executors
    from taskq.client.aio import AioApp
    from taskq.client.listener import Listener
    from taskq.coordination.primitive import Primitive
    from taskq.model.serializer import Codec

P = ParamSpec("P")
R = TypeVar("R")
_Q = TypeVar("_Q", bound=kinds.Queue)
DEFAULT_QUEUE: Final = "default"


class AppOptions(TypedDict, total=False):
    """Settings that may be given to an app; see ``config.Settings`` for their meaning, units and defaults."""

    serializer: str
    allow_pickle: bool
    result_ttl: float
    max_body: int
    max_result: int
    exceptions: tuple[type[Exception], ...]
    call_deadline: float
    heartbeat: float
    lease: float
    signing_key: str | Sequence[str]
    require_signed: bool


class TaskQ(MakesPrimitives, OperatesJobs):
    """An application. Making one connects to nothing; the first use does.

    Any thread and any event loop may use it, and so may a forked child.

    Attributes:
        name: for people; only the namespace enters keys.
        settings: what it was told, and where each setting came from.
        tasks: its tasks by name.
        queues: the queues it declares, by name.
        hooks: where own code may look on.
        default_queue: the name of the queue of tasks that say nothing else.
    """

    def __init__(
        self, name: str, url: str | None = None, namespace: str | None = None, **options: Unpack[AppOptions]
    ) -> None:
        """Make an app.

        Args:
            name: for people.
            url: ``redis://``, ``rediss://`` or ``unix://``; from ``TASKQ_URL`` or pyproject.toml where None, and if
                nothing is there either, the embedded server.
            namespace: first part of every key; ``taskq`` where nothing is said anywhere.
            options: see ``config.Settings``.

        Raises:
            ConfigError: settings cannot be used; one message lists all problems.
            InvalidTimeout: if all problems are about times.
            InvalidURL: the url is empty, malformed or of a kind that is not supported.
        """
        if isinstance(url, str) and not url.strip():  # a forgotten setting must not mean a server of one's own
            raise InvalidURL("url '' is empty; give one such as redis://host:6379/0, or leave it out")
        given: dict[str, Any] = {"url": url, **options}
        if namespace is not None:
            given["namespace"] = namespace
        self.settings = config.resolve(name, given)
        self.name = self.settings.name
        check_namespace(self.settings.namespace)
        self._address = parse_url(self.settings.url) if self.settings.url else None
        self._signer = Signer.of(
            self.settings.namespace, self.settings.signing_key, required=self.settings.require_signed
        )
        self._serializers = Serializers(allow_pickle=self.settings.allow_pickle)
        self._serializers.check(self.settings.serializer)
        self.tasks: dict[str, Task[..., Any]] = {}
        self.queues: dict[str, kinds.Queue] = {}
        self._primitives: weakref.WeakValueDictionary[tuple[type, str], Primitive] = weakref.WeakValueDictionary()
        self.hooks = Hooks()
        self.default_queue = DEFAULT_QUEUE
        self._new_id = IdGenerator()
        self._current: Sender | None = None
        self._make_keeper: Callable[[Broker], Keeper] = Keeper  # a worker's children have their supervisor keep
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} with {len(self.tasks)} tasks>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- tasks --------------------------------------------------------------------------------------------------------

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(self, /, *, bind: Literal[True], **options: Unpack[TaskKeywords]) -> BoundTaskDecorator: ...
    @overload
    def task(self, /, *, bind: Literal[False] = False, **options: Unpack[TaskKeywords]) -> TaskDecorator: ...
    def task(self, function: Any = None, /, **options: Any) -> Any:
        """Register a function as a task, as ``@app.task`` or ``@app.task(queue=...)``.

        Args:
            function: what is decorated.
            options: see ``TaskKeywords``.

        Raises:
            InvalidTask: it cannot be run as a task.
            InvalidOption, InvalidPriority, InvalidQueueName: an option is unknown or cannot be used.
            DuplicateTask: another function has that name.
        """
        checked = check_task_options(options)

        def register(decorated: Any) -> Any:
            check_task(decorated)
            name = checked.name or default_name(decorated, self.name)
            signature = Signature.of(decorated, name=name, skip_first=checked.bind, forms=self._forms)
            kind = CoroutineTask if inspect.iscoroutinefunction(inspect.unwrap(decorated)) else Task
            made: Task[..., Any] = kind(self, decorated, name, checked, signature)
            self._check_rank(made.queue, made.priority)
            return self._register(made)

        if function is None:
            return register
        if isinstance(function, str | kinds.Queue):
            raise InvalidTask(
                f"task({shorten(function)}): options go by name, such as task(name=...) or task(queue=...)"
            )
        return register(function)

    def _register(self, made: Task[..., Any]) -> Task[..., Any]:
        other = self.tasks.get(made.name)
        if other is not None and not is_same_function(other.function, made.function):
            raise DuplicateTask(
                f"task {made.name!r} is {_where(other.function)} and {_where(made.function)}; give one of them name="
            )
        self.tasks[made.name] = made
        return made

    def send_task(
        self,
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        send_by_name: bool = False,
        **options: Unpack[CallKeywords],
    ) -> handles.AsyncResult[Any]:
        """Make a job of a task by its name.

        Args:
            name: of the task.
            args: positional arguments.
            kwargs: keyword arguments.
            send_by_name: the task may be one that only workers know; its arguments are then not checked here.
            options: see ``CallKeywords``.

        Raises:
            UnknownTask: no task of this name is registered here, and ``send_by_name`` was not said.
            TaskqError: as ``Task.apply_async``.
        """
        return self._task_named(name, send_by_name).apply_async(args, kwargs, **options)

    def _task_named(self, name: str, unchecked: bool) -> Task[..., Any]:
        task = self.tasks.get(name)
        if task is not None:
            return task
        if not unchecked:
            near = difflib.get_close_matches(str(name), self.tasks, 1)
            hint = f"did you mean {near[0]!r}?" if near else "import its module, or say send_by_name=True"
            raise UnknownTask(f"task {shorten(name)} is not registered with app {self.name!r}; {hint}")

        def elsewhere(*_: object, **__: object) -> None:
            raise UnknownTask(f"task {name!r} is known by name only and cannot run here")

        return Task(self, elsewhere, name, check_task_options({"name": name}), plain_signature(name, self._forms))

    # -- queues -------------------------------------------------------------------------------------------------------

    def Queue(self, name: str, maxsize: int = 0) -> kinds.Queue:  # noqa: N802 (as in the standard library)
        """Return the first-in-first-out queue of that name.

        Args:
            name: 1 to 100 letters, digits, '.', '_' or '-'.
            maxsize: bound on ready and delayed jobs; 0 for none.

        Raises:
            QueueConflict: this app declares the name otherwise.
            InvalidQueueName, InvalidOption: name or bound cannot be used.
        """
        return self._declare(kinds.Queue(self, name, maxsize))

    def LifoQueue(self, name: str, maxsize: int = 0) -> kinds.LifoQueue:  # noqa: N802
        """Return the last-in-first-out queue of that name; see ``Queue``."""
        return self._declare(kinds.LifoQueue(self, name, maxsize))

    def PriorityQueue(self, name: str, maxsize: int = 0) -> kinds.PriorityQueue:  # noqa: N802
        """Return the priority queue of that name; see ``Queue``."""
        return self._declare(kinds.PriorityQueue(self, name, maxsize))

    def _declare(self, queue: _Q) -> _Q:
        known = self.queues.setdefault(queue.name, queue)
        if type(known) is not type(queue) or known.maxsize != queue.maxsize:
            raise QueueConflict(
                f"{queue!r}: app {self.name!r} declares {known!r}; keep one of them, or use another name"
            )
        return known

    def _queue_name(self, queue: object) -> str:
        """Return the name of a queue given by name or as an object, which is then this app's too."""
        if not isinstance(queue, kinds.Queue):
            return check_queue_name(queue)
        if queue._app is not self:
            self._declare(type(queue)(self, queue.name, queue.maxsize))
        return queue.name

    def _spec_of(self, queue: str) -> QueueSpec | None:
        known = self.queues.get(queue)
        return known.spec if known is not None else None

    def _check_rank(self, queue: str, priority: float | None) -> None:
        """Refuse a priority where this app knows that the queue has none; where it does not, sending finds out."""
        known = self.queues.get(queue)
        if priority is not None and known is not None and known.discipline is not Discipline.PRIORITY:
            raise InvalidPriority(f"priority {priority:g} on {known!r}: only priority queues have priorities")

    # -- calls as futures ----------------------------------------------------------------------------------------------

    def Executor(self, queue: str | kinds.Queue | None = None) -> executors.Executor:  # noqa: N802
        """Return a ``concurrent.futures.Executor`` whose calls are jobs.

        Args:
            queue: where all of them go; else where each task says.

        Raises:
            InvalidQueueName, QueueConflict: the queue cannot be used.
        """
        from taskq.client.executor import Executor

        return Executor(self, queue)

    # -- results ------------------------------------------------------------------------------------------------------

    def AsyncResult(self, job_id: str) -> handles.AsyncResult[Any]:  # noqa: N802 (the name of what it makes)
        """Return the handle of a job by its id.

        Args:
            job_id: ``queue/unique``; of the bare unique part the queue is looked up.

        Raises:
            InvalidJobId: it is no id, or a bare one that several queues have.
            UnknownOrExpired: no queue knows the bare id.
        """
        queue, unique = split_id(job_id)
        if queue:
            return handles.AsyncResult(self, queue, unique)
        return perform(self._find_result(job_id), self.broker)

    def _find_result(self, job_id: str) -> Operation[handles.AsyncResult[Any]]:
        queue, unique = split_id(job_id)
        if queue:
            return handles.AsyncResult(self, queue, unique)
        broker, found = self.broker, []
        for name in (yield jobs.queue_names(self.settings.namespace)):
            keys = broker.keys(name)
            if (yield results.exists(keys, unique)) or (yield jobs.result(keys, unique)) is not None:
                found.append(name)
        if not found:
            raise UnknownOrExpired(
                f"job {shorten(unique)} is in no queue, and no result has this id; give queue/unique"
            )
        if len(found) > 1:
            raise InvalidJobId(f"job id {shorten(unique)} is in the queues {', '.join(found)}; give queue/unique")
        return handles.AsyncResult(self, found[0], unique)

    # -- the connection -----------------------------------------------------------------------------------------------

    @property
    def aio(self) -> AioApp:
        """The same methods as coroutines."""
        from taskq.client.aio import AioApp

        return AioApp(self)

    @property
    def broker(self) -> Broker:
        """The face to Redis; the embedded server is started here if nothing else is configured."""
        return self._sender.broker

    @property
    def _listener(self) -> Listener:
        return self._sender.listener

    @property
    def _sender(self) -> Sender:
        sender = self._current
        if sender is None or sender.pid != os.getpid():
            return self._connect()
        return sender

    def _connect(self) -> Sender:
        from taskq.broker.broker import Broker

        if self._pid != os.getpid():  # a fork: the lock may have been held by a thread that is not here
            self._pid, self._lock = os.getpid(), threading.Lock()
        with self._lock:
            sender = self._current
            if sender is None or sender.pid != os.getpid():
                settings = self.settings
                broker = Broker(self._find_address(), settings.namespace, deadline=settings.call_deadline)
                broker.signer = self._signer
                sender = self._current = Sender(broker, self.name, self._spec_of, self._make_keeper(broker))
            return sender

    def _find_address(self) -> Any:
        if self._address is not None:
            return self._address
        from taskq import embedded

        return embedded.address()

    def close(self) -> None:
        """Close connections and end threads of this process; the next use connects again.

        Handles get no more news. What is held of locks and the like is lost to this process, and free after its lease.
        """
        sender, self._current = self._current, None
        if sender is not None and sender.pid == os.getpid():
            sender.keeper.close()
            sender.listener.close()
            sender.broker.close()

    def _codec(self, serializer: str | None) -> Codec:
        name = self.settings.serializer if serializer is None else serializer
        return self._serializers.codec(self._serializers.check(name))


def _where(function: Any) -> str:
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    place = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    return f"{getattr(function, '__qualname__', shorten(function))}{place}"
