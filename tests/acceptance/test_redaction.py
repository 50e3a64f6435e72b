"""A password of the server is shown nowhere: it is planted, everything is looked at, and it must not be found."""

from __future__ import annotations

import contextlib
import json
import logging
import pickle
import shutil
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_kit import Cli
from servers import TestServer
from worker_kit import Bench, bench, wait_until

from taskq import TaskQ
from taskq.broker.address import parse_url, redact
from taskq.errors import TaskqError

CANARY = "canary-7f3a91c2"  # the password; no test may find it where it looks
PATIENCE = 30.0  # seconds
COMMANDS = (
    "config", "config --json", "status", "status --json", "doctor", "doctor --json", "workers --json", "queues --json",
    "jobs --json", "jobs --state failed --json", "dead list --json", "tasks --json", "events --for 0.2 --json",
    "report -o -", "acl worker", "enqueue add 1 2", "job default/none", "result default/none", "server status",
)  # fmt: skip
ENTRIES = ("variable", "file", "project")  # where the url stands
APP = """
import os
from taskq import TaskQ
app = TaskQ("tells", os.environ.get("PLANTED"))

@app.task
def fail(text: str) -> None:
    hidden = os.environ.get("TASKQ_URL")
    raise RuntimeError(text)
"""


@pytest.fixture
def secret_url(server: TestServer, namespace: str) -> Iterator[str]:
    """The url of a user that may do everything, with the canary as its password."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", namespace, "reset", "on", f">{CANARY}", "+@all", "~*", "&*")
        yield f"unix://{namespace}:{CANARY}@{server.url.removeprefix('unix://')}"
        client.execute_command("ACL", "DELUSER", namespace)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory with a short path, for sockets."""
    made = Path(tempfile.mkdtemp(prefix="taskq-test-", dir="/tmp"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def rig(secret_url: str, namespace: str, folder: Path) -> Iterator[Bench]:
    """The app and its workers, with the canary in their url."""
    with bench(secret_url, namespace, folder) as made:
        yield made


def place(entry: str, url: str, namespace: str, folder: Path) -> Cli:
    """A command line whose url stands in one of ENTRIES."""
    (folder / "tells.py").write_text(APP)
    environment = {"TASKQ_APP": "tells:app", "TASKQ_NAMESPACE": namespace, "TASKQ_DEBUG": "1", "TASKQ_EMBEDDED": "0",
                   "XDG_RUNTIME_DIR": str(folder)}  # fmt: skip
    project = "[tool.taskq]\n"
    if entry == "variable":
        environment["TASKQ_URL"] = url
    elif entry == "file":
        (folder / "url").write_text(url + "\n")
        environment["TASKQ_URL_FILE"] = str(folder / "url")
    else:
        project += f"url = {json.dumps(url)}\n"
    (folder / "pyproject.toml").write_text(project)
    return Cli(environment, folder)


@pytest.mark.parametrize("entry", ENTRIES)
def test_no_command_shows_it(secret_url: str, namespace: str, folder: Path, entry: str) -> None:
    taskq = place(entry, secret_url, namespace, folder)
    for command in COMMANDS if entry == "variable" else COMMANDS[:5]:
        done = taskq(*command.split())
        assert done.code in {0, 1, 2}, (command, done)
        assert CANARY not in done.out + done.err, (command, done)


def test_no_command_shows_it_where_the_server_is_away(namespace: str, folder: Path) -> None:
    taskq = place("file", f"redis://user:{CANARY}@127.0.0.1:1/0", namespace, folder)
    for command in ("status", "doctor --json", "enqueue fail x", "worker --pool thread --log-level DEBUG", "config"):
        done = taskq(*command.split(), TASKQ_CALL_DEADLINE="0.2")
        assert CANARY not in done.out + done.err, (command, done)


BAD_URLS = [
    "{}", "x {}", "{}/0", "redis:{}", "redis:/{}", "redis:///{}@", "redis://user:{}@host:1/x",
    "redis://user:{}@host:99999", "redis://:{}@/0", "http://user:{}@host", "redis://user:{}", "redis://{}@host:port",
    "{}@host:6379", "redis://host?password={}", "redis://host?token={}&db=x", "redis://host/0?{}", "redis://h:x/#{}",
    "rediss://user:{}@h?ssl_cert_reqs=perhaps", "redis://user:{}@h?ssl_ca_certs=/x", "unix://user:{}@relative",
    "redis+sentinel://user:{}@host", "redis://user:{}\n@host:0",
]  # fmt: skip


@pytest.mark.parametrize("url", BAD_URLS)
def test_no_mistake_in_a_url_shows_it(url: str) -> None:
    with pytest.raises(TaskqError) as caught:
        TaskQ("app", url.format(CANARY))
    shown = "".join(traceback.format_exception(caught.value, chain=True))
    assert CANARY not in str(caught.value) + repr(caught.value) + shown


@pytest.mark.parametrize("entry", ENTRIES)
def test_no_mistake_in_a_url_is_shown_by_a_command(namespace: str, folder: Path, entry: str) -> None:
    for url in ("redis://user:{}@host:99999", "redis://host?token={}"):
        done = place(entry, url.format(CANARY), namespace, folder)("status")
        assert (done.code, done.err.count("\n"), CANARY in done.out + done.err) == (2, 1, False), done


@pytest.mark.parametrize("text", ["{}\n{}", "\0{}", "redis://user:{}@host:1\nredis://other"])
def test_no_mistake_in_a_file_shows_it(folder: Path, text: str) -> None:
    (folder / "url").write_text(text.format(CANARY, CANARY))
    done = Cli({"TASKQ_URL_FILE": str(folder / "url"), "TASKQ_EMBEDDED": "0"}, folder)("status")
    assert (done.code, CANARY in done.out + done.err) == (2, False), done


def test_a_wrong_name_of_a_setting_does_not_show_its_value(folder: Path) -> None:
    (folder / "pyproject.toml").write_text(f'[tool.taskq]\nurls = "redis://:{CANARY}@h"\npassword = "{CANARY}"\n')
    done = Cli({"TASKQ_URI": f"redis://:{CANARY}@h", "TASKQ_PASSWORD": CANARY}, folder)("status")
    assert (done.code, CANARY in done.out + done.err) == (2, False), done


def test_no_object_shows_it(secret_url: str, namespace: str) -> None:
    with TaskQ("app", secret_url, namespace) as app:
        result = app.send_task("none", send_by_name=True)
        link, found = app.broker.link(), app.inspect.queues()
        made = [app, app.settings, app.broker, app.broker.address, link, result, app.Event("e"), app.Lock("l"), found]
        made += [app.Queue("q"), app.control, app.inspect, app.settings.sources, parse_url(secret_url)]
        for one in made:
            assert CANARY not in f"{one!r} {one!s}", type(one)
        assert CANARY not in redact(secret_url)


def test_no_log_of_a_producer_shows_it(caplog: pytest.LogCaptureFixture, secret_url: str, namespace: str) -> None:
    with caplog.at_level(logging.DEBUG), TaskQ("app", secret_url, namespace) as app:
        app.Event("e").wait(0.05)
        app.send_task("none", send_by_name=True)
    for record in caplog.records:
        assert CANARY not in f"{record.getMessage()} {vars(record)}"


def test_an_error_shows_it_neither_by_itself_nor_by_its_causes(secret_url: str, namespace: str) -> None:
    wrong = secret_url.replace(CANARY, f"{CANARY}x")
    for url in (wrong, f"redis://user:{CANARY}@127.0.0.1:1", f"rediss://user:{CANARY}@127.0.0.1:1"):
        with TaskQ("app", url, namespace, call_deadline=0.2) as app, pytest.raises(TaskqError) as caught:
            app.Queue("default").qsize()
        shown = "".join(traceback.format_exception(caught.value, chain=True))
        assert CANARY not in shown
        assert CANARY.encode() not in pickle.dumps(caught.value)


@pytest.mark.parametrize("pool", ["process", "thread", "gevent", "asyncio"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_no_worker_shows_it(rig: Bench, server: TestServer, pool: str, form: str) -> None:
    socket = rig.folder / "health"
    worker = rig.start(pool, "--log-level", "DEBUG", "--log-format", form, "--health-socket", str(socket), ready=False)
    wait_until(lambda: "is ready" in worker.lines() or worker.process.poll() is not None, "worker up")
    rig.app.boom.delay("no").exception(PATIENCE)
    rig.app.die.delay(1)
    running = rig.app.anap.delay(2, 0.5) if pool == "asyncio" else rig.app.nap.delay(2, 0.5)
    wait_until(lambda: "2" in rig.noted("start"), "it runs")
    assert all(CANARY not in text for text in command_lines())
    assert CANARY not in Cli(rig.environment(), rig.folder)("health", "--json", "--socket", str(socket)).out
    assert running.result(PATIENCE) == 2
    with server.client() as client:
        client.execute_command("CLIENT", "KILL", "USER", rig.namespace)  # what it says of lost connections
        wait_until(lambda: "lost" in worker.lines(), "it noticed")
        for key in client.scan_iter(f"{rig.namespace}:*"):  # cards, results, errors with their tracebacks
            assert CANARY.encode() not in (client.dump(key) or b""), key
    worker.stop()
    assert CANARY not in worker.lines()


def command_lines() -> list[str]:
    """Those of all processes of this machine."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found.append((process / "cmdline").read_bytes().decode("utf-8", "replace"))
    return found


def test_a_worker_that_is_let_in_no_more_does_not_show_it(rig: Bench, server: TestServer) -> None:
    worker = rig.start("thread", "--log-level", "DEBUG")
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", rig.namespace, "resetpass", ">other")
        client.execute_command("CLIENT", "KILL", "USER", rig.namespace)
        wait_until(lambda: "lost" in worker.lines(), "it noticed")
    worker.process.kill()
    worker.wait()
    assert CANARY not in worker.lines()


def test_what_travels_in_a_job_holds_no_url(rig: Bench, server: TestServer) -> None:
    app = rig.app.app
    for one in (app.Event("e"), app.Lock("l"), app.Queue("q"), rig.app.add.delay(1, 2)):
        rig.app.told.delay(one, "k")
    with server.client() as client:
        for key in client.scan_iter(f"{rig.namespace}:*"):
            assert CANARY.encode() not in (client.dump(key) or b""), key
