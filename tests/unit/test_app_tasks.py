"""What a function becomes when it is declared a task."""

from __future__ import annotations

import asyncio
import functools
import importlib
import subprocess
import sys

import pytest

from taskq import JobContext, TaskQ, current_job
from taskq.errors import (
    DuplicateTask,
    InvalidOption,
    InvalidPriority,
    InvalidQueueName,
    InvalidTask,
    QueueConflict,
)


@pytest.fixture
def app():
    return TaskQ("unit", "redis://127.0.0.1:1")


def plain(a: int, b: int = 0) -> int:
    """Add."""
    return a + b


def test_the_decorator_works_without_parentheses(app):
    task = app.task(plain)
    assert app.tasks == {f"{__name__}.plain": task}


def test_the_decorator_works_with_options(app):
    task = app.task(name="sum", queue="math")(plain)
    assert (app.tasks["sum"], task.queue) == (task, "math")


def test_a_task_is_called_as_the_function_it_was(app):
    assert app.task(plain)(1, b=2) == 3


def test_a_task_keeps_the_functions_name_and_text(app):
    task = app.task(plain)
    assert (task.__name__, task.__doc__, task.__wrapped__) == ("plain", "Add.", plain)


def test_a_coroutine_function_gives_its_coroutine(app):
    @app.task
    async def double(a: int) -> int:
        return 2 * a

    assert double.is_async
    assert asyncio.run(double(4)) == 8


def test_a_nested_functions_name_has_no_brackets(app):
    @app.task
    def inner() -> None: ...

    assert inner.name == f"{__name__}.test_a_nested_functions_name_has_no_brackets.inner"


def test_a_partial_is_named_by_its_function(app):
    assert app.task(functools.partial(plain, b=3)).name == f"{__name__}.plain"


def test_defaults_of_options(app):
    task = app.task(plain)
    assert (task.queue, task.retry.max_retries, task.time_limit, task.expires) == ("default", 0, None, None)
    assert (task.ignore_result, task.result_ttl, task.bind, task.priority) == (False, 3600.0, False, None)


def test_retrying_on_something_without_a_number_retries_three_times(app):
    task = app.task(retry_on=(OSError, ValueError))(plain)
    assert (task.retry.max_retries, task.retry.retry_on) == (3, ("OSError", "ValueError"))
    assert task.retry_types == (OSError, ValueError)


def test_a_result_ttl_of_zero_keeps_no_results(app):
    task = app.task(result_ttl=0)(plain)
    assert (task.ignore_result, task.result_ttl) == (True, 3600.0)


def test_a_bound_task_gets_the_running_jobs_context(app):
    @app.task(bind=True)
    def who(job: JobContext, mark: str) -> str:
        return job.id + mark

    token = current_job.set(JobContext("q/1", who.name, "q"))
    try:
        assert who("!") == "q/1!"
    finally:
        current_job.reset(token)


def test_a_bound_task_outside_a_job_gets_an_empty_context(app):
    @app.task(bind=True)
    def who(job: JobContext) -> str:
        return job.id

    assert who() == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_retires": 3}, "did you mean 'max_retries'?"),
        ({"unique": True}, "task() has no option 'unique'"),
        ({"max_retries": -1}, "max_retries -1"),
        ({"max_retries": 10**9}, "max_retries"),
        ({"max_retries": True}, "max_retries True"),
        ({"retry_on": "OSError"}, "retry_on 'OSError'"),
        ({"retry_on": (int,)}, "retry_on <class 'int'>"),
        ({"backoff": -1}, "backoff -1"),
        ({"jitter": 2}, "jitter 2"),
        ({"jitter": float("nan")}, "jitter nan"),
        ({"time_limit": 0}, "time_limit 0"),
        ({"time_limit": float("inf")}, "time_limit inf"),
        ({"expires": -5}, "expires -5"),
        ({"result_ttl": None}, "result_ttl None"),
        ({"result_ttl": -1}, "result_ttl -1"),
        ({"result_ttl": 1e12}, "result_ttl 1000000000000.0"),
        ({"ignore_result": "yes"}, "ignore_result 'yes'"),
        ({"bind": 1}, "bind 1"),
        ({"name": ""}, "task name ''"),
        ({"name": "a b"}, "task name 'a b'"),
        ({"name": 5}, "task name 5"),
        ({"serializer": "yaml"}, "serializer 'yaml'"),
        ({"serializer": "pickle"}, "allow_pickle=True"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_at_declaration(app, options, said):
    with pytest.raises(InvalidOption) as raised:
        app.task(**options)(plain)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_several_unknown_options_are_named_at_once(app):
    with pytest.raises(InvalidOption, match=r"'quee'.*'tmie_limit'"):
        app.task(quee="a", tmie_limit=3)


@pytest.mark.parametrize("queue", ["", "a b", "a:b", 5, "x" * 101])
def test_a_queue_name_that_keys_cannot_carry_is_refused(app, queue):
    with pytest.raises(InvalidQueueName):
        app.task(queue=queue)(plain)


@pytest.mark.parametrize("priority", [float("nan"), float("inf"), "high", True])
def test_a_priority_is_a_finite_number(app, priority):
    with pytest.raises(InvalidPriority):
        app.task(priority=priority)(plain)


def test_a_priority_needs_a_priority_queue(app):
    with pytest.raises(InvalidPriority, match=r"Queue\('a'\): only priority queues"):
        app.task(queue=app.Queue("a"), priority=1)(plain)


class Class:
    def method(self) -> None: ...


def generator():
    yield 1


@pytest.mark.parametrize("thing", [lambda: None, Class, Class().method, generator, 5, print.__self__])
def test_what_cannot_run_as_a_task_is_refused(app, thing):
    with pytest.raises(InvalidTask):
        app.task(thing)


def test_a_positional_option_is_refused_with_the_way_out(app):
    with pytest.raises(InvalidTask, match="options go by name"):
        app.task("name")


def test_two_functions_of_one_name_are_refused(app):
    app.task(plain)
    with pytest.raises(DuplicateTask, match="give one of them name="):

        @app.task(name=f"{__name__}.plain")
        def other() -> None: ...


def test_a_module_that_is_imported_twice_may_register_again(app, tmp_path, monkeypatch):
    (tmp_path / "twice_imported.py").write_text("def work(): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("twice_imported")
    app.task(module.work)
    again = app.task(importlib.reload(module).work)
    assert app.tasks == {"twice_imported.work": again}


def run_python(*args: str, cwd) -> str:
    done = subprocess.run([sys.executable, *args], cwd=cwd, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


PRODUCER = """
from taskq import TaskQ
app = TaskQ("shop", "redis://127.0.0.1:1")
@app.task
def pay(): ...
if __name__ == "__main__":
    print(*app.tasks)
"""


def test_a_script_and_a_worker_that_imports_it_agree_on_the_name(tmp_path):
    (tmp_path / "producer.py").write_text(PRODUCER)
    run = run_python("producer.py", cwd=tmp_path)
    imported = run_python("-c", "import producer; print(*producer.app.tasks)", cwd=tmp_path)
    assert run == imported == "producer.pay"


def test_a_module_run_by_m_is_named_as_it_is_imported(tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "jobs.py").write_text(PRODUCER)
    assert run_python("-m", "pack.jobs", cwd=tmp_path) == "pack.jobs.pay"


def test_a_task_typed_in_a_session_is_named_after_the_app_and_may_be_typed_again(tmp_path):
    typed = PRODUCER.replace("if __name__", "@app.task\ndef pay(): return 2\nif __name__")
    assert run_python("-c", typed, cwd=tmp_path) == "shop.pay"


def test_a_queue_declared_twice_is_one(app):
    assert app.Queue("a", 3) is app.Queue("a", 3)


@pytest.mark.parametrize("other", [lambda app: app.LifoQueue("a"), lambda app: app.Queue("a", 5)])
def test_a_queue_declared_otherwise_is_refused(app, other):
    app.Queue("a")
    with pytest.raises(QueueConflict, match=r"Queue\('a'"):
        other(app)


@pytest.mark.parametrize("maxsize", [1.5, "3", None, True])
def test_a_bound_is_a_whole_number(app, maxsize):
    with pytest.raises(InvalidOption, match="maxsize"):
        app.Queue("a", maxsize)


def test_another_apps_queue_is_declared_as_it_is_there(app):
    other = TaskQ("other", "redis://127.0.0.1:1")
    task = app.task(queue=other.PriorityQueue("ranked"), priority=3)(plain)
    assert (task.queue, app.queues["ranked"].discipline) == ("ranked", "priority")
