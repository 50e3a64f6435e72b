"""What importing and declaring costs."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

import pytest

SHOW = "import json, sys; print(json.dumps(sorted(sys.modules)))"
HEAVY = ("redis", "gevent", "click", "rich", "rq", "asyncio", "pydantic", "ssl")
DECLARE = """
from taskq import TaskQ, Retry
app = TaskQ("light", "redis://127.0.0.1:1")
queue = app.PriorityQueue("q")
@app.task(queue=queue, max_retries=2)
def work(a: int) -> int: return a
"""


@cache
def modules_after(code: str) -> frozenset[str]:
    done = subprocess.run([sys.executable, "-c", code + "\n" + SHOW], capture_output=True, text=True, check=True)
    return frozenset(json.loads(done.stdout))


def test_importing_taskq_imports_none_of_its_modules():
    before = modules_after("import typing")
    assert {name for name in modules_after("import taskq") - before if name.startswith("taskq")} == {"taskq"}


@pytest.mark.parametrize("module", HEAVY)
def test_importing_taskq_does_not_import(module):
    assert module not in modules_after("import taskq")


@pytest.mark.parametrize("module", [*HEAVY, "taskq.worker", "taskq.cli", "taskq.embedded", "taskq.broker.broker"])
def test_declaring_tasks_does_not_import(module):
    assert module not in modules_after(DECLARE)


@pytest.mark.parametrize("module", ["taskq.worker", "taskq.cli", "gevent", "click", "rich"])
def test_a_producer_does_not_import(module):
    assert module not in modules_after(DECLARE + "app.broker")


def test_every_public_name_can_be_imported():
    code = "import taskq\nfor name in taskq.__all__: getattr(taskq, name)"
    assert "taskq.app" in modules_after(code)


def test_an_unknown_name_is_no_attribute():
    import taskq

    with pytest.raises(AttributeError, match="Tasq"):
        taskq.Tasq  # noqa: B018
