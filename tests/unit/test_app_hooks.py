"""Hooks look on; whatever they do, the call goes its way."""

from __future__ import annotations

import logging

import pytest

from taskq.client.hooks import Hooks, Sending
from taskq.errors import InvalidTask


@pytest.fixture
def sending():
    return Sending("t", "q", "q/1", (1,), {"b": 2}, {"own": "x"})


def test_a_hook_may_add_headers(sending):
    hooks = Hooks()

    @hooks.before_send
    def trace(sending):
        sending.headers["trace"] = sending.job_id

    assert hooks.headers_for(sending) == {"own": "x", "trace": "q/1"}


def test_a_hook_that_raises_is_logged_and_passed_over(sending, caplog):
    hooks = Hooks()

    @hooks.before_send
    def broken(sending):
        raise RuntimeError("no")

    with caplog.at_level(logging.ERROR):
        assert hooks.headers_for(sending) == {"own": "x"}
    assert "broken" in caplog.text


@pytest.mark.parametrize("headers", [{"bad": object()}, {5: "x"}, {"big": 2**70}, None])
def test_headers_that_cannot_travel_are_dropped(sending, headers, caplog):
    hooks = Hooks()

    @hooks.before_send
    def broken(sending):
        sending.headers = headers

    assert hooks.headers_for(sending) == {"own": "x"}
    assert "dropped" in caplog.text


def test_registering_returns_the_function():
    hooks = Hooks()

    def hook(context): ...

    assert hooks.before_run(hook) is hook
    assert hooks.before_run == [hook]


def test_what_cannot_be_called_is_no_hook():
    with pytest.raises(InvalidTask, match="child_start"):
        Hooks().child_start("start")


def test_places_are_independent():
    hooks = Hooks()
    hooks.child_start(lambda: None)
    assert hooks.child_stop == []
