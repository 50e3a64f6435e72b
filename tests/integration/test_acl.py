"""Each role of ``taskq acl`` does its work under its own user, and nothing that is not its work."""

from __future__ import annotations

import re
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest
import redis
from cli_kit import Cli
from servers import TestServer
from worker_kit import TESTS, Bench, bench, wait_until

from taskq import TaskQ
from taskq.broker.acl import ROLES, rule
from taskq.broker.queues import refuse
from taskq.broker.scripts import load
from taskq.errors import AuthenticationFailed, WrongServer

PATIENCE = 30.0  # seconds
LOOKING = (
    "status", "queues", "workers", "jobs", "jobs --state failed", "jobs --state running", "jobs --state succeeded",
    "job {dead}", "dead list", "dead show {dead}", "result {done}", "tasks", "config", "events --for 0.2",
    "report -o -", "doctor", "fsck",
)  # fmt: skip
ACTING = (
    "enqueue apps.acceptance.add 1 2", "cancel {waiting}", "revoke {waiting}", "move {waiting} --to urgent",
    "retry {dead}", "dead drop {dead}", "dead retry --all --yes", "pause default", "resume default",
    "purge default --yes", "worker pause --all",
)  # fmt: skip
SERVER = (  # what nobody has: each ends a server, or tells all of it
    "FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG GET requirepass", "CONFIG SET save 1", "ACL LIST", "DEBUG OBJECT x",
    "SHUTDOWN", "MONITOR", "SCRIPT FLUSH", "CLIENT KILL TYPE normal", "MIGRATE h 1 k 0 1", "SWAPDB 0 1", "SAVE",
    "REPLICAOF no one", "MODULE LIST", "FUNCTION FLUSH",
)  # fmt: skip

Login = Callable[[str], str]


@pytest.fixture
def login(any_server: TestServer, namespace: str) -> Iterator[Login]:
    """Give the user of a role its rights; the value is its url."""
    made = []
    with any_server.client() as client:

        def url(role: str) -> str:
            user, password = f"{namespace}-{role}", secrets.token_hex(8)
            client.execute_command(*rule(role, namespace, user).split())
            client.execute_command("ACL", "SETUSER", user, f">{password}")
            made.append(user)
            return f"unix://{user}:{password}@{any_server.url.removeprefix('unix://')}"

        yield url
        client.execute_command("ACL", "DELUSER", *made)


@pytest.fixture
def rig(login: Login, namespace: str, tmp_path: Path) -> Iterator[Bench]:
    """Workers under the worker's user."""
    with bench(login("worker"), namespace, tmp_path) as made:
        yield made


@pytest.fixture
def producer(login: Login, namespace: str) -> Iterator[TaskQ]:
    """An app under the producer's user."""
    with TaskQ("producer", login("producer"), namespace, call_deadline=2.0) as app:
        app.Queue("default").qsize()
        yield app


def cli(rig: Bench, url: str) -> Cli:
    return Cli({**rig.environment(), "TASKQ_URL": url, "TASKQ_APP": "apps.acceptance:app"}, rig.folder)


# --- what each may do ---


def test_a_producer_sends_jobs_and_gets_what_a_worker_makes_of_them(rig: Bench, producer: TaskQ) -> None:
    worker = rig.start("thread", "-Q", "urgent,default")
    send = partial(producer.send_task, send_by_name=True)
    sums = [send("apps.acceptance.add", (n, 1)) for n in range(20)]
    assert [one.result(PATIENCE) for one in sums] == list(range(1, 21))
    assert send("apps.acceptance.add", (1, 2), countdown=0.05).result(PATIENCE) == 3
    assert send("apps.acceptance.fail_until", (1, 2)).result(PATIENCE) == 3
    assert isinstance(send("apps.acceptance.boom", ("no",)).exception(PATIENCE), Exception)
    assert sums[0].state == "succeeded"
    sums[0].forget()
    slow = send("apps.acceptance.nap", (7, 60))
    wait_until(lambda: "7" in rig.noted("start"), "it runs")
    assert slow.revoke(terminate=True) is not None
    wait_until(slow.done, "it was stopped")
    assert worker.stop() == 0
    assert "denies" not in worker.lines()


def test_a_job_goes_on_to_the_next_and_its_worker_leaves_nothing(rig: Bench) -> None:
    rig.start("process", "-Q", "urgent,default")
    job = rig.app.add.apply_async((1, 2), link=rig.app.told.s("a"))
    assert job.result(PATIENCE) == 3
    wait_until(lambda: rig.noted("told"), "the follow-up ran")
    rig.app.die.delay(3)
    wait_until(lambda: rig.counts("start")["3"] > 1, "a crashed job runs again")


def test_a_worker_takes_over_from_one_that_was_killed(rig: Bench) -> None:
    first = rig.start("process")
    rig.app.nap.delay(1, 0.5)
    wait_until(lambda: rig.noted("start"), "it runs")
    first.process.kill()
    second = rig.start("process")
    wait_until(lambda: rig.noted("end"), "the other worker ran it")
    second.stop()
    assert "denies" not in second.lines()


def test_a_worker_has_a_producer_refused_and_a_reader_sees_it(login: Login, producer: TaskQ, namespace: str) -> None:
    with TaskQ("worker", login("worker"), namespace) as app, TaskQ("reader", login("reader"), namespace) as reader:
        app.broker.run(refuse(app.broker.keys("default"), "it evicts", 60.0))
        with pytest.raises(WrongServer, match=r"takes no new ones since .* UTC: it evicts"):
            producer.send_task("t", send_by_name=True)
        (found,) = reader.inspect.queues()
        assert found.refusal is not None
        app.broker.run(refuse(app.broker.keys("default"), "", 60.0))
    assert producer.send_task("t", send_by_name=True).state == "ready"


def test_a_producer_uses_events_locks_and_data_queues(producer: TaskQ) -> None:
    event, queue = producer.Event("e"), producer.Queue("items", maxsize=1)
    setter = threading.Timer(0.05, event.set)
    setter.start()
    assert event.wait(PATIENCE)
    setter.join()
    event.clear()
    with producer.Lock("l"), producer.RLock("r"), producer.Semaphore("s", 2), producer.BoundedSemaphore("b", 2):
        queue.put(1)
    assert (queue.get(timeout=PATIENCE), queue.empty()) == (1, True)
    queue.task_done()
    queue.join()
    assert producer.Barrier("one", 1).wait(PATIENCE) == 0
    condition = producer.Condition("c")
    with condition:
        assert not condition.wait(0.05)
        condition.notify_all()
    queue.shutdown(immediate=True)


def test_a_producer_is_told_and_need_not_ask(producer: TaskQ, any_server: TestServer, namespace: str) -> None:
    event = producer.Event("e")
    waiter = threading.Thread(target=event.wait, args=(PATIENCE,))
    waiter.start()
    with any_server.client() as client:
        wait_until(lambda: client.pubsub_channels(f"{namespace}:reply:*"), "it listens")
        began = time.monotonic()
        event.set()
        waiter.join(PATIENCE)
    assert time.monotonic() - began < 5  # seconds; who is not told looks after 30


@pytest.fixture
def stocked(rig: Bench) -> dict[str, str]:
    """A server with a job done, one that waits and one that is dead, and no worker."""
    worker = rig.start("thread")
    done, dead = rig.app.add.delay(1, 2), rig.app.boom.delay("no")
    done.result(PATIENCE)
    dead.exception(PATIENCE)
    worker.stop()
    rig.app.urgent.qsize()
    return {"done": done.id, "dead": dead.id, "waiting": rig.app.mark.delay(1).id}


def test_a_reader_looks_at_everything(rig: Bench, login: Login, stocked: dict[str, str]) -> None:
    rig.start("thread", "-Q", "stack")
    taskq = cli(rig, login("reader"))
    for command in LOOKING:
        done = taskq(*command.format(**stocked).split())
        assert (done.code in {0, 1}, "denies" in done.err + done.out) == (True, False), (command, done)
        assert done.out or command.startswith(("jobs", "events")), command


def test_a_reader_follows_events(rig: Bench, login: Login, namespace: str) -> None:
    rig.start("thread")
    with TaskQ("reader", login("reader"), namespace) as app, app.events() as stream:
        job = rig.app.add.delay(1, 2)
        assert next(one for one in stream if one.kind == "succeeded").id == job.id


def test_an_admin_acts(rig: Bench, login: Login, stocked: dict[str, str]) -> None:
    rig.start("thread", "-Q", "stack")
    taskq = cli(rig, login("admin"))
    for command in (*ACTING, "fsck --repair", "status", "jobs --state failed", "events --for 0.2"):
        done = taskq(*command.format(**stocked).split())
        assert (done.code in {0, 1}, "denies" in done.err + done.out) == (True, False), (command, done)


# --- what each may not do ---


@pytest.mark.parametrize("role", ROLES)
def test_no_role_reaches_the_server_itself_or_other_keys(login: Login, role: str) -> None:
    with redis.Redis.from_url(login(role)) as client:
        for command in (*SERVER, "GET other", "SET other 1", "SUBSCRIBE other", "PUBLISH other x"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command.split())
        with pytest.raises(redis.exceptions.ResponseError):
            client.execute_command("EVAL", "return redis.call('GET', 'other')", 0)


def test_a_reader_that_acts_is_one_line_and_changes_nothing(
    rig: Bench, login: Login, stocked: dict[str, str], any_server: TestServer, namespace: str
) -> None:
    rig.start("thread", "-Q", "stack")
    taskq = cli(rig, login("reader"))
    with any_server.client() as client:
        before = content(client, namespace)
        for command in ACTING:
            done = taskq(*command.format(**stocked).split())
            assert (done.code, done.err.count("\n")) == (3, 1), (command, done)
            assert re.search("denies a right that '.*' needs: .*; taskq acl prints what a user needs", done.err), done
        assert content(client, namespace) == before


def content(client: redis.Redis, namespace: str) -> dict[bytes, bytes | None]:
    """All of a namespace but what workers keep writing there."""
    beating = re.compile(rf"{namespace}:(workers|worker:.*|{{stack}}:.*)".encode())
    found = sorted(key for key in client.scan_iter(f"{namespace}:*") if beating.fullmatch(key) is None)
    return {key: client.dump(key) for key in found}


WORKER = "worker --pool thread --log-level ERROR"


@pytest.mark.parametrize("role", [role for role in ROLES if role != "worker"])
def test_only_a_worker_runs_jobs(rig: Bench, login: Login, stocked: dict[str, str], role: str) -> None:
    done = cli(rig, login(role))(*WORKER.split())
    assert (done.code, done.err.count("\n"), "denies a right" in done.err) == (3, 1, True), done
    assert "; taskq acl prints what a user needs" in done.err
    assert rig.app.app.AsyncResult(stocked["waiting"]).state == "ready"


@pytest.mark.parametrize("role", ["producer", "worker"])
def test_workers_are_not_stopped_by_producers_or_by_each_other(rig: Bench, login: Login, role: str) -> None:
    worker = rig.start("thread")
    done = cli(rig, login(role))("worker", "stop", "--all")
    assert (done.code, done.err.count("\n"), "denies a right that " in done.err) == (3, 1, True), done
    assert worker.process.poll() is None


def test_a_producer_takes_no_job_from_a_worker(login: Login, namespace: str) -> None:
    with redis.Redis.from_url(login("producer")) as client:
        for key in (f"{namespace}:{{default}}:l:w", f"{namespace}:worker:w", f"{namespace}:control:w"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.hgetall(key)


def test_a_denied_call_is_an_error_with_the_way_out(login: Login, namespace: str) -> None:
    with (
        TaskQ("reader", login("reader"), namespace) as app,
        pytest.raises(AuthenticationFailed, match=r"denies a right that 'declare' needs: .*; taskq acl prints"),
    ):
        app.Queue("default").put(1)


# --- the rules ---


def test_what_is_printed_can_be_given_to_the_server(any_server: TestServer, namespace: str, tmp_path: Path) -> None:
    taskq = Cli({"TASKQ_NAMESPACE": namespace, "PYTHONPATH": str(TESTS)}, tmp_path)
    printed = taskq("acl", "reader", "--user", namespace)
    assert (printed.code, printed.out) == (0, rule("reader", namespace, namespace) + "\n")
    with any_server.client() as client:
        assert client.execute_command(*printed.out.split()) == b"OK"
        assert client.acl_getuser(namespace)["keys"] == [f"%R~{namespace}:*"]
        client.acl_deluser(namespace)


def test_a_new_user_cannot_log_in_before_it_has_a_password(any_server: TestServer, namespace: str) -> None:
    with any_server.client() as client:
        client.execute_command(*rule("admin", namespace, namespace).split())
        with pytest.raises(redis.exceptions.AuthenticationError):
            client.execute_command("AUTH", namespace, "")
        client.acl_deluser(namespace)


def test_rights_are_replaced_and_passwords_stay(any_server: TestServer, namespace: str) -> None:
    with any_server.client() as client:
        client.execute_command("ACL", "SETUSER", namespace, "on", ">canary", "+@all", "~*", "&*", "(+get ~x)")
        client.execute_command(*rule("producer", namespace, namespace).split())
        has = client.acl_getuser(namespace)
        assert ("flushall" in str(has), len(has["passwords"]), has["selectors"]) == (False, 1, [])
        client.acl_deluser(namespace)


CALLED = re.compile(r"redis\.p?call\('([A-Z]+)'|call_chunked\('([A-Z]+)'")


FOR_PEOPLE = re.compile(r"(audit|browse|compare|kinds|mend|survey|watch)(_.*)?")  # scripts that no worker runs
WRITING = {"hdel", "hincrby", "hset", "zadd", "zrem"}  # in what a script that only reads includes and never calls


def called(names: Iterable[str]) -> set[str]:
    """The commands that scripts call."""
    found = (CALLED.findall(load()[name].source) for name in names)
    return {one.lower() for pairs in found for pair in pairs for one in pair if one}


def test_an_admin_has_every_command_of_all_scripts() -> None:
    assert called(load()) - set(ROLES["admin"].commands.split()) == set()


def test_a_worker_has_every_command_of_its_scripts() -> None:
    names = [name for name in load() if FOR_PEOPLE.fullmatch(name) is None]
    assert called(names) - set(ROLES["worker"].commands.split()) == set()


def test_a_reader_has_every_command_of_what_reads() -> None:
    names = [name for name, script in load().items() if script.read_only]
    assert called(names) - set(ROLES["reader"].commands.split()) - WRITING == set()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("acl", "Missing argument"),
        ("acl owner", "'owner' is not one of"),
        ("acl reader --namespace a:b", "namespace 'a:b' cannot be used"),
        ("acl reader --user a:+@all", "--user 'a:+@all' cannot be used"),
        ("acl reader --user=", "--user '' cannot be used"),
    ],
)
def test_a_wrong_use_of_the_command_is_exit_2(tmp_path: Path, arguments: str, said: str) -> None:
    done = Cli({"TASKQ_EMBEDDED": "0"}, tmp_path)(*arguments.split())
    assert (done.code, done.out, said in done.err) == (2, "", True), (done, sys.version)
