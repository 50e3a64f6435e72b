"""Nothing that goes wrong in one place ends the renewal of what is held elsewhere."""

from __future__ import annotations

import logging
import threading

import pytest
from test_keeper import SOON, Held, Recorder, until

from taskq.client.keeper import Keeper

NO_THREAD = "can't start new thread"


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def keeper(recorder):
    keeper = Keeper(recorder)
    yield keeper
    keeper.close()
    if keeper._thread is not None:
        keeper._thread.join(SOON)
        assert not keeper._thread.is_alive()


@pytest.fixture
def no_threads(monkeypatch):
    """No thread can be started until it is called."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError(NO_THREAD)

    monkeypatch.setattr(threading.Thread, "start", start)
    return monkeypatch.undo


class Meddling(Held):
    """Something held. Whenever the keeper looks at its group, another thread gives something back."""

    def __init__(self, address: str, keeper: Keeper, others: list[Held]) -> None:
        super().__init__(address)
        self._keeper = keeper
        self._others = others

    @property
    def group(self):
        if threading.current_thread() is self._keeper._thread and self._others:
            self._keeper.drop(self._others.pop())
        return super().group


def test_what_is_given_back_while_the_keeper_looks_ends_nothing(keeper, recorder):
    others = [Held(f"{number}", lease=3600.0) for number in range(20)]
    keeper.keep(Meddling("stays", keeper, list(others)))
    for other in others:
        keeper.keep(other)
    for number in range(10):  # when nothing of a group is left, the keeper looks whether it was taken again
        short = Held("short", f"short {number}")
        keeper.keep(short)
        keeper.drop(short)
    until(lambda: len(keeper) == 1)
    assert [recorder.next() for _ in range(3)] == [["stays"]] * 3


def test_an_error_of_who_is_told_of_a_loss_ends_nothing(keeper, recorder, caplog):
    class Touchy(Held):
        def lose(self) -> None:
            raise ZeroDivisionError("why me")

    recorder.answer = lambda call: [address for address in call if address == "touchy"]
    with caplog.at_level(logging.ERROR, "taskq.client.keeper"):
        keeper.keep(Touchy("touchy"))
        keeper.keep(Held("other"))
        until(lambda: recorder.next() == ["other"])
    assert [recorder.next() for _ in range(3)] == [["other"]] * 3
    assert "why me" in caplog.text


def test_an_error_of_who_is_told_of_a_loss_hides_no_other_loss(keeper, recorder):
    class Touchy(Held):
        def lose(self) -> None:
            raise ZeroDivisionError("why me")

    other = Held("other")
    recorder.answer = list
    keeper.keep(Touchy("touchy"))
    keeper.keep(other)
    until(lambda: other.lost)


def test_where_no_thread_can_be_started_nothing_is_kept(keeper, no_threads):
    with pytest.raises(RuntimeError, match=NO_THREAD):
        keeper.keep(Held("a"))
    assert (len(keeper), keeper._thread) == (0, None)


def test_the_next_one_starts_the_thread_that_could_not_be_started(keeper, recorder, no_threads):
    with pytest.raises(RuntimeError, match=NO_THREAD):
        keeper.keep(Held("a"))
    no_threads()
    keeper.keep(Held("b"))
    assert recorder.next() == ["b"]


def test_a_keeper_whose_thread_could_not_be_started_closes(recorder, no_threads):
    keeper = Keeper(recorder)
    with pytest.raises(RuntimeError, match=NO_THREAD):
        keeper.keep(Held("a"))
    keeper.close()
