"""A worker's looks at its server: when it starts, and now and then."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest
from servers import TestServer

from taskq.broker import doctor
from taskq.broker.acl import rule
from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
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


def test_a_worker_without_the_rights_for_the_leases_of_its_second_queue_does_not_start(
    login: Login, namespace: str
) -> None:
    broker = login(f"~{namespace}:{{first}}:* ~{namespace}:{{second}}:[^l]*")
    membership.examine(broker, ["first"])
    with pytest.raises(AuthenticationFailed):
        membership.examine(broker, ["first", "second"])
