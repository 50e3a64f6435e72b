"""Who waits for room in a full queue while the server goes away."""

from __future__ import annotations

from typing import Any

import pytest
from client_kit import client_app

from taskq.errors import BrokerUnavailable, Indeterminate


@pytest.fixture
def app(url, namespace):
    with client_app("room", url, namespace) as app:
        yield app


@pytest.fixture
def send(app) -> Any:
    """Send to a queue that is full."""
    task = app.task(name="crowd", queue=app.Queue("crowd", maxsize=1))(len)
    task.delay([])
    return lambda: task.apply_async(([],), timeout=60)


@pytest.fixture
def calls(app, send, monkeypatch) -> Any:
    """The scripts that run, of which those that wait for room raise."""
    run, ran = app.broker.run, []

    def failing(error: BaseException) -> list[str]:
        def fail(call: Any, deadline: float | None = None) -> Any:
            ran.append(call.script.name)
            if call.script.name == "wait_room":
                raise error
            return run(call, deadline)

        monkeypatch.setattr(app.broker, "run", fail)
        return ran

    return failing


@pytest.mark.parametrize("error", [BrokerUnavailable("away"), Indeterminate("perhaps")], ids=repr)
def test_a_server_that_is_away_is_not_asked_for_another_deadline(send, calls, app, error):
    ran = calls(error)
    with pytest.raises(type(error)):
        send()
    assert ("leave_room" in ran, len(app._listener.signals)) == (False, 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError()], ids=repr)
def test_whatever_else_ends_the_wait_the_line_is_left(send, calls, error):
    ran = calls(error)
    with pytest.raises(type(error)):
        send()
    assert ran[-1] == "leave_room"
