"""How a real child starts, or says why it cannot."""

from __future__ import annotations

import os

import pytest
from childdriver import POOLS, Driver

from taskq.version import VERSION
from taskq.worker.protocol import PROTOCOL


@pytest.fixture(params=POOLS)
def pool(request):
    return request.param


def test_child_reports_itself_its_app_and_its_tasks(pool):
    with Driver(pool) as driver:
        hello = driver.hello()
        assert (hello.protocol, hello.version, hello.pid) == (PROTOCOL, VERSION, driver.child.pid)
        assert (hello.url, hello.namespace) == ("redis://127.0.0.1:1/0", "taskq")
        assert (hello.beat, hello.ttl) == (5.0, 25.0)
        assert hello.queues == [("default", "fifo", 0), ("urgent", "priority", 9)]
        boom = hello.tasks["boom"]
        assert (boom.max_retries, boom.backoff, boom.retries_time_limit) == (2, 4.0, False)
        assert hello.tasks["add"].signature.startswith("(a:")


def test_child_leads_a_process_group_of_its_own(pool):
    with Driver(pool) as driver:
        driver.hello()
        assert os.getpgid(driver.child.pid) == driver.child.pid


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        ("no_such_module", "there is no module 'no_such_module' on the import path"),
        ("brokenapp", "ValueError: no luck"),
        ("exitapp", "SystemExit: 3"),
        ("badimport", "ModuleNotFoundError: No module named 'no_such_dependency'"),
        ("childapp:nothing", "childapp has no 'nothing'; apps there: app"),
        ("childapp:add_two", "is a function, no TaskQ"),
        ("twoapps", "several apps in twoapps; write one of twoapps:one, twoapps:two"),
        ("noapp", "no TaskQ in noapp"),
        ("a b", "is not of the form module or module:attr"),
    ],
)
def test_child_without_its_app_says_why_in_one_line_and_exits(app, reason):
    with Driver("process", app=app) as driver:
        error = driver.hello().error
        assert reason in error
        assert "\n" not in error
        assert driver.exit_code() == 1


def test_unknown_pool_is_told_too():
    with Driver("green") as driver:
        assert "pool 'green' is none of process, thread, gevent, asyncio" in driver.hello().error


def test_current_directory_is_no_place_to_import_from(tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text("raise RuntimeError('imported')")
    monkeypatch.chdir(tmp_path)
    with Driver("process", app="planted", sys_path="") as driver:
        assert "there is no module 'planted'" in driver.hello().error


def test_app_is_patched_from_the_start_in_a_gevent_child():
    with Driver("gevent", app="patchapp") as driver:
        driver.started()
        assert driver.value("patched") == [True, True, True]


def test_other_children_do_not_load_what_they_do_not_need():
    with Driver("process", app="patchapp") as driver:
        driver.started()
        assert driver.value("patched") == [False, False, False]
        assert driver.value("loaded", ["asyncio", "gevent", "redis", "click"]) == []
