"""The demo's processes: they end with it, whatever happens, and what they said is kept."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workers.fleet import Fleet, MemberError, tail, worker_command
from workers.signals import CAUGHT, Interrupted, Signals

OBEYS = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); print('ready', flush=True); signal.pause()"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
SULKS = "import signal, sys; signal.signal(15, lambda *_: sys.exit(3)); print('ready', flush=True); signal.pause()"


@pytest.fixture
def signals():
    with Signals() as entered:
        yield entered


@pytest.fixture
def fleet(tmp_path, signals):
    made = Fleet(tmp_path / "logs", signals, grace=20)
    yield made
    made._grace = 0
    with contextlib.suppress(MemberError):
        made.stop()


def start(fleet, name, program):
    member = fleet.start(name, [sys.executable, "-c", program])
    wait_for(lambda: "ready" in member.log.read_text())
    return member


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came"
        time.sleep(0.01)


def test_stopping_ends_all_with_sigterm(fleet):
    members = [start(fleet, name, OBEYS) for name in "ab"]
    fleet.stop()
    assert [member.process.returncode for member in members] == [0, 0]
    assert fleet.members == []


def test_who_does_not_stop_is_killed_and_named(fleet):
    member = start(fleet, "slow", STUBBORN)
    fleet._grace = 0.1
    with pytest.raises(MemberError, match=r"the slow worker did not stop within 0\.1 s of SIGTERM and was killed"):
        fleet.stop()
    assert member.process.returncode == -signal.SIGKILL


def test_one_that_does_not_stop_does_not_keep_the_others(fleet):
    start(fleet, "slow", STUBBORN)
    other = start(fleet, "good", OBEYS)
    fleet._grace = 0.5
    with pytest.raises(MemberError, match="slow"):
        fleet.stop()
    assert other.process.returncode == 0


def test_another_exit_code_than_0_is_told(fleet):
    start(fleet, "sulking", SULKS)
    with pytest.raises(MemberError, match="the sulking worker ended with code 3 after SIGTERM"):
        fleet.stop()


def test_an_early_end_is_noticed(fleet):
    member = fleet.start("early", [sys.executable, "-c", "import sys; sys.exit('no luck')"])
    member.process.wait(20)
    with pytest.raises(MemberError, match="the early worker ended with code 1 in mid-crawl"):
        fleet.check()
    assert tail(member.log) == "no luck"


def test_an_early_end_by_a_signal_is_named(fleet):
    member = start(fleet, "shot", OBEYS)
    member.process.kill()
    member.process.wait(20)
    with pytest.raises(MemberError, match="signal SIGKILL"):
        fleet.check()


def test_running_members_pass_the_check(fleet):
    start(fleet, "fine", OBEYS)
    fleet.check()


def test_leaving_the_context_stops_all(tmp_path, signals):
    with Fleet(tmp_path, signals) as fleet:
        member = start(fleet, "a", OBEYS)
    assert member.process.returncode == 0


def test_an_error_inside_is_not_hidden_by_a_member_that_ends_badly(tmp_path, signals):
    def fail():
        with Fleet(tmp_path, signals) as fleet:
            start(fleet, "a", SULKS)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def test_a_member_that_ends_badly_is_the_news_when_nothing_else_is(tmp_path, signals):
    with pytest.raises(MemberError, match="code 3"), Fleet(tmp_path, signals) as fleet:
        start(fleet, "a", SULKS)


def test_a_signal_in_the_middle_of_a_start_leaves_nobody_behind(tmp_path, signals, monkeypatch):
    started = []

    def start_and_signal(*args, **kwargs):
        started.append(popen(*args, **kwargs))
        signal.raise_signal(signal.SIGINT)
        return started[0]

    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", start_and_signal)

    def run():
        with Fleet(tmp_path, signals) as fleet:
            fleet.start("a", [sys.executable, "-c", "import time; time.sleep(60)"])

    with pytest.raises(Interrupted):
        run()
    assert started[0].poll() == -signal.SIGTERM


def test_members_have_groups_of_their_own(fleet):
    member = start(fleet, "a", OBEYS)
    assert os.getpgid(member.process.pid) == member.process.pid


def test_both_outputs_go_to_the_log(fleet):
    member = fleet.start("a", [sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr)"])
    member.process.wait(20)
    assert sorted(tail(member.log).splitlines()) == ["err", "out"]


def test_a_tail_is_the_end_of_a_log(tmp_path):
    (tmp_path / "log").write_bytes(b"\n".join(b"line %d" % n for n in range(100)) + b"\xff")
    assert tail(tmp_path / "log", 2) == "line 98\nline 99\ufffd"


def test_a_log_that_was_never_written_has_no_tail(tmp_path):
    assert tail(tmp_path / "none") == ""


@pytest.mark.parametrize("which", CAUGHT)
def test_a_signal_interrupts(signals, which):
    with pytest.raises(Interrupted) as caught:
        signal.raise_signal(which)
    assert caught.value.exit_code == 128 + which


def test_a_signal_waits_for_the_end_of_a_held_block(signals):
    done = []

    def work():
        with signals.held():
            signal.raise_signal(signal.SIGINT)
            done.append(signals.waiting)

    with pytest.raises(Interrupted):
        work()
    assert done == [True]


def test_a_signal_waits_for_the_outermost_held_block(signals):
    done = []

    def work():
        with signals.held():
            with signals.held():
                signal.raise_signal(signal.SIGINT)
            done.append("after the inner block")

    with pytest.raises(Interrupted):
        work()
    assert done


def test_handlers_are_put_back():
    before = [signal.getsignal(which) for which in CAUGHT]
    with Signals():
        pass
    assert [signal.getsignal(which) for which in CAUGHT] == before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_kills_who_is_still_stopping(tmp_path):
    # A process of its own, because the signal must come while the fleet waits.
    program = f"""
import sys, signal
from pathlib import Path
from workers.fleet import Fleet
from workers.signals import Interrupted, Signals
try:
    with Signals() as signals, Fleet(Path({str(tmp_path)!r}), signals, grace=60) as fleet:
        member = fleet.start("slow", [sys.executable, "-c", {STUBBORN!r}])
        while "ready" not in member.log.read_text():
            pass
        print("ready", flush=True)
        signal.pause()
except Interrupted as interrupt:
    print(member.process.returncode, flush=True)
    sys.exit(interrupt.exit_code)
"""
    repository = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            while process.poll() is None:
                process.send_signal(signal.SIGINT)
                time.sleep(0.05)
            output, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (output, errors, process.returncode) == ("-9\n", "", 130)


def test_a_worker_is_the_documented_command():
    assert worker_command("gevent", 50, "crawl.pages")[1:] == [
        "-m",
        "taskq",
        "worker",
        "--pool",
        "gevent",
        "-c",
        "50",
        "-Q",
        "crawl.pages",
        "-A",
        "workers.app:app",
    ]
