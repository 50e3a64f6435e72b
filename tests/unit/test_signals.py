"""What waiters of a process are told by number, and the bells that wake them."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from taskq.broker.results import parse_signal
from taskq.client import aio
from taskq.client.signals import Signals, ThreadBell
from taskq.errors import ProtocolError

SOON = 10.0  # seconds; a loaded machine needs one


def silent() -> None:
    pass


def later(function) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


# -- signals


def test_every_signal_has_an_address_of_its_own():
    signals = Signals("token")
    addresses = [signals.open(silent).address for _ in range(3)]
    assert addresses == ["token/1", "token/2", "token/3"]


def test_an_address_is_not_used_again():
    signals = Signals("token")
    first = signals.open(silent)
    signals.close(first)
    assert signals.open(silent).address != first.address


def test_what_is_told_is_kept_in_order_and_wakes_its_waiter_only():
    signals, rung = Signals("t"), []
    one, two = signals.open(lambda: rung.append("one")), signals.open(lambda: rung.append("two"))
    signals.deliver(one.number, b"a")
    signals.deliver(one.number, b"b")
    assert (list(one.news), list(two.news), rung) == ([b"a", b"b"], [], ["one", "one"])


def test_what_is_told_to_a_closed_signal_or_to_none_is_dropped():
    signals, rung = Signals("t"), []
    signal = signals.open(lambda: rung.append("it"))
    signals.close(signal)
    signals.close(signal)
    signals.deliver(signal.number, b"a")
    signals.deliver(99, b"a")
    assert (list(signal.news), rung, len(signals)) == ([], [], 0)


def test_an_alarm_wakes_all_that_are_open_and_tells_nothing():
    signals, rung = Signals("t"), []
    kept = [signals.open(lambda name=name: rung.append(name)) for name in "abc"]
    signals.close(kept[1])
    signals.alarm()
    assert (sorted(rung), [list(each.news) for each in kept]) == (["a", "c"], [[], [], []])


def test_a_waiter_may_close_its_signal_while_the_alarm_rings():
    signals = Signals("t")
    opened = []
    opened += [signals.open(lambda: signals.close(opened[1])), signals.open(lambda: signals.close(opened[0]))]
    signals.alarm()
    assert len(signals) == 0


def test_signals_opened_by_many_threads_all_differ():
    signals, addresses = Signals("t"), []
    threads = [later(lambda: [addresses.append(signals.open(silent).address) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.join()
    assert len(set(addresses)) == len(signals) == 2000


# -- what arrives


@pytest.mark.parametrize(
    ("message", "signal"),
    [(b"~1\n5", (1, b"5")), (b"~22\n", (22, b"")), (b"~3\na\nb", (3, b"a\nb")), (b"q\nj 1\nx", None), (b"", None)],
)
def test_a_message_is_a_signal_or_another_kind(message, signal):
    assert parse_signal(message) == signal


@pytest.mark.parametrize("message", [b"~", b"~1", b"~\n5", b"~x\n5", b"~-1\n5", b"~1 \n5"])
def test_a_damaged_signal_is_an_error(message):
    with pytest.raises(ProtocolError, match="damaged"):
        parse_signal(message)


# -- bells


def test_a_bell_that_was_rung_is_heard_at_once():
    bell = ThreadBell()
    bell.ring()
    assert bell.heard(time.monotonic()) is True


def test_a_bell_that_was_rung_often_is_heard_once():
    bell = ThreadBell()
    for _ in range(5):
        bell.ring()
    assert [bell.heard(time.monotonic()) for _ in range(2)] == [True, False]


def test_nobody_rings_and_the_time_is_over():
    bell = ThreadBell()
    assert bell.heard(time.monotonic() - 1) is False
    assert bell.heard(time.monotonic() + 0.02) is False


@pytest.mark.parametrize("seconds", [None, SOON])
def test_a_ring_wakes_who_listens(seconds):
    bell = ThreadBell()
    thread = later(bell.ring)
    assert bell.heard(None if seconds is None else time.monotonic() + seconds) is True
    thread.join()


def test_each_ring_after_a_hearing_is_heard():
    bell, heard = ThreadBell(), []

    def listen() -> None:
        for _ in range(200):
            assert bell.heard(time.monotonic() + SOON)
            heard.append(1)

    thread = later(listen)
    for number in range(200):
        bell.ring()
        while len(heard) <= number:
            pass
    thread.join(SOON)
    assert len(heard) == 200


def test_a_bell_of_a_loop_is_rung_from_any_thread():
    async def main() -> list[bool]:
        bell = aio.Bell()
        answers = [await bell.heard(time.monotonic() - 1), await bell.heard(time.monotonic() + 0.02)]
        thread = later(bell.ring)
        answers += [await bell.heard(time.monotonic() + SOON), await bell.heard(time.monotonic() + 0.02)]
        thread.join()
        return answers

    assert asyncio.run(main()) == [False, False, True, False]


def test_a_bell_whose_loop_has_ended_may_be_rung():
    async def main() -> aio.Bell:
        return aio.Bell()

    asyncio.run(main()).ring()
