"""The machines notice: a script with one defect, of a kind that a queue may well have, fails within a few examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import broker_kit
import pytest
from machines import SOAK, TIMED, run_machine
from test_barriers import BarrierMachine
from test_permits import PermitMachine
from test_state_machine import QueueMachine

from taskq.broker import scripts
from taskq.errors import Fenced
from taskq.model.discipline import Discipline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLES = 1000  # at most: most defects show within ten
QUEUE: dict[str, Any] = {"discipline": Discipline.FIFO}
LOCK: dict[str, Any] = {"limit": 1, "adds": False, "bounded": False, "kind": "lock"}
BARRIER: dict[str, Any] = {"parties": 2}
ALONE: dict[str, Any] = {"parties": 1}

# Machine, file, what stands there, what stands there instead.
DEFECTS = {
    "a repeated step runs again": (QUEUE, "step", "if stored then return rebuild(stored) end", ""),
    "a late packet is taken for a new call": (QUEUE, "include/session", "elseif seq < last then", "elseif false then"),
    "delivery numbers stand still": (QUEUE, "include/claim", "digits(state[1] + 1)", "digits(math.max(1, state[1]))"),
    "who lost a job may settle it": (
        QUEUE, "include/settle", "string.sub(lease, 1, #delivery + 1) == delivery .. ';'", "lease",
    ),
    "a grace is forgotten": (QUEUE, "reap", "now < grace or not deadline", "not deadline"),
    "a job comes back at the end of the line": (QUEUE, "include/give_back", "key_ready, score,", "key_ready, now,"),
    "jobs start before they are due": (QUEUE, "include/promote", "'-inf', now, ", "'-inf', now + 1000000, "),
    "no token is left for the next worker": (QUEUE, "step", "settle_token(paused, more_due)", ""),
    "a job is moved and stays": (QUEUE, "move", "redis.call('ZREM', key_delayed, arg_id)", ""),
    "a follow-up is accepted again after its end": (
        QUEUE, "relay", "redis.call('EXISTS', result_key, mark_key) > 0 or ", "",
    ),
    "who waits for room is not told": (QUEUE, "step", "open_room(meta[4])", ""),
    "a lease begins by a clock that is behind": (QUEUE, "register", "math.max(read", "math.min(read"),
    "a permit is given to whoever asks": (LOCK, "take_permit", "and free_permits() > 0 then", "then"),
    "fences begin anew": (LOCK, "include/permits", "digits(math.max(last + 1, now))", "digits(now)"),
    "a line is passed by": (LOCK, "take_permit", "hand_over(now, longest)\n", "\n"),
    "who left a full barrier breaks it": (ALONE, "leave_barrier", "then return {'W'} end", "then end"),
    "a barrier opens for a dead party": (BARRIER, "include/parties", "then return true end", "then return false end"),
    "some are not released": (BARRIER, "include/barrier", "dismiss(members(generation, parties), 'R')", ""),
}  # fmt: skip


@pytest.fixture
def break_script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, str], None]]:
    """Put a defect into a file of the test build."""
    shipped = scripts.read_lua

    def broken(path: str, old: str, new: str) -> None:
        assert old in shipped(path), "the script has changed: so must this test"
        monkeypatch.setattr(
            scripts, "read_lua", lambda asked: shipped(asked).replace(old, new if asked == path else old)
        )
        broker_kit.guarded.cache_clear()

    yield broken
    monkeypatch.undo()
    broker_kit.guarded.cache_clear()


@TIMED
@pytest.mark.skipif(bool(SOAK), reason="a soak is for the machines themselves")
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found(server, break_script, defect):
    kind, path, old, new = DEFECTS[defect]
    machine = QueueMachine if kind is QUEUE else PermitMachine if kind is LOCK else BarrierMachine
    break_script(path, old, new)
    with pytest.raises((AssertionError, pytest.fail.Exception, Fenced)):
        run_machine(machine, {"url": server.url, **kind}, examples=EXAMPLES, kinds=1, steps=60, repeatable=True)
