"""A worker's looks at its server: when it starts, and now and then."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest
from servers import TestServer

from taskq.broker import doctor, jobs, queues
from taskq.broker.acl import rule
from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
from taskq.broker.call import Command
from taskq.errors import AuthenticationFailed
from taskq.worker import membership
from taskq.worker.vigil import Vigil

Login = Callable[[str], Broker]


@pytest.fixture
def login(server: TestServer, namespace: str) -> Iterator[Login]:
    """Make a worker's user that has these patterns of keys where it would have those of all queues."""
    password, made = secrets.token_hex(8), []
    every = f"~{namespace}:{{*}}:*"
    with server.client() as client:

        def make(patterns: str) -> Broker:
            words = rule("worker", namespace, namespace).replace(every, patterns)
            assert patterns in words
            client.execute_command(*words.split())
            client.execute_command("ACL", "SETUSER", namespace, f">{password}")
            made.append(Broker(parse_url(server.url.replace("//", f"//{namespace}:{password}@", 1)), namespace))
            return made[-1]

        yield make
        for broker in made:
            broker.close()
        client.execute_command("ACL", "DELUSER", namespace)


def at_once(step: Callable[[], object]) -> Future[object]:
    """Do it here and now."""
    ended: Future[object] = Future()
    try:
        ended.set_result(step())
    except Exception as error:
        ended.set_exception(error)
    return ended


def test_a_user_with_the_rights_for_its_own_queue_is_no_alarm(login: Login, namespace: str) -> None:
    vigil = Vigil(login(f"~{namespace}:{{shop}}:*"), ["shop"], 1.0, 0.0, at_once)
    vigil.tick(100.0)
    assert vigil.alarm == ""


def test_a_user_who_lost_the_rights_for_a_queue_is_an_alarm(login: Login, namespace: str) -> None:
    vigil = Vigil(login(f"~{namespace}:{{shop}}:*"), ["shop", "urgent"], 1.0, 0.0, at_once)
    vigil.tick(100.0)
    assert "denies" in vigil.alarm


def test_a_look_that_breaks_down_is_told_and_the_next_one_looks(
    server: TestServer, namespace: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_: object) -> None:
        raise ValueError("what is this")

    broker = Broker(parse_url(server.url), namespace)
    vigil = Vigil(broker, ["default"], 1.0, 0.0, at_once)
    vigil.alarm = "it evicts"
    with monkeypatch.context() as patch:
        patch.setattr(doctor, "gather", break_down)
        vigil.tick(100.0)
    told = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "taskq.worker"]
    assert told == [("ERROR", "the server's settings could not be looked at; the alarm stays: it evicts")]
    assert "what is this" in caplog.text
    caplog.set_level(logging.CRITICAL, "taskq.worker")
    vigil.tick(200.0)
    assert vigil.alarm == ""
    broker.close()


def looking(broker: Broker, *names: str) -> Vigil:
    """A worker's looks, each done when it begins; twelve seconds lie between two."""
    return Vigil(broker, names or ("default",), 1.0, 0.0, at_once)


def refusals(broker: Broker, *names: str) -> list[bool]:
    return [broker.run(queues.inspect(broker.keys(name))).refusal is not None for name in names or ("default",)]


@pytest.fixture
def evicting(start_server: Callable[..., TestServer], namespace: str) -> Iterator[Broker]:
    """A server of one's own, which evicts."""
    broker = Broker(parse_url(start_server(maxmemory_policy="allkeys-random").url), namespace)
    yield broker
    broker.close()


@pytest.fixture
def well(server: TestServer, namespace: str) -> Iterator[Broker]:
    """A server that keeps its jobs, though a worker said otherwise before it went away."""
    broker = Broker(parse_url(server.url), namespace)
    broker.run(queues.declare(broker.keys("default"), None, None, "me"))
    broker.read(jobs.register_queue(namespace, "default"))
    broker.run(queues.refuse(broker.keys("default"), "it evicted", 60.0))
    yield broker
    broker.close()


def test_all_queues_of_a_worker_refuse_new_jobs_while_the_server_evicts(evicting: Broker) -> None:
    vigil = looking(evicting, "shop", "urgent")
    vigil.tick(100.0)
    assert refusals(evicting, "shop", "urgent", "other") == [True, True, False]


def test_the_refusal_is_lifted_once_the_server_is_well(evicting: Broker) -> None:
    vigil = looking(evicting)
    vigil.tick(100.0)
    evicting.read(Command(("CONFIG", "SET", "maxmemory-policy", "volatile-ttl"), str))
    vigil.tick(200.0)
    assert refusals(evicting) == [False]


def test_whoever_sees_that_the_server_is_well_lifts_the_refusal(well: Broker) -> None:
    looking(well).tick(100.0)
    assert refusals(well) == [False]


def test_a_worker_that_starts_lifts_the_refusal(well: Broker) -> None:
    looking(well).start()
    assert refusals(well) == [False]


def test_a_worker_that_is_not_told_the_policy_lifts_no_refusal(
    well: Broker, server: TestServer, namespace: str
) -> None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", namespace, "on", ">pw", "~*", "&*", "+@all", "-info")
        blind = Broker(parse_url(server.url.replace("//", f"//{namespace}:pw@", 1)), namespace)
        looking(blind).tick(100.0)
        blind.close()
        client.execute_command("ACL", "DELUSER", namespace)
    assert refusals(well) == [True]


def test_what_is_wrong_for_this_worker_alone_refuses_no_jobs(well: Broker) -> None:
    """Such as a queue of a newer taskq: its own workers and producers get on."""
    well.read(Command(("HSET", well.keys("newer").key("meta"), "schema", "99"), int))
    vigil = looking(well, "default", "newer")
    vigil.tick(100.0)
    assert "newer taskq" in vigil.alarm
    assert refusals(well, "default", "newer") == [False, False]
    well.read(Command(("DEL", well.keys("newer").key("meta")), int))


def test_a_queue_that_cannot_be_told_is_logged_and_the_next_one_is_told(
    evicting: Broker, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    evicting.read(Command(("SET", evicting.keys("odd").key("meta"), "text"), str))
    looking(evicting, "odd", "shop").tick(100.0)
    assert refusals(evicting, "shop") == [True]
    assert "queue odd goes on to accept jobs: a key of taskq" in caplog.text
    evicting.read(Command(("DEL", evicting.keys("odd").key("meta")), int))


def test_a_worker_without_the_rights_for_the_leases_of_its_second_queue_does_not_start(
    login: Login, namespace: str
) -> None:
    broker = login(f"~{namespace}:{{first}}:* ~{namespace}:{{second}}:[^l]*")
    membership.examine(broker, ["first"])
    with pytest.raises(AuthenticationFailed):
        membership.examine(broker, ["first", "second"])
